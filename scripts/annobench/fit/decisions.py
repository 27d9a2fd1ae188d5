"""decisions.npz: decision values of test, validation and unrelated cells, from which confidence rules are compared.

Confidence rules are compared over thousands of cells, not millions: of a larger set a sample is kept.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

import numpy as np

from annobench.config.names import SAMPLE
from annobench.core.files import atomic

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from annobench.fit.predictions import Numbers, Predictions, Texts

KINDS = ("noise", "shuffled", "unrelated_tissue")  # of unrelated cells, see unrelated_cells.py
ON_REQUEST = ("doublets",)  # kinds that a study asks for: `keep: {doublets: true}`
UNRELATED = 250  # cells of each kind: the standard error of a share is then at most 0.03


class Decisions(TypedDict):
    """What decisions.npz holds of each cell, and the classes.

    Attributes
    ----------
    decisions
        (n, classes) float32.
    classes
        Label ids of the columns.
    cell_ids
        (n,) text.
    part
        (n,) `test`, `validation` or a kind of unrelated cells.
    labels
        (n,) the first label.
    confidence
        (n,) the method's own confidence; NaN where it gives none.
    """

    decisions: "Numbers"
    classes: "Texts"
    cell_ids: "Texts"
    part: "Texts"
    labels: "Texts"
    confidence: "Numbers"


def sample(cells: int, seed: int) -> "NDArray[np.intp]":
    """Positions of a sample of so many cells, sorted; all of them where there are no more than `SAMPLE`."""
    if cells <= SAMPLE:
        return np.arange(cells)
    return np.sort(np.random.default_rng([seed, 0xDE]).choice(cells, SAMPLE, replace=False))


def write_decisions(path: str | Path, parts: "Mapping[str, Predictions]", temperature: float | None = None) -> bool:
    """Write the decision values of several sets of cells: `test`, `validation`, kinds of unrelated cells.

    Sets over other classes than those of `test` are left out. `temperature` calibrates the probabilities, and lies
    beside them (see `read_temperature`). Returns whether there was anything to write.
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
    confidences: list[Numbers] = [
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
            temperature=np.float64(np.nan if temperature is None else temperature),
        )
    return True


def read_decisions(path: str | Path) -> Decisions:
    """What `write_decisions` wrote, texts as objects."""
    with np.load(path, allow_pickle=False) as archive:
        return Decisions(
            decisions=archive["decisions"],
            classes=archive["classes"].astype(object),
            cell_ids=archive["cell_ids"].astype(object),
            part=archive["part"].astype(object),
            labels=archive["labels"].astype(object),
            confidence=archive["confidence"],
        )


def read_temperature(path: str | Path) -> float | None:
    """The temperature that calibrates the probabilities of a fit (annobench.fit.temperature); None where none is."""
    with np.load(path, allow_pickle=False) as archive:
        value = float(archive["temperature"]) if "temperature" in archive else np.nan
    return None if np.isnan(value) else value
