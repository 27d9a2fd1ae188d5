"""Silhouettes of an embedding: how far labels lie apart, and how well batches mix within them.

The silhouette of a cell is (b - a) / max(a, b), a its mean distance to the other cells of its own group, b the least of
its mean distances to the cells of another group (Rousseeuw 1987); 0 where its group has no other cell.

- silhouette_label: groups are the labels; (s + 1) / 2, mean over cells.
- silhouette_batch: groups are the batches within a label; 1 - |s|, mean over the cells of a label, then over labels.
- bras: as silhouette_batch, but of cosine distances, and b is the mean distance to all cells of other batches, so that
  one batch nearby does not make up for another one far away (Rautenstrauch and Ohler 2025).

A label with one batch only, or whose cells all come from different batches, is no part of the last two; how many cells
that leaves out is in the log. All are those of scib-metrics. All pairs of cells are compared, in blocks.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from annobench.score.evidence import Evidence
from annobench.score.metric import Family, Metric, Row
from annobench.score.metrics.shared.columns import cells_with
from annobench.score.metrics.shared.silhouettes import label_silhouettes, within_labels
from annobench.score.metrics.shared.sums import mean_over_cells

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    Array = NDArray[np.float64]

METRICS = [
    Metric(
        name="silhouette_label",
        label="label silhouette",
        meaning="how far the labels lie apart in the embedding, rescaled to 0 to 1",
        low=0,
        high=1,
        best=1,
        from_sums=mean_over_cells,
    ),
    Metric(
        name="silhouette_batch",
        label="batch silhouette",
        meaning="how little the batches of a label lie apart",
        low=0,
        high=1,
        best=1,
        needs=("batch",),
    ),
    Metric(
        name="bras",
        label="BRAS",
        meaning="how little the batches of a label lie apart, by their mean distance",
        low=0,
        high=1,
        best=1,
        needs=("batch",),
    ),
]


def _of_labels(evidence: Evidence) -> "Array | None":
    """Rescaled silhouettes of the labels; None where there is one label only."""
    labels = evidence.label_codes
    if len(np.unique(labels)) < 2:
        return None
    return evidence.once("silhouette", lambda: label_silhouettes(evidence.embedding, labels))


def unit_sums(evidence: Evidence) -> "dict[str, Mapping[str, Array]]":
    """Sums of the label silhouettes over the cells of every unit."""
    values = _of_labels(evidence)
    if values is None:
        return {}
    return {"silhouette_label": {"sum": evidence.units.sum(values), "n": evidence.units.cells}}


def compute(evidence: Evidence) -> Iterator[Row]:
    """What labels and batches allow; what has no value is said in the log."""
    labels, n = evidence.label_codes, len(evidence.embedding)
    values = _of_labels(evidence)
    if values is None:
        print("silhouette_label: the cells have one label only, two are needed", flush=True)
    else:
        yield Row("silhouette", "silhouette_label", "-", "overall", "all", float(values.mean()), n)
        for label, name in enumerate(evidence.label_names):
            cells = labels == label
            if cells.any():
                mean = float(values[cells].mean())
                yield Row("silhouette", "silhouette_label", "-", "class", name, mean, int(cells.sum()))
    if "batch" in evidence.has:
        yield from _of_batches(evidence)


def _of_batches(evidence: Evidence) -> Iterator[Row]:
    part = cells_with(evidence, "batch")
    if part is None:
        return
    labels, points = evidence.label_codes[part.cells], evidence.embedding[part.cells]
    settings: dict[str, tuple[str, str]] = {"silhouette_batch": ("euclidean", "nearest"), "bras": ("cosine", "all")}
    for metric, (distance, of_other) in settings.items():
        values, known = within_labels(points, labels, part.codes, metric=distance, of_other=of_other)
        used = int(np.isin(labels, known).sum())
        if used < len(labels):
            left_out = f"{len(labels) - used} cells of labels with one batch, or with one cell a batch"
            print(f"{metric}: {left_out}, are left out", flush=True)
        if len(values):
            yield Row("silhouette", metric, "-", "overall", "all", float(values.mean()), used)
        for label, value in zip(known, values, strict=True):
            cells = int((labels == label).sum())
            yield Row("silhouette", metric, "-", "class", evidence.label_names[label], float(value), cells)


FAMILY = Family(
    "silhouette",
    tuple(METRICS),
    needs=("embedding", "labels"),
    compute=compute,
    order=21,
    unit_sums=unit_sums,
    on_request=True,
)
