"""Confidence rules: what each says of right and wrong cells, and of unrelated cells.

Every metric has one value for each rule; `auroc_correct`, `aurc`, `selective_accuracy` and `ece` of a rule are those of
the family `calibration` with the confidence of the rule in place of that of the method.
"""

from collections.abc import Iterable, Iterator

from annobench.score.confidence_rules import RuleConfidences
from annobench.score.evidence import Evidence
from annobench.score.metric import Family, Metric, Row

METRICS = [
    Metric(
        name="unknown_rate",
        label="share below the cut",
        meaning="share of test cells below the cut of a rule",
        low=0,
        high=1,
        best=0,
        level="rule",
    ),
    Metric(
        name="accepted_noise",
        label="noise accepted",
        meaning="share of noise above the cut of a rule",
        low=0,
        high=1,
        best=0,
        level="rule",
    ),
    Metric(
        name="accepted_shuffled",
        label="shuffled cells accepted",
        meaning="share of shuffled cells above the cut of a rule",
        low=0,
        high=1,
        best=0,
        level="rule",
    ),
    Metric(
        name="accepted_unrelated_tissue",
        label="unrelated tissue accepted",
        meaning="share of cells of an unrelated tissue above the cut of a rule",
        low=0,
        high=1,
        best=0,
        level="rule",
    ),
    Metric(
        name="accepted_doublets",
        label="doublets accepted",
        meaning="share of simulated doublets above the cut of a rule",
        low=0,
        high=1,
        best=0,
        level="rule",
    ),
    Metric(
        name="noise_auroc",
        label="AUROC against noise",
        meaning="chance that a test cell is above one of noise",
        low=0,
        high=1,
        best=1,
        level="rule",
    ),
    Metric(
        name="shuffled_auroc",
        label="AUROC against shuffled cells",
        meaning="chance that a test cell is above one of shuffled cells",
        low=0,
        high=1,
        best=1,
        level="rule",
    ),
    Metric(
        name="unrelated_tissue_auroc",
        label="AUROC against unrelated tissue",
        meaning="chance that a test cell is above one of cells of an unrelated tissue",
        low=0,
        high=1,
        best=1,
        level="rule",
    ),
    Metric(
        name="doublets_auroc",
        label="AUROC against doublets",
        meaning="chance that a test cell is above a simulated doublet",
        low=0,
        high=1,
        best=1,
        level="rule",
    ),
    Metric(
        name="unrelated_tissue_found",
        label="unrelated tissue found",
        meaning="a query mixed with 20% cells of an unrelated tissue: share of these among its 20% least confident",
        low=0,
        high=1,
        best=1,
        level="rule",
    ),
]


def compute(evidence: Evidence) -> Iterator[Row]:
    """Values of every rule."""
    yield from rows(evidence.rules.confidences, evidence.bins)


def rows(rules: Iterable[RuleConfidences], bins: int) -> Iterator[Row]:
    """Values of some rules; the variant of a metric (`published` or `fair` cut) is its label set."""
    for one in rules:
        for (metric, variant), value in one.values(bins).items():
            yield Row("confidence", metric, variant, "rule", one.rule, value, len(one.test))


FAMILY = Family("confidence", tuple(METRICS), needs=("decisions",), compute=compute, order=7)
