"""Top-k metrics: a cell is right if its true label is among the k best."""

from collections.abc import Iterator

import numpy as np

from annobench.core.counts import class_counts, macro_f1
from annobench.score.metrics.base import Metric, Row, Scored

DEPTHS = (1, 2, 3, 5)
METRICS = [
    *(
        Metric(f"accuracy_top{k}", "topk", f"share of cells whose true label is among the {k} best", 0, 1, 1)
        for k in DEPTHS
    ),
    *(
        Metric(f"macro_f1_top{k}", "topk", f"macro F1 after a hit among the {k} best replaces the prediction", 0, 1, 1)
        for k in DEPTHS
    ),
]


def compute(scored: Scored) -> Iterator[Row]:
    """For every depth that the predictions reach. The rule of cellarium-cas: a hit counts as the true label."""
    true, ranked = scored.true_codes, scored.label_codes
    hit = np.zeros(scored.n, dtype=bool)
    for rank in range(min(max(DEPTHS), ranked.shape[1])):
        hit |= ranked[:, rank] == true
        depth = rank + 1
        if depth in DEPTHS:
            yield Row("topk", f"accuracy_top{depth}", "-", "overall", "all", float(hit.mean()), scored.n)
            counts = class_counts(true, np.where(hit, true, ranked[:, 0]), len(scored.classes))
            score = macro_f1(*counts, scored.members("truth", counts[1], counts[2]))
            yield Row("topk", f"macro_f1_top{depth}", "truth", "overall", "all", float(score), scored.n)
