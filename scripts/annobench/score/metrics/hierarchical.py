"""Hierarchical precision, recall and F-measure (Kiritchenko et al. 2006).

A label stands for itself and all its ancestors but the root: T for the truth, P for the prediction. Then
tp = |T and P|, fp = |P without T|, fn = |T without P|, summed over cells (micro), or per ontology node and averaged
over the nodes with any true cell (macro, weighted). `unknown` has an empty P: it costs recall, not precision.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from annobench.core.counts import mean_over, ratio
from annobench.ontology import UNKNOWN, Ontology
from annobench.score.metrics.base import Metric, Row, Scored

if TYPE_CHECKING:
    from numpy.typing import NDArray

METRICS = [
    Metric(f"hierarchical_{name}_{average}", "hierarchical", f"{name} over labels with their ancestors, {how}", 0, 1, 1)
    for average, how in (
        ("micro", "summed over cells"),
        ("macro", "mean over ontology nodes"),
        ("weighted", "mean over nodes weighted by true cells"),
    )
    for name in ("precision", "recall", "f1")
]


def node_matrix(classes: "NDArray[Any]", ontology: Ontology) -> tuple["NDArray[np.int64]", list[str]]:
    """A (classes, nodes) 0/1 matrix of each label with its ancestors without the root, and the node ids."""
    closures = [frozenset() if label == UNKNOWN else ontology.closure(label) for label in classes]
    nodes = sorted(set().union(*closures)) if closures else []
    position = {node: i for i, node in enumerate(nodes)}
    matrix = np.zeros((len(classes), len(nodes)), dtype=np.int64)
    for i, closure in enumerate(closures):
        matrix[i, [position[node] for node in closure]] = 1
    return matrix, nodes


def node_counts(confusion: "NDArray[np.int64]", nodes: "NDArray[np.int64]") -> tuple["NDArray[np.int64]", ...]:
    """True positives, false positives and false negatives per node, from cells by true and predicted class."""
    table, member = confusion.astype(np.float64), nodes.astype(np.float64)  # whole numbers, but multiplied by BLAS
    both = (member * (table @ member)).sum(axis=0)
    of_truth, of_prediction = table.sum(axis=1) @ member, table.sum(axis=0) @ member
    tp, fp, fn = (np.rint(one).astype(np.int64) for one in (both, of_prediction - both, of_truth - both))
    return tp, fp, fn


def pair_counts(nodes: "NDArray[np.int64]") -> tuple["NDArray[np.int64]", "NDArray[np.int64]"]:
    """|T and P| for every pair of classes, and |T| for every class: enough for the micro averages."""
    return nodes @ nodes.T, nodes.sum(axis=1)


def compute(scored: Scored) -> Iterator[Row]:
    """Micro, macro and weighted values."""
    nodes, _ = node_matrix(scored.classes, scored.ontology)
    tp, fp, fn = node_counts(scored.confusion, nodes)
    support = tp + fn

    def rows(average: str, precision: Any, recall: Any, f_measure: Any) -> Iterator[Row]:
        for name, value in (("precision", precision), ("recall", recall), ("f1", f_measure)):
            yield Row("hierarchical", f"hierarchical_{name}_{average}", "-", "overall", "all", float(value), scored.n)

    def triple(hits: Any, wrong: Any, missed: Any) -> list[Any]:
        return [ratio(hits, hits + wrong), ratio(hits, hits + missed), ratio(2 * hits, 2 * hits + wrong + missed)]

    yield from rows("micro", *triple(tp.sum(), fp.sum(), fn.sum()))
    per_node = triple(tp, fp, fn)
    yield from rows("macro", *(mean_over(values, support > 0) for values in per_node))
    yield from rows("weighted", *(ratio((values * support).sum(), support.sum()) for values in per_node))
