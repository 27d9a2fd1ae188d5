"""Top-k metrics: a cell is right if its true label is among the k best."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np

from annobench.core.counts import class_counts, macro_f1
from annobench.score.evidence import Evidence
from annobench.score.metric import Family, Metric, Row
from annobench.score.metrics.shared.sums import mean_over_cells
from annobench.score.scored import Scored

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

DEPTHS = (1, 2, 3, 5)
METRICS = [
    Metric(
        name="accuracy_top1",
        label="top-1 accuracy",
        meaning="share of cells whose true label is among the 1 best",
        low=0,
        high=1,
        best=1,
        from_sums=mean_over_cells,
    ),
    Metric(
        name="accuracy_top2",
        label="top-2 accuracy",
        meaning="share of cells whose true label is among the 2 best",
        low=0,
        high=1,
        best=1,
        from_sums=mean_over_cells,
    ),
    Metric(
        name="accuracy_top3",
        label="top-3 accuracy",
        meaning="share of cells whose true label is among the 3 best",
        low=0,
        high=1,
        best=1,
        from_sums=mean_over_cells,
    ),
    Metric(
        name="accuracy_top5",
        label="top-5 accuracy",
        meaning="share of cells whose true label is among the 5 best",
        low=0,
        high=1,
        best=1,
        from_sums=mean_over_cells,
    ),
    Metric(
        name="macro_f1_top1",
        label="top-1 macro F1",
        meaning="macro F1 after a hit among the 1 best replaces the prediction",
        low=0,
        high=1,
        best=1,
        label_set="truth",
    ),
    Metric(
        name="macro_f1_top2",
        label="top-2 macro F1",
        meaning="macro F1 after a hit among the 2 best replaces the prediction",
        low=0,
        high=1,
        best=1,
        label_set="truth",
    ),
    Metric(
        name="macro_f1_top3",
        label="top-3 macro F1",
        meaning="macro F1 after a hit among the 3 best replaces the prediction",
        low=0,
        high=1,
        best=1,
        label_set="truth",
    ),
    Metric(
        name="macro_f1_top5",
        label="top-5 macro F1",
        meaning="macro F1 after a hit among the 5 best replaces the prediction",
        low=0,
        high=1,
        best=1,
        label_set="truth",
    ),
]


def _hits(scored: Scored) -> "Iterator[tuple[int, NDArray[np.bool_]]]":
    """Every depth that the predictions reach, and which cells are hit by then, (n,)."""
    hit = np.zeros(scored.n, dtype=bool)
    for rank in range(min(max(DEPTHS), scored.label_codes.shape[1])):
        hit = hit | (scored.label_codes[:, rank] == scored.true_codes)
        if rank + 1 in DEPTHS:
            yield rank + 1, hit


def unit_sums(evidence: Evidence) -> "dict[str, Mapping[str, Array]]":
    """Hits and cells of every unit, for every depth."""
    cells = evidence.units.cells
    return {
        f"accuracy_top{depth}": {"sum": evidence.units.sum(hit.astype(np.float64)), "n": cells}
        for depth, hit in _hits(evidence.scored)
    }


def compute(evidence: Evidence) -> Iterator[Row]:
    """For every depth that the predictions reach. The rule of cellarium-cas: a hit counts as the true label."""
    scored = evidence.scored
    for depth, hit in _hits(scored):
        accuracy = float(mean_over_cells({"sum": np.asarray(hit.sum()), "n": np.asarray(scored.n)}))
        yield Row("topk", f"accuracy_top{depth}", "-", "overall", "all", accuracy, scored.n)
        replaced = np.where(hit, scored.true_codes, scored.predicted_codes)
        counts = class_counts(scored.true_codes, replaced, len(scored.classes))
        score = macro_f1(*counts, scored.members("truth", counts[1], counts[2]))
        yield Row("topk", f"macro_f1_top{depth}", "truth", "overall", "all", float(score), scored.n)


FAMILY = Family("topk", tuple(METRICS), needs=("predictions",), compute=compute, order=3, unit_sums=unit_sums)
