"""F-measures as cellarium-cas 1.8.1 defines them, from counts of cells by true and predicted label.

They differ from the metric families of this project in three points, which their names here keep apart. A value that is
not defined is `zero_division`, an F-measure of precision 0 and recall 0 included. The flat macro average is over the
classes that are true or predicted anywhere (`either`, what its code does), and beside it over those with true cells
(`support`, what its documentation says). The hierarchical averages are over nodes with true cells.
"""

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from annobench.core.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Codes = NDArray[np.integer]
    Numbers = NDArray[np.float64]

CELL_ROOT = "CL:0000000"
AVERAGES = ("micro", "macro", "weighted")
# the order of columns in the files of cellarium-cas
_MEANS = ("f1_macro", "precision_macro", "recall_macro", "precision_weighted", "recall_weighted", "f1_weighted")
FLAT = ("tp", "fp", "fn", "precision_micro", "recall_micro", "f1_micro", *_MEANS)
HIERARCHICAL = tuple(f"h_{key}" for key in FLAT)
CLASS_SETS = ("either", "support")
MACRO = tuple(f"{measure}_macro_{of}" for of in CLASS_SETS for measure in ("precision", "recall", "f1"))


@dataclass(frozen=True)
class Pairs:
    """Cells by true and predicted label: only the pairs that occur, sorted.

    Parameters
    ----------
    true, predicted
        (pairs,) positions in a list of labels.
    cells
        (pairs,) number of cells.
    """

    true: "NDArray[np.int64]"
    predicted: "NDArray[np.int64]"
    cells: "NDArray[np.int64]"

    @classmethod
    def count(cls, true: "Codes", predicted: "Codes", cells: "NDArray[np.int64] | None" = None) -> "Pairs":
        """Count cells; `cells` are their numbers where an entry stands for several."""
        (rows, row), (columns, column) = (_occurring(codes) for codes in (true, predicted))
        size = max(len(columns), 1)
        if len(rows) * size >= 2**31:
            row = row.astype(np.int64)
        place = row * np.int32(size) + column
        if len(rows) * size <= 4 * len(place) + 1_000_000:  # counting into all possible pairs is faster than sorting
            weights = None if cells is None else cells.astype(np.float64)  # exact below 2**53 cells
            counts = np.bincount(place, weights, minlength=len(rows) * size).astype(np.int64)
            found = np.flatnonzero(counts)
            counts = counts[found]
        elif cells is None:
            found, counts = np.unique(place, return_counts=True)
        else:
            found, at = np.unique(place, return_inverse=True)
            counts = np.bincount(at, cells.astype(np.float64), minlength=len(found)).astype(np.int64)
        return cls(rows[found // size], columns[found % size], counts)

    @classmethod
    def sum(cls, parts: "Sequence[Pairs]") -> "Pairs":
        """The cells of several parts together."""
        if len(parts) == 1:
            return parts[0]
        joined = (np.concatenate([getattr(part, name) for part in parts]) for name in ("true", "predicted", "cells"))
        return cls.count(*joined)


def _occurring(codes: "Codes") -> "tuple[NDArray[np.int64], Codes]":
    """The codes that occur, sorted, and the position of every entry among them."""
    there = np.flatnonzero(np.bincount(codes, minlength=1))
    place = np.zeros(int(there[-1]) + 1 if len(there) else 1, dtype=np.int32)
    place[there] = np.arange(len(there))
    return there, place[codes]


class Hierarchy:
    """The labels of an ontology resource of cellarium-cas, each with its ancestors.

    Parameters
    ----------
    labels
        The label universe, in the order of all codes.
    ancestors
        Ancestors of a label, itself not included; one that is missing has none.
    """

    def __init__(self, labels: Sequence[str], ancestors: Mapping[str, Iterable[str]]) -> None:
        self.labels = list(labels)
        self.code = {label: i for i, label in enumerate(self.labels)}
        nodes = [sorted({label, *ancestors.get(label, ())} - {CELL_ROOT}) for label in self.labels]
        position = dict(self.code)
        for node in (node for one in nodes for node in one):
            position.setdefault(node, len(position))
        self.size = len(position)
        self._nodes = [np.array([position[node] for node in one], dtype=np.intp) for one in nodes]

    @classmethod
    def of_resource(cls, resource: Mapping[str, object], file: str) -> "Hierarchy":
        """From the content of an ontology_resource.json; raises DataError where it is not one."""
        labels, ancestors = resource.get("cl_names"), resource.get("ancestors_dictionary")
        if not isinstance(labels, list) or not labels:
            raise DataError(f"{file}: expected a list of Cell Ontology ids under `cl_names`")
        if not isinstance(ancestors, dict) or not ancestors:
            children = resource.get("children_dictionary")
            if not isinstance(children, dict):
                raise DataError(f"{file}: expected `ancestors_dictionary` or `children_dictionary`")
            ancestors = _from_children(labels, children)
        return cls(labels, ancestors)

    def nodes(self, label: int) -> "NDArray[np.intp]":
        """Nodes of a label: itself and its ancestors without the root."""
        return self._nodes[label]

    @cached_property
    def _indicator(self) -> "NDArray[np.uint8]":
        """Whether a label (row) has a node (column): one byte each, 8 MB for the whole Cell Ontology."""
        matrix = np.zeros((len(self.labels), self.size), dtype=np.uint8)
        for i, nodes in enumerate(self._nodes):
            matrix[i, nodes] = 1
        return matrix

    def by_node(self, labels: "NDArray[np.int64]", cells: "NDArray[np.int64]") -> "NDArray[np.int64]":
        """Cells at or below every node, (nodes,), from cells by label."""
        counts = np.zeros(self.size, dtype=np.int64)
        for label, n in zip(*_totals(labels, cells), strict=True):
            counts[self._nodes[label]] += n
        return counts

    def shared_by_node(self, pairs: Pairs) -> "NDArray[np.int64]":
        """Cells whose true and predicted label are both at or below a node, (nodes,)."""
        counts = np.zeros(self.size, dtype=np.int64)
        starts = np.flatnonzero(np.diff(pairs.true, prepend=-1))
        for start, end in zip(starts, [*starts[1:], len(pairs.true)], strict=True):
            nodes = self._nodes[pairs.true[start]]
            below = self._indicator[np.ix_(pairs.predicted[start:end], nodes)]
            counts[nodes] += pairs.cells[start:end] @ below
        return counts


def _from_children(labels: Sequence[str], children: Mapping[str, Sequence[str]]) -> dict[str, set[str]]:
    ancestors: dict[str, set[str]] = {label: set() for label in labels}
    for top in children:
        queue, seen = deque(children[top]), set()
        while queue:
            below = queue.popleft()
            if below not in seen:
                seen.add(below)
                ancestors.setdefault(below, set()).add(top)
                queue.extend(children.get(below, ()))
    return ancestors


def _totals(codes: "NDArray[np.int64]", cells: "NDArray[np.int64]") -> "tuple[NDArray[np.intp], NDArray[np.int64]]":
    totals = np.bincount(codes, cells.astype(np.float64), minlength=1).astype(np.int64)
    there = np.flatnonzero(totals)
    return there, totals[there]


# measures


@dataclass(frozen=True)
class _Triad:
    """Precision, recall and F1 of every class or node, (m,)."""

    precision: "Numbers"
    recall: "Numbers"
    f1: "Numbers"

    @classmethod
    def of(cls, hits: "Numbers", true: "Numbers", predicted: "Numbers", zero_division: float) -> "_Triad":
        precision, recall = _safe(hits, predicted, zero_division), _safe(hits, true, zero_division)
        return cls(precision, recall, _safe(2 * precision * recall, precision + recall, zero_division))

    def averaged(self, name: str, weights: "Numbers", zero_division: float) -> dict[str, float]:
        """Weighted means; weights may be 0 or 1."""
        total = float(weights.sum())
        return {
            f"{measure}_{name}": float((getattr(self, measure) * weights).sum()) / total if total else zero_division
            for measure in ("precision", "recall", "f1")
        }


def _safe(above: "Numbers", below: "Numbers", zero_division: float) -> "Numbers":
    return np.divide(above, below, out=np.full(np.shape(below), zero_division, dtype=np.float64), where=below > 0)


def flat_measures(pairs: Pairs, zero_division: float = 0.0) -> dict[str, float]:
    """Counts and micro, macro and weighted averages over labels: `FLAT`, and `MACRO` for both class sets."""
    size = int(max(pairs.true.max(initial=-1), pairs.predicted.max(initial=-1))) + 1
    cells = pairs.cells.astype(np.float64)
    right = pairs.true == pairs.predicted
    hits = _sums(pairs.true[right], cells[right], size)
    true, predicted = (_sums(codes, cells, size) for codes in (pairs.true, pairs.predicted))
    per_class = _Triad.of(hits, true, predicted, zero_division)
    tp, total = int(hits.sum()), int(cells.sum())
    found = {"tp": tp, "fp": total - tp, "fn": total - tp, **_micro(tp, total, total, zero_division)}
    sets = {"either": (true > 0) | (predicted > 0), "support": true > 0}
    for name, members in sets.items():
        found |= per_class.averaged(f"macro_{name}", members.astype(np.float64), zero_division)
    found |= {f"{measure}_macro": found[f"{measure}_macro_either"] for measure in ("precision", "recall", "f1")}
    return found | per_class.averaged("weighted", true, zero_division)


def hierarchical_measures(pairs: Pairs, hierarchy: Hierarchy, zero_division: float = 0.0) -> dict[str, float]:
    """Counts and micro, macro and weighted averages over ontology nodes (Kiritchenko et al. 2006): `HIERARCHICAL`."""
    both = hierarchy.shared_by_node(pairs)
    true, predicted = (hierarchy.by_node(codes, pairs.cells) for codes in (pairs.true, pairs.predicted))
    tp, of_truth, of_prediction = (int(counts.sum()) for counts in (both, true, predicted))
    support = true > 0
    hits, weights, taken = (counts[support].astype(np.float64) for counts in (both, true, predicted))
    per_node = _Triad.of(hits, weights, taken, zero_division)
    found = {
        "tp": tp,
        "fp": of_prediction - tp,
        "fn": of_truth - tp,
        **_micro(tp, of_truth, of_prediction, zero_division),
    }
    found |= per_node.averaged("macro", np.ones(len(weights)), zero_division)
    found |= per_node.averaged("weighted", weights, zero_division)
    return {f"h_{name}": value for name, value in found.items()}


def _sums(codes: "Codes", cells: "Numbers", size: int) -> "Numbers":
    return np.bincount(codes, cells, minlength=size).astype(np.float64, copy=False)


def _micro(tp: int, true: int, predicted: int, zero_division: float) -> dict[str, float]:
    counts = [np.array([float(n)]) for n in (tp, true, predicted)]
    one = _Triad.of(counts[0], counts[1], counts[2], zero_division)
    return {f"{name}_micro": float(getattr(one, name)[0]) for name in ("precision", "recall", "f1")}
