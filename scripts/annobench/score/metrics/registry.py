"""All metrics, by family. Every family describes its metrics in METRICS and computes rows."""

from annobench.score.metrics import calibration, flat, hierarchical, markers, ontology_aware, resources, topk
from annobench.score.metrics import confidence_rules as selection
from annobench.score.metrics.base import Compute, Metric

STATUS = [
    Metric("completed", "status", "1 where the fit ended with valid predictions, else 0", 0, 1, 1, "run record"),
    Metric(
        "unknown_truth",
        "status",
        "test cells whose own label is unknown; left out of every metric",
        0,
        float("inf"),
        None,
    ),
]
METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in [
        *flat.METRICS,
        *flat.PER_CLASS,
        *topk.METRICS,
        *hierarchical.METRICS,
        *ontology_aware.METRICS,
        *calibration.METRICS,
        *selection.METRICS,
        *markers.METRICS,
        *resources.METRICS,
        *STATUS,
    ]
}
FAMILIES: dict[str, Compute] = {
    "flat": flat.compute,
    "per_class": flat.compute_per_class,
    "topk": topk.compute,
    "hierarchical": hierarchical.compute,
    "ontology_aware": ontology_aware.compute,
    "calibration": calibration.compute,
}
