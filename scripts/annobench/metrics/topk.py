"""Top-k metrics: a cell is right if its true label is among the k best."""

from collections.abc import Iterator

import numpy as np

from annobench.metrics.base import Metric, Row, Scored
from annobench.metrics.counts import class_counts, macro_f1

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
    for depth in DEPTHS:
        if depth > scored.labels.shape[1]:
            break
        hit = (scored.labels[:, :depth] == scored.truth[:, None]).any(axis=1)
        yield Row("topk", f"accuracy_top{depth}", "-", "overall", "all", float(hit.mean()), scored.n)
        predicted = np.where(hit, scored.true_codes, scored.predicted_codes)
        counts = class_counts(scored.true_codes, predicted, len(scored.classes))
        score = macro_f1(*counts, scored.members("truth", counts[1], counts[2]))
        yield Row("topk", f"macro_f1_top{depth}", "truth", "overall", "all", float(score), scored.n)
