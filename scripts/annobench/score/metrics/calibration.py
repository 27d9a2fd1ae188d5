"""Calibration and selection: does the confidence say how likely a prediction is right?

ECE and Brier need probabilities; AUROC of correctness and risk-coverage only need an order. Cells with equal
confidence are taken together, so that the order in which they happen to stand changes nothing.
"""

from collections.abc import Iterator
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from annobench.core.parquet import Categorical
from annobench.score.metrics.base import Metric, Probabilities, Row, Scored

if TYPE_CHECKING:
    from numpy.typing import NDArray

COVERAGE = 0.8
METRICS = [
    Metric(
        "ece",
        "calibration",
        "expected calibration error: mean gap of confidence and accuracy over equally wide bins",
        0,
        1,
        0,
        "probabilities",
    ),
    Metric(
        "brier",
        "calibration",
        "multi-class Brier score: squared distance of probabilities and truth",
        0,
        2,
        0,
        "probabilities",
    ),
    Metric(
        "auroc_ovr",
        "calibration",
        "mean one-against-rest AUROC over classes of truth that were trained",
        0,
        1,
        1,
        "probabilities",
    ),
    Metric(
        "auroc_correct",
        "calibration",
        "AUROC of the confidence for telling right from wrong predictions",
        0,
        1,
        1,
        "confidence",
    ),
    Metric(
        "aurc",
        "calibration",
        "area under the risk-coverage curve: mean error over all coverages",
        0,
        1,
        0,
        "confidence",
    ),
    Metric(
        "selective_accuracy",
        "calibration",
        f"accuracy of the {COVERAGE:.0%} most confident cells",
        0,
        1,
        1,
        "confidence",
    ),
    Metric("bin_accuracy", "calibration", "accuracy of the cells of one confidence bin", 0, 1, None, "probabilities"),
    Metric(
        "bin_confidence",
        "calibration",
        "mean confidence of the cells of one confidence bin",
        0,
        1,
        None,
        "probabilities",
    ),
]


def compute(scored: Scored) -> Iterator[Row]:
    """What the confidence and the probabilities of the method allow; undefined values are left out."""

    def row(metric: str, value: float, label_set: str = "-") -> Row:
        return Row("calibration", metric, label_set, "overall", "all", float(value), scored.n)

    if scored.confidence is not None:
        right = scored.correct
        if right.any() and not right.all():
            yield row("auroc_correct", auroc(scored.confidence, right))
        risks = risk_coverage(scored.confidence, right)
        yield row("aurc", float(risks.mean()))
        yield row("selective_accuracy", 1 - float(risks[max(1, round(COVERAGE * scored.n)) - 1]))
        if scored.is_probability and scored.confidence.min() >= 0 and scored.confidence.max() <= 1 + 1e-6:
            bins = reliability(scored.confidence, right, scored.bins)
            yield row("ece", sum(abs(accuracy - confidence) * n for _, accuracy, confidence, n in bins) / scored.n)
            for name, accuracy, confidence, n in bins:
                yield Row("calibration", "bin_accuracy", "-", "bin", name, accuracy, n)
                yield Row("calibration", "bin_confidence", "-", "bin", name, confidence, n)
    if scored.probabilities is not None:
        truth = Categorical(scored.true_codes, list(scored.names)).recode(scored.probabilities.classes)
        yield row("brier", brier(scored.probabilities, truth))
        values = aurocs(scored.probabilities, truth)
        if len(values):
            yield row("auroc_ovr", float(np.mean(values)), "shared")


def brier(probabilities: Probabilities, truth: "NDArray[np.integer[Any]]") -> float:
    """Mean squared distance; `truth` holds class numbers, -1 for a class without a probability."""
    total = float((truth < 0).sum())  # their whole probability mass stands elsewhere
    for cells, values in probabilities.blocks():
        true = truth[cells]
        known = np.flatnonzero(true >= 0)
        values[known, true[known]] -= 1
        total += float(np.square(values, out=values).sum())
    return total / len(truth)


def aurocs(probabilities: Probabilities, truth: "NDArray[np.integer[Any]]") -> "NDArray[np.float64]":
    """AUROC of every class against the rest, of those that some cells have and others have not."""
    number = np.bincount(truth[truth >= 0], minlength=len(probabilities.classes))
    columns = np.flatnonzero((number > 0) & (number < len(truth)))
    if probabilities.values.dtype == np.float16 and probabilities.groups is None:
        positive, every = _histograms(probabilities, truth)
        return np.array([_auroc(positive[i], every[i] - positive[i]) for i in columns])
    return np.array([auroc(probabilities.column(i), truth == i) for i in columns.tolist()])


_ONE = 0x3C00  # 1 as a number of 16 bit; read as whole numbers, those from 0 to 1 are in the same order


def _histograms(
    probabilities: Probabilities, truth: "NDArray[np.integer[Any]]"
) -> "tuple[NDArray[np.int64], NDArray[np.int64]]":
    """For every class and every number of 16 bit: cells of the class, and all cells; (classes, numbers) each."""
    size = len(probabilities.classes)
    positive, every = (np.zeros(size * (_ONE + 1), dtype=np.int64) for _ in range(2))
    place = np.arange(size) * (_ONE + 1)
    for cells, values in probabilities.stored():
        bits = np.minimum(values.view(np.uint16) & 0x7FFF, _ONE) + place
        true = truth[cells]
        known = np.flatnonzero(true >= 0)
        every += np.bincount(bits.ravel(), minlength=len(every))
        positive += np.bincount(bits[known, true[known]], minlength=len(positive))
    return positive.reshape(size, -1), every.reshape(size, -1)


def _ties(score: "NDArray[Any]", positive: "NDArray[np.bool_]") -> "tuple[NDArray[np.int64], NDArray[np.int64]]":
    """Positive and negative cells at every value that occurs, lowest value first."""
    ordered = np.sort(score)
    first = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]]) if len(ordered) else np.empty(0, dtype=np.int64)
    every = np.diff(np.r_[first, len(ordered)])
    # two sorts and a merge: several times faster than the order of the cells, which nobody asks for
    of_positive = np.diff(np.r_[np.searchsorted(np.sort(score[positive]), ordered[first]), positive.sum()])
    return of_positive, every - of_positive


def _auroc(of_positive: "NDArray[np.int64]", of_negative: "NDArray[np.int64]") -> float:
    below = np.cumsum(of_negative) - of_negative
    return float((of_positive * (below + of_negative / 2)).sum() / (of_positive.sum() * of_negative.sum()))


def auroc(score: "NDArray[Any]", positive: "NDArray[np.bool_]") -> float:
    """Chance that a positive scores above a negative, ties counting half; needs both."""
    return _auroc(*_ties(score, positive))


def risk_coverage(confidence: "NDArray[Any]", right: "NDArray[np.bool_]") -> "NDArray[np.float64]":
    """Error among the m most confident cells, for m = 1..n; within ties the expected error over all orders."""
    wrong, good = (count[::-1] for count in _ties(confidence, ~right))
    size = wrong + good
    expected = np.repeat(wrong / size, size)
    return np.cumsum(expected) / np.arange(1, len(confidence) + 1)


def reliability(
    confidence: "NDArray[Any]", right: "NDArray[np.bool_]", bins: int
) -> list[tuple[str, float, float, int]]:
    """(bin, accuracy, mean confidence, cells) of every bin with cells.

    Bins are equally wide and closed above (Guo et al. 2017).
    """

    def number(values: "NDArray[Any]") -> "NDArray[np.intp]":
        return np.clip(np.ceil(values * bins).astype(int) - 1, 0, bins - 1)

    ordered = np.sort(confidence)
    ends = np.searchsorted(number(ordered), np.arange(bins + 1))
    good = np.bincount(number(confidence[right]), minlength=bins)
    return [
        (f"{i:02d}", float(good[i] / (end - start)), float(ordered[start:end].mean()), int(end - start))
        for i, (start, end) in enumerate(pairwise(ends))
        if end > start
    ]
