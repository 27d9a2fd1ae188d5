"""Rare types: how well the classes of few training cells are predicted, which a majority or a prior may cost.

A class is rare where it has at most a share of the training cells (1 % by default). Where labels are rolled up, or
nothing trains, there are no values.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from annobench.core.counts import f1
from annobench.score.evidence import Evidence
from annobench.score.metric import INFINITE, Family, Metric, Row


@dataclass(frozen=True)
class Options:
    """Share of the training cells that a rare class has at most."""

    share: float = 0.01


METRICS = [
    Metric(
        name="rare_macro_f1",
        label="macro F1 of rare types",
        meaning="mean F1 over the true classes that have few of the training cells",
        low=0,
        high=1,
        best=1,
    ),
    Metric(
        name="rare_classes",
        label="rare types",
        meaning="number of true classes that have few of the training cells",
        low=0,
        high=INFINITE,
        best=None,
    ),
]


def compute(evidence: Evidence) -> Iterator[Row]:
    """Values over the rare classes of the truth; the number is given where it is zero, too."""
    truths, scored = evidence.truths, evidence.scored
    if truths.rollup is not None or not truths.trained:
        return
    total = sum(truths.class_sizes.values())
    most = evidence.options("rare", Options()).share * total
    counts = scored.counts
    rare = np.array([0 < truths.class_sizes.get(str(name), 0) <= most for name in scored.classes]) & (counts.true > 0)
    cells = int(counts.true[rare].sum())
    yield Row("rare", "rare_classes", "-", "overall", "all", float(rare.sum()), cells)
    if rare.any():
        values = f1(counts.hits, counts.true, counts.predicted)[rare]
        yield Row("rare", "rare_macro_f1", "-", "overall", "all", float(values.mean()), cells)


FAMILY = Family("rare", tuple(METRICS), needs=("predictions", "run"), compute=compute, order=8, on_request=True)
