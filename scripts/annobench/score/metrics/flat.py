"""Flat metrics: every class stands for itself. Zero where a ratio is undefined, as in scikit-learn."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from annobench.core.counts import f1, mean_over, ratio
from annobench.ontology import UNKNOWN
from annobench.score.metrics.base import Metric, Row, Scored
from annobench.score.metrics.groups import within
from annobench.score.metrics.ontology_aware import corrected_counts

if TYPE_CHECKING:
    from numpy.typing import NDArray

METRICS = [
    Metric("accuracy", "flat", "share of cells whose predicted label is the true one", 0, 1, 1),
    Metric("balanced_accuracy", "flat", "mean recall over classes", 0, 1, 1),
    Metric("macro_precision", "flat", "mean precision over classes", 0, 1, 1),
    Metric("macro_recall", "flat", "mean recall over classes", 0, 1, 1),
    Metric("macro_f1", "flat", "mean F1 over classes", 0, 1, 1),
    Metric("weighted_precision", "flat", "mean precision, classes weighted by their true cells", 0, 1, 1),
    Metric("weighted_recall", "flat", "mean recall, classes weighted by their true cells", 0, 1, 1),
    Metric("weighted_f1", "flat", "mean F1, classes weighted by their true cells", 0, 1, 1),
    Metric("micro_f1", "flat", "F1 of the summed counts; equals accuracy when every cell has one label", 0, 1, 1),
    Metric("cohen_kappa", "flat", "agreement beyond chance (Cohen 1960)", -1, 1, 1),
    Metric("mcc", "flat", "multi-class correlation of true and predicted labels (Gorodkin 2004)", -1, 1, 1),
    Metric(
        "unseen_share",
        "flat",
        "share of cells whose class no training cell has: wrong for any closed-set method",
        0,
        1,
        None,
    ),
    Metric("unknown_share", "flat", "share of cells that the method called unknown; counted as wrong", 0, 1, None),
]
PER_CLASS = [
    Metric("precision", "per_class", "precision of one class", 0, 1, 1),
    Metric("recall", "per_class", "recall of one class", 0, 1, 1),
    Metric("f1", "per_class", "F1 of one class", 0, 1, 1),
    Metric(
        "ontology_f1",
        "per_class",
        "F1 of one class after predictions below the truth are replaced by the true label",
        0,
        1,
        1,
    ),
]


def compute(scored: Scored) -> Iterator[Row]:
    """Overall values, and accuracy and macro F1 within every group of cells."""
    hits, true, predicted = _counts(scored)
    yield from _averages(scored, hits, true, predicted)
    total = scored.n

    def row(metric: str, value: Any, label_set: str = "-") -> Row:
        return Row("flat", metric, label_set, "overall", "all", float(value), total)

    yield row("accuracy", ratio(hits.sum(), total))
    yield row("micro_f1", ratio(2 * hits.sum(), true.sum() + predicted.sum()))
    by_chance = (true * predicted).sum() / total**2
    yield row("cohen_kappa", _beyond(hits.sum() / total, by_chance))
    covariance = hits.sum() * total - (true * predicted).sum()
    spread = np.sqrt(float(total**2 - (predicted**2).sum()) * float(total**2 - (true**2).sum()))
    yield row("mcc", covariance / spread if spread > 0 else float(covariance == 0 and hits.sum() == total))
    yield row("unseen_share", 1 - true[np.isin(scored.classes, scored.training)].sum() / total)
    yield row("unknown_share", predicted[scored.classes == UNKNOWN].sum() / total)
    yield from within(scored, "flat", "", scored.predicted_codes)


def compute_per_class(scored: Scored) -> Iterator[Row]:
    """Precision, recall, F1 and ontology-aware F1 of every class that has true cells; n counts them."""
    hits, true, predicted = _counts(scored)
    ontology_f1 = f1(*corrected_counts(scored))
    for i in np.flatnonzero(scored.members("truth", true, predicted)):
        parts = {
            "precision": ratio(hits[i], predicted[i]),
            "recall": ratio(hits[i], true[i]),
            "f1": f1(hits[i], true[i], predicted[i]),
            "ontology_f1": ontology_f1[i],
        }
        for name, value in parts.items():
            yield Row("per_class", name, "-", "class", str(scored.classes[i]), float(value), int(true[i]))


def _counts(scored: Scored) -> "tuple[NDArray[Any], NDArray[Any], NDArray[Any]]":
    """Hits, true and predicted cells of every class."""
    return np.diag(scored.confusion), scored.confusion.sum(axis=1), scored.confusion.sum(axis=0)


def _averages(scored: Scored, hits: "NDArray[Any]", true: "NDArray[Any]", predicted: "NDArray[Any]") -> Iterator[Row]:
    values = {"precision": ratio(hits, predicted), "recall": ratio(hits, true), "f1": f1(hits, true, predicted)}
    for label_set in scored.label_sets:
        members = scored.members(label_set, true, predicted)
        for name, value in values.items():
            yield Row("flat", f"macro_{name}", label_set, "overall", "all", float(mean_over(value, members)), scored.n)
    members = scored.members("truth", true, predicted)
    yield Row(
        "flat", "balanced_accuracy", "truth", "overall", "all", float(mean_over(values["recall"], members)), scored.n
    )
    for name, value in values.items():
        yield Row(
            "flat", f"weighted_{name}", "truth", "overall", "all", float((value * true).sum() / true.sum()), scored.n
        )


def _beyond(observed: float, expected: float) -> float:
    return float((observed - expected) / (1 - expected)) if expected < 1 else float(observed == 1)
