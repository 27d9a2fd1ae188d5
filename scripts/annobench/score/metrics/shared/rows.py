"""Rows of metrics that come from counts."""

from collections.abc import Iterable, Iterator

from annobench.score.metric import Metric, Row
from annobench.score.scored import Scored


def from_counts(family: str, metrics: Iterable[Metric], scored: Scored) -> Iterator[Row]:
    """The overall value of every metric that comes from counts, over its own label set."""
    for metric in metrics:
        if metric.from_counts:
            counts = scored.counts if metric.label_set == "-" else scored.over(metric.label_set)
            value = float(metric.from_counts(counts))
            yield Row(family, metric.name, metric.label_set, "overall", "all", value, scored.n)
