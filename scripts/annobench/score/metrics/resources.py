"""What a fit took, out of its run record."""

from collections.abc import Iterator

from annobench.score.evidence import Evidence
from annobench.score.metric import INFINITE, Family, Metric, Row

METRICS = [
    Metric(
        name="fit_seconds",
        label="seconds to fit",
        meaning="wall time of training",
        low=0,
        high=INFINITE,
        best=0,
        level="fit",
    ),
    Metric(
        name="predict_seconds",
        label="seconds to predict",
        meaning="wall time of prediction",
        low=0,
        high=INFINITE,
        best=0,
        level="fit",
    ),
    Metric(
        name="startup_seconds",
        label="seconds to start",
        meaning="wall time of starting the process, imports and reading the data",
        low=0,
        high=INFINITE,
        best=0,
        level="fit",
    ),
    Metric(
        name="peak_rss_mb",
        label="peak memory (MB)",
        meaning="peak resident memory of the largest process of the fit, imports included",
        low=0,
        high=INFINITE,
        best=0,
        level="fit",
    ),
    Metric(
        name="peak_gpu_mb",
        label="peak GPU memory (MB)",
        meaning="peak memory that torch allocated on the GPU",
        low=0,
        high=INFINITE,
        best=0,
        level="fit",
    ),
    Metric(
        name="trainable_parameters",
        label="trainable parameters",
        meaning="numbers that training sets",
        low=0,
        high=INFINITE,
        best=0,
        level="fit",
    ),
    Metric(
        name="model_mb",
        label="model size (MB)",
        meaning="size of the saved model",
        low=0,
        high=INFINITE,
        best=0,
        level="fit",
    ),
]


def compute(evidence: Evidence) -> Iterator[Row]:
    """One row for every resource that the record has."""
    for metric in METRICS:
        value = getattr(evidence.run, metric.name)
        if value is not None:
            yield Row("resources", metric.name, "-", "fit", "all", float(value), 1)


FAMILY = Family("resources", tuple(METRICS), needs=("run",), compute=compute, order=9)
