"""decisions.npz: decision values of test, validation and unrelated cells, from which confidence rules are compared.

Rules of confidence are compared over thousands of cells, not millions: of a large set of cells a sample is kept.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from annobench.core.files import atomic

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from annobench.fit.predictions import Predictions

KINDS = ("noise", "shuffled", "unrelated_tissue")  # of unrelated cells, see runner.unrelated
UNRELATED = 250  # cells of each kind: the standard error of a share is then at most 0.03
SAMPLE = 20_000  # cells of a set: a share is then known to 0.004 (standard error)


def sample(cells: int, seed: int) -> "NDArray[np.intp]":
    """Positions of at most 20,000 of so many cells, drawn by a seed; all of them where there are no more, sorted."""
    if cells <= SAMPLE:
        return np.arange(cells)
    return np.sort(np.random.default_rng([seed, 0xDE]).choice(cells, SAMPLE, replace=False))


def write_decisions(path: str | Path, parts: "Mapping[str, Predictions]") -> bool:
    """Write the decision values of several sets of cells (`test`, `validation`, kinds of unrelated cells).

    Holds, all readable without pickle: float32 matrix, classes, cell ids, the name of the set, the first label and the
    method's own confidence (NaN where it gives none). Returns whether there was anything to write.
    """
    values = {name: part.decision_values() for name, part in parts.items()}
    known = {name: part for name, part in parts.items() if values[name] is not None and len(part.cell_ids)}
    if "test" not in known:
        return False
    classes = known["test"].classes
    order = {
        name: [part.classes.index(label) for label in classes]
        for name, part in known.items()
        if set(part.classes) == set(classes)
    }
    own = {name: known[name].confidence for name in order}
    confidences: list[Any] = [
        np.full(len(known[name].cell_ids), np.nan) if values is None else values for name, values in own.items()
    ]
    with atomic(path) as temporary, open(temporary, "wb") as handle:
        np.savez_compressed(
            handle,
            decisions=np.vstack([np.asarray(values[name])[:, order[name]] for name in order]).astype(np.float32),
            classes=np.array(classes, dtype=str),
            cell_ids=np.concatenate([known[name].cell_ids for name in order]).astype(str),
            part=np.concatenate([np.full(len(known[name].cell_ids), name) for name in order]).astype(str),
            labels=np.concatenate([known[name].labels[:, 0] for name in order]).astype(str),
            confidence=np.concatenate(confidences).astype(np.float64),
        )
    return True


def read_decisions(path: str | Path) -> dict[str, "NDArray[Any]"]:
    """What `write_decisions` wrote, texts as objects."""
    with np.load(path, allow_pickle=False) as archive:
        found = {name: archive[name] for name in archive.files}
    return {name: values.astype(object) if values.dtype.kind == "U" else values for name, values in found.items()}
