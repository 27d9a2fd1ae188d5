"""Ontology-aware metrics: a prediction below the truth counts as right (the rule of the HCE and scTab papers).

The rule itself rewards fine predictions: a leaf may be right for a cell that is only labelled with an ancestor, while a
correct but coarser prediction counts as wrong. The shares of exact, finer and coarser predictions stand beside it.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from annobench.core.counts import macro_f1
from annobench.score.metrics.base import Metric, Row, Scored
from annobench.score.metrics.groups import within

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


def corrected(true: "NDArray[Any]", predicted: "NDArray[Any]", reachability: "NDArray[np.bool_]") -> "NDArray[Any]":
    """The prediction, replaced by the truth where it is the truth or below it; reachability as in Ontology."""
    return np.where(reachability[true, predicted], true, predicted)


def corrected_counts(scored: Scored) -> "tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]":
    """Hits, true and predicted cells of every class after the rule."""
    cells, right = scored.confusion, scored.reachability
    hits = np.where(right, cells, 0).sum(axis=1)  # those that are right become the true label
    return hits, cells.sum(axis=1), np.where(right, 0, cells).sum(axis=0) + hits


def compute(scored: Scored) -> Iterator[Row]:
    """Overall values, and accuracy and macro F1 within every group of cells."""
    cells, reachability = scored.confusion, scored.reachability
    below = reachability & ~np.eye(len(cells), dtype=bool)

    def row(metric: str, value: Any, label_set: str = "-") -> Row:
        return Row("ontology_aware", metric, label_set, "overall", "all", float(value), scored.n)

    def share(pairs: "NDArray[np.bool_]") -> float:
        return float(cells[pairs].sum() / scored.n)

    yield row("ontology_accuracy", share(reachability))
    hits, true, predicted = corrected_counts(scored)
    for label_set in (one for one in scored.label_sets if one != "shared"):
        members = scored.members(label_set, true, predicted)
        yield row("ontology_macro_f1", macro_f1(hits, true, predicted, members), label_set)
    yield row("exact_share", share(np.eye(len(cells), dtype=bool)))
    yield row("finer_share", share(below))
    yield row("coarser_share", share(below.T))
    yield row("unrelated_share", share(~(reachability | reachability.T)))
    trained = np.isin(scored.classes, scored.training)
    leaf = trained & (reachability[:, trained].sum(axis=1) == 1)
    yield row("leaf_share", share(np.broadcast_to(leaf, cells.shape)))
    yield from within(
        scored, "ontology_aware", "ontology_", corrected(scored.true_codes, scored.predicted_codes, reachability)
    )
