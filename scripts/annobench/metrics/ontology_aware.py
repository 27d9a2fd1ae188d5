"""Ontology-aware metrics: a prediction below the truth counts as right (the rule of the HCE and scTab papers).

The rule itself rewards fine predictions: a leaf may be right for a cell that is only labelled with an ancestor, while a
correct but coarser prediction counts as wrong. The shares of exact, finer and coarser predictions stand beside it.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from annobench.metrics.base import Metric, Row, Scored
from annobench.metrics.counts import class_counts, macro_f1

if TYPE_CHECKING:
    from numpy.typing import NDArray

METRICS = [
    Metric(
        "ontology_accuracy",
        "ontology_aware",
        "share of cells predicted as their true type or a descendant of it",
        0,
        1,
        1,
    ),
    Metric(
        "ontology_macro_f1", "ontology_aware", "macro F1 after such a prediction is replaced by the true label", 0, 1, 1
    ),
    Metric("exact_share", "ontology_aware", "share predicted exactly", 0, 1, 1),
    Metric("finer_share", "ontology_aware", "share predicted as a strict descendant of the truth", 0, 1, None),
    Metric("coarser_share", "ontology_aware", "share predicted as a strict ancestor of the truth", 0, 1, None),
    Metric("unrelated_share", "ontology_aware", "share predicted as anything else", 0, 1, 0),
    Metric(
        "leaf_share",
        "ontology_aware",
        "share predicted as a class without descendants among the training classes",
        0,
        1,
        None,
    ),
]


def corrected(
    true: "NDArray[np.intp]", predicted: "NDArray[np.intp]", reachability: "NDArray[np.bool_]"
) -> "NDArray[np.intp]":
    """The prediction, replaced by the truth where it is the truth or below it; reachability as in Ontology."""
    return np.where(reachability[true, predicted], true, predicted)


def compute(scored: Scored) -> Iterator[Row]:
    """Overall values."""
    reachability = scored.ontology.reachability(list(scored.classes))
    true, predicted = scored.true_codes, scored.predicted_codes
    replaced = corrected(true, predicted, reachability)

    def row(metric: str, value: Any, label_set: str = "-") -> Row:
        return Row("ontology_aware", metric, label_set, "overall", "all", float(value), scored.n)

    yield row("ontology_accuracy", (replaced == true).mean())
    counts = class_counts(true, replaced, len(scored.classes))
    for label_set in ("truth", "either"):
        yield row("ontology_macro_f1", macro_f1(*counts, scored.members(label_set, counts[1], counts[2])), label_set)
    exact = true == predicted
    finer = reachability[true, predicted] & ~exact
    coarser = reachability[predicted, true] & ~exact
    yield row("exact_share", exact.mean())
    yield row("finer_share", finer.mean())
    yield row("coarser_share", coarser.mean())
    yield row("unrelated_share", (~(exact | finer | coarser)).mean())
    trained = np.isin(scored.classes, scored.training)
    leaf = trained & (reachability[:, trained].sum(axis=1) == 1)
    yield row("leaf_share", leaf[predicted].mean())
