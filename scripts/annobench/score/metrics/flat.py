"""Flat metrics: classes are not related to each other. Zero where a ratio is undefined, as in scikit-learn."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from annobench.core.counts import f1, mean_over, ratio
from annobench.score.counts import Counts
from annobench.score.evidence import Evidence
from annobench.score.metric import Family, Metric, Row
from annobench.score.metrics.shared.groups import within
from annobench.score.metrics.shared.rows import from_counts

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]


def _precision(counts: Counts) -> "Array":
    return ratio(counts.hits, counts.predicted)


def _recall(counts: Counts) -> "Array":
    return ratio(counts.hits, counts.true)


def _f1(counts: Counts) -> "Array":
    return f1(counts.hits, counts.true, counts.predicted)


def macro_precision(counts: Counts) -> "Array":
    """Mean precision over the member classes."""
    return mean_over(_precision(counts), counts.members)


def macro_recall(counts: Counts) -> "Array":
    """Mean recall over the member classes."""
    return mean_over(_recall(counts), counts.members)


def macro_f1(counts: Counts) -> "Array":
    """Mean F1 over the member classes."""
    return mean_over(_f1(counts), counts.members)


def _weighted(values: "Array", counts: Counts) -> "Array":
    """Mean over classes, weighted by their true cells."""
    return ratio((values * counts.true).sum(axis=-1), counts.n)


def accuracy(counts: Counts) -> "Array":
    """Share of cells that are predicted exactly."""
    return ratio(counts.hits.sum(axis=-1), counts.n)


def micro_f1(counts: Counts) -> "Array":
    """F1 of the counts summed over classes."""
    return ratio(2 * counts.hits.sum(axis=-1), counts.n + counts.predicted.sum(axis=-1))


def cohen_kappa(counts: Counts) -> "Array":
    """(observed - expected) / (1 - expected) (Cohen 1960); where chance alone agrees on every cell, whether all do."""
    observed = ratio(counts.hits.sum(axis=-1), counts.n)
    expected = ratio((counts.true * counts.predicted).sum(axis=-1), counts.n**2)
    return np.where(expected < 1, (observed - expected) / np.where(expected < 1, 1 - expected, 1), observed == 1)


def mcc(counts: Counts) -> "Array":
    """R_K of Gorodkin (2004); where it is undefined, whether all cells are right."""
    hits, n = counts.hits.sum(axis=-1), counts.n
    covariance = hits * n - (counts.true * counts.predicted).sum(axis=-1)
    of_prediction, of_truth = (n**2 - (part**2).sum(axis=-1) for part in (counts.predicted, counts.true))
    spread = np.sqrt(np.maximum(of_prediction, 0) * np.maximum(of_truth, 0))
    whole = (covariance == 0) & (hits == n)
    return np.where(spread > 0, covariance / np.where(spread > 0, spread, 1), whole)


def unknown_share(counts: Counts) -> "Array":
    """Share of cells that are predicted `unknown`."""
    return ratio(counts.predicted[..., ~counts.classes.real].sum(axis=-1), counts.n)


METRICS = [
    Metric(
        name="macro_precision",
        label="macro precision",
        meaning="mean precision over classes",
        low=0,
        high=1,
        best=1,
        label_set="truth",
        from_counts=macro_precision,
    ),
    Metric(
        name="macro_recall",
        label="macro recall",
        meaning="mean recall over classes",
        low=0,
        high=1,
        best=1,
        label_set="truth",
        from_counts=macro_recall,
    ),
    Metric(
        name="macro_f1",
        label="macro F1",
        meaning="mean F1 over classes",
        low=0,
        high=1,
        best=1,
        label_set="truth",
        from_counts=macro_f1,
    ),
    Metric(
        name="balanced_accuracy",
        label="balanced accuracy",
        meaning="mean recall over classes",
        low=0,
        high=1,
        best=1,
        label_set="truth",
        from_counts=macro_recall,
    ),
    Metric(
        name="weighted_precision",
        label="weighted precision",
        meaning="mean precision, classes weighted by their true cells",
        low=0,
        high=1,
        best=1,
        label_set="truth",
        from_counts=lambda counts: _weighted(_precision(counts), counts),
    ),
    Metric(
        name="weighted_recall",
        label="weighted recall",
        meaning="mean recall, classes weighted by their true cells",
        low=0,
        high=1,
        best=1,
        label_set="truth",
        from_counts=lambda counts: _weighted(_recall(counts), counts),
    ),
    Metric(
        name="weighted_f1",
        label="weighted F1",
        meaning="mean F1, classes weighted by their true cells",
        low=0,
        high=1,
        best=1,
        label_set="truth",
        from_counts=lambda counts: _weighted(_f1(counts), counts),
    ),
    Metric(
        name="accuracy",
        label="accuracy",
        meaning="share of cells whose predicted label is the true one",
        low=0,
        high=1,
        best=1,
        from_counts=accuracy,
    ),
    Metric(
        name="micro_f1",
        label="micro F1",
        meaning="F1 of the summed counts; equals accuracy when every cell has one label",
        low=0,
        high=1,
        best=1,
        from_counts=micro_f1,
    ),
    Metric(
        name="cohen_kappa",
        label="Cohen's kappa",
        meaning="agreement beyond chance (Cohen 1960)",
        low=-1,
        high=1,
        best=1,
        from_counts=cohen_kappa,
    ),
    Metric(
        name="mcc",
        label="Matthews correlation",
        meaning="multi-class correlation of true and predicted labels (Gorodkin 2004)",
        low=-1,
        high=1,
        best=1,
        from_counts=mcc,
    ),
    Metric(
        name="unseen_share",
        label="share of unseen classes",
        meaning="share of cells whose class no training cell has: wrong for any closed-set method",
        low=0,
        high=1,
        best=None,
    ),
    Metric(
        name="unknown_share",
        label="share called unknown",
        meaning="share of cells that the method called unknown; counted as wrong",
        low=0,
        high=1,
        best=None,
        from_counts=unknown_share,
    ),
]
_MACRO = [metric for metric in METRICS if metric.name.startswith("macro_")]
_OTHERS = [metric for metric in METRICS if metric not in _MACRO]


def compute(evidence: Evidence) -> Iterator[Row]:
    """Overall values, and accuracy and macro F1 within every group of cells."""
    scored = evidence.scored
    for label_set in scored.label_sets:
        counts = scored.over(label_set)
        for metric in _MACRO:
            assert metric.from_counts is not None
            value = float(metric.from_counts(counts))
            yield Row("flat", metric.name, label_set, "overall", "all", value, scored.n)
    yield from from_counts("flat", _OTHERS[:-2], scored)
    trained = scored.counts.true[np.isin(scored.classes, scored.training)].sum()
    yield Row("flat", "unseen_share", "-", "overall", "all", float(1 - trained / scored.n), scored.n)
    yield from from_counts("flat", _OTHERS[-1:], scored)
    yield from within(scored, "flat", "", scored.predicted_codes)


FAMILY = Family("flat", tuple(METRICS), needs=("predictions",), compute=compute, order=1)
