"""Calibration and selection: does the confidence say how likely a prediction is right?

ECE and Brier need probabilities; AUROC of correctness and risk-coverage only need an order. Cells with equal
confidence are taken together, so that the order in which they happen to stand changes nothing.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from annobench.metrics.base import Metric, Row, Scored

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
    if scored.probabilities is not None and scored.probability_classes is not None:
        is_class = scored.truth[:, None] == scored.probability_classes[None, :]
        unseen = ~is_class.any(axis=1)  # their whole probability mass stands elsewhere
        yield row("brier", float((((scored.probabilities - is_class) ** 2).sum(axis=1) + unseen).mean()))
        columns = [i for i in range(is_class.shape[1]) if is_class[:, i].any() and not is_class[:, i].all()]
        if columns:
            yield row(
                "auroc_ovr",
                float(np.mean([auroc(scored.probabilities[:, i], is_class[:, i]) for i in columns])),
                "shared",
            )


def auroc(score: "NDArray[Any]", positive: "NDArray[np.bool_]") -> float:
    """Chance that a positive scores above a negative, ties counting half; needs both."""
    values, position = np.unique(score, return_inverse=True)
    of_positive = np.bincount(position[positive], minlength=len(values))
    of_negative = np.bincount(position[~positive], minlength=len(values))
    below = np.cumsum(of_negative) - of_negative
    return float((of_positive * (below + of_negative / 2)).sum() / (of_positive.sum() * of_negative.sum()))


def risk_coverage(confidence: "NDArray[Any]", right: "NDArray[np.bool_]") -> "NDArray[np.float64]":
    """Error among the m most confident cells, for m = 1..n; within ties the expected error over all orders."""
    values, position = np.unique(-confidence, return_inverse=True)
    size = np.bincount(position, minlength=len(values))
    wrong = np.bincount(position[~right], minlength=len(values))
    expected = np.repeat(wrong / size, size)
    return np.cumsum(expected) / np.arange(1, len(confidence) + 1)


def reliability(
    confidence: "NDArray[Any]", right: "NDArray[np.bool_]", bins: int
) -> list[tuple[str, float, float, int]]:
    """(bin, accuracy, mean confidence, cells) of every bin with cells.

    Bins are equally wide and closed above (Guo et al. 2017).
    """
    number = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    found = []
    for i in np.unique(number):
        cells = number == i
        found.append((f"{i:02d}", float(right[cells].mean()), float(confidence[cells].mean()), int(cells.sum())))
    return found
