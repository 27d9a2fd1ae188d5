"""What a fit took, out of its run record."""

from collections.abc import Iterator

from annobench.fit.run_record import RunRecord
from annobench.score.metrics.base import Metric, Row

METRICS = [
    Metric("fit_seconds", "resources", "wall time of training", 0, float("inf"), None, "run record"),
    Metric("predict_seconds", "resources", "wall time of prediction", 0, float("inf"), None, "run record"),
    Metric(
        "startup_seconds",
        "resources",
        "wall time of starting the process, imports and reading the data",
        0,
        float("inf"),
        None,
        "run record",
    ),
    Metric(
        "peak_rss_mb",
        "resources",
        "peak resident memory of the largest process of the fit, imports included",
        0,
        float("inf"),
        None,
        "run record",
    ),
    Metric(
        "peak_gpu_mb", "resources", "peak memory that torch allocated on the GPU", 0, float("inf"), None, "run record"
    ),
    Metric("trainable_parameters", "resources", "numbers that training sets", 0, float("inf"), None, "run record"),
    Metric("model_mb", "resources", "size of the saved model", 0, float("inf"), None, "run record"),
]


def compute(run: RunRecord) -> Iterator[Row]:
    """One row for every resource that the record has."""
    for metric in METRICS:
        value = getattr(run, metric.name)
        if value is not None:
            yield Row("resources", metric.name, "-", "fit", "all", float(value), 1)
