"""Whether a fit ended well, and which of its test cells can be compared with a truth."""

from collections.abc import Iterator

from annobench.score.evidence import Evidence
from annobench.score.metric import INFINITE, Family, Metric, Row

METRICS = [
    Metric(
        name="completed",
        label="completed",
        meaning="1 where the fit ended with valid output, else 0",
        low=0,
        high=1,
        best=1,
        level="fit",
    ),
    Metric(
        name="unknown_truth",
        label="cells of unknown type",
        meaning="test cells whose own label is unknown; left out of every metric",
        low=0,
        high=INFINITE,
        best=None,
    ),
]


def compute(evidence: Evidence) -> Iterator[Row]:
    """Of every fit, also of one that failed."""
    yield Row("status", "completed", "-", "fit", "all", float(evidence.run.ok), 1)
    yield Row("status", "unknown_truth", "-", "overall", "all", float(evidence.unknown), evidence.tested)


FAMILY = Family("status", tuple(METRICS), needs=("run",), compute=compute, order=10)
