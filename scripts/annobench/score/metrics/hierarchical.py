"""Hierarchical precision, recall and F-measure (Kiritchenko et al. 2006).

A label is read as the set of itself and its ancestors but the root: T for the truth, P for the prediction. Then
tp = |T and P|, fp = |P without T|, fn = |T without P|, summed over cells (micro), or per ontology node and averaged
over the nodes with any true cell (macro, weighted). `unknown` has an empty P, which costs recall but not precision.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from annobench.core.counts import mean_over, ratio
from annobench.score.counts import Counts
from annobench.score.evidence import Evidence
from annobench.score.metric import Family, Metric, Row
from annobench.score.metrics.shared.rows import from_counts

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]


def _sizes(counts: Counts) -> "tuple[Array, Array, Array]":
    """|T and P|, |T| and |P|, summed over cells, (...,)."""
    shared = counts.classes.shared_nodes
    own = np.diag(shared)
    of_truth, of_prediction = (np.broadcast_to(one, shared.shape) for one in (own[:, None], own[None, :]))
    sums = counts.pairs(np.stack([shared, of_truth, of_prediction], axis=2))
    return sums[..., 0], sums[..., 1], sums[..., 2]


def micro_precision(counts: Counts) -> "Array":
    """|T and P| / |P|."""
    both, _, of_prediction = _sizes(counts)
    return ratio(both, of_prediction)


def micro_recall(counts: Counts) -> "Array":
    """|T and P| / |T|."""
    both, of_truth, _ = _sizes(counts)
    return ratio(both, of_truth)


def micro_f1(counts: Counts) -> "Array":
    """2 |T and P| / (|T| + |P|)."""
    both, of_truth, of_prediction = _sizes(counts)
    return ratio(2 * both, of_truth + of_prediction)


def _precision(counts: Counts) -> "Array":
    """Per node."""
    return ratio(counts.node_hits, counts.node_predicted)


def _recall(counts: Counts) -> "Array":
    return ratio(counts.node_hits, counts.node_true)


def _f1(counts: Counts) -> "Array":
    return ratio(2 * counts.node_hits, counts.node_true + counts.node_predicted)


def _macro(values: "Array", counts: Counts) -> "Array":
    """Mean over the nodes with true cells."""
    return mean_over(values, counts.node_true > 0)


def _weighted(values: "Array", counts: Counts) -> "Array":
    """Mean over nodes, weighted by their true cells."""
    return ratio((values * counts.node_true).sum(axis=-1), counts.node_true.sum(axis=-1))


METRICS = [
    Metric(
        name="hierarchical_precision_micro",
        label="hierarchical precision",
        meaning="precision over labels with their ancestors, summed over cells",
        low=0,
        high=1,
        best=1,
        from_counts=micro_precision,
    ),
    Metric(
        name="hierarchical_recall_micro",
        label="hierarchical recall",
        meaning="recall over labels with their ancestors, summed over cells",
        low=0,
        high=1,
        best=1,
        from_counts=micro_recall,
    ),
    Metric(
        name="hierarchical_f1_micro",
        label="hierarchical F1",
        meaning="F1 over labels with their ancestors, summed over cells",
        low=0,
        high=1,
        best=1,
        from_counts=micro_f1,
    ),
    Metric(
        name="hierarchical_precision_macro",
        label="hierarchical macro precision",
        meaning="precision over labels with their ancestors, mean over ontology nodes",
        low=0,
        high=1,
        best=1,
        from_counts=lambda counts: _macro(_precision(counts), counts),
    ),
    Metric(
        name="hierarchical_recall_macro",
        label="hierarchical macro recall",
        meaning="recall over labels with their ancestors, mean over ontology nodes",
        low=0,
        high=1,
        best=1,
        from_counts=lambda counts: _macro(_recall(counts), counts),
    ),
    Metric(
        name="hierarchical_f1_macro",
        label="hierarchical macro F1",
        meaning="F1 over labels with their ancestors, mean over ontology nodes",
        low=0,
        high=1,
        best=1,
        from_counts=lambda counts: _macro(_f1(counts), counts),
    ),
    Metric(
        name="hierarchical_precision_weighted",
        label="hierarchical weighted precision",
        meaning="precision over labels with their ancestors, mean over nodes weighted by true cells",
        low=0,
        high=1,
        best=1,
        from_counts=lambda counts: _weighted(_precision(counts), counts),
    ),
    Metric(
        name="hierarchical_recall_weighted",
        label="hierarchical weighted recall",
        meaning="recall over labels with their ancestors, mean over nodes weighted by true cells",
        low=0,
        high=1,
        best=1,
        from_counts=lambda counts: _weighted(_recall(counts), counts),
    ),
    Metric(
        name="hierarchical_f1_weighted",
        label="hierarchical weighted F1",
        meaning="F1 over labels with their ancestors, mean over nodes weighted by true cells",
        low=0,
        high=1,
        best=1,
        from_counts=lambda counts: _weighted(_f1(counts), counts),
    ),
]


def compute(evidence: Evidence) -> Iterator[Row]:
    """Micro, macro and weighted values."""
    yield from from_counts("hierarchical", METRICS, evidence.scored)


FAMILY = Family("hierarchical", tuple(METRICS), needs=("predictions",), compute=compute, order=4)
