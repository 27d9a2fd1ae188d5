"""Precision, recall and F1 of single classes."""

from collections.abc import Iterator

import numpy as np

from annobench.core.counts import f1, ratio
from annobench.score.evidence import Evidence
from annobench.score.metric import Family, Metric, Row

METRICS = [
    Metric(
        name="precision",
        label="precision",
        meaning="precision of one class",
        low=0,
        high=1,
        best=1,
        level="class",
        from_counts=lambda counts: ratio(counts.hits, counts.predicted),
    ),
    Metric(
        name="recall",
        label="recall",
        meaning="recall of one class",
        low=0,
        high=1,
        best=1,
        level="class",
        from_counts=lambda counts: ratio(counts.hits, counts.true),
    ),
    Metric(
        name="f1",
        label="F1",
        meaning="F1 of one class",
        low=0,
        high=1,
        best=1,
        level="class",
        from_counts=lambda counts: f1(counts.hits, counts.true, counts.predicted),
    ),
    Metric(
        name="ontology_f1",
        label="ontology-aware F1",
        meaning="F1 of one class after predictions below the truth are replaced by the true label",
        low=0,
        high=1,
        best=1,
        level="class",
        from_counts=lambda counts: f1(counts.ontology_hits, counts.true, counts.ontology_predicted),
    ),
]


def compute(evidence: Evidence) -> Iterator[Row]:
    """Every metric of every class that has true cells; n counts them."""
    scored = evidence.scored
    counts = scored.over("truth")
    values = {metric.name: metric.from_counts(counts) for metric in METRICS if metric.from_counts}
    for i in np.flatnonzero(counts.members):
        for name, of_class in values.items():
            label, cells = str(scored.classes[i]), int(counts.true[i])
            yield Row("per_class", name, "-", "class", label, float(of_class[i]), cells)


FAMILY = Family("per_class", tuple(METRICS), needs=("predictions",), compute=compute, order=2)
