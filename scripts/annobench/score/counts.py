"""Cells counted by unit, true and predicted class: all that a metric `from_counts` needs of a fit.

Metrics see the sums of these counts over units (`Counts`): as they were observed, weighted anew in every replicate of a
bootstrap, or with two methods swapped on some units.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from operator import methodcaller
from typing import TYPE_CHECKING

import numpy as np

from annobench.core.counts import summed
from annobench.core.parquet import Categorical
from annobench.ontology import UNKNOWN, Ontology
from annobench.score.units import OF_CELLS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from annobench.core.parquet import Column

    Array = NDArray[np.float64]
    Codes = NDArray[np.integer]
    Mask = NDArray[np.bool_]


_CACHED = 1 << 16  # numbers that lie in the cache of a core


def sums_where(chosen: "Mask", values: "Array") -> "Array":
    """Sums of the values of the chosen units, (replicates[, n]) from (replicates, units) and (units[, n]).

    A few replicates at a time: as numbers, all choices would fill the memory many times over.
    """
    found = np.empty((len(chosen), *values.shape[1:]))
    step = max(_CACHED // max(chosen.shape[1], 1), 1)
    for start in range(0, len(chosen), step):
        found[start : start + step] = chosen[start : start + step].astype(np.float64) @ values
    return found


class Classes:
    """The classes that cells are counted by, and how the ontology relates them.

    Parameters
    ----------
    labels
        (classes,) Cell Ontology ids, in the order of the last axis of all counts; `unknown` may be among them.
    ontology
        Relates them.
    """

    def __init__(self, labels: Sequence[str], ontology: Ontology) -> None:
        self.labels, self.ontology = list(labels), ontology
        self.real: Mask = np.array([label != UNKNOWN for label in self.labels], dtype=bool)

    def __len__(self) -> int:
        return len(self.labels)

    @cached_property
    def reachability(self) -> "Mask":
        """Whether a class (column) is another (row) or a descendant of it, (classes, classes)."""
        return self.ontology.reachability(self.labels)

    @cached_property
    def nodes(self) -> "Array":
        """Whether an ontology node (column) is a class (row) or an ancestor of it but the root, (classes, nodes).

        The sets of the hierarchical F-measure (Kiritchenko et al. 2006). `unknown` has none.
        """
        return node_matrix(self.labels, self.ontology)[0].astype(np.float64)

    @cached_property
    def shared_nodes(self) -> "Array":
        """How many nodes two classes share, (classes, classes); on the diagonal, how many a class has."""
        return self.nodes @ self.nodes.T

    def part(self, positions: "NDArray[np.intp]") -> "Classes":
        """Some of the classes."""
        some = Classes([self.labels[i] for i in positions], self.ontology)
        some.__dict__["reachability"] = self.reachability[np.ix_(positions, positions)]
        return some

    def corrected(self, true: "Codes", predicted: "Codes") -> "Codes":
        """The prediction, replaced by the truth where it is the truth or a descendant of it; class numbers."""
        return np.where(self.reachability[true, predicted], true, predicted)


def node_matrix(labels: Sequence[str], ontology: Ontology) -> tuple["NDArray[np.int64]", list[str]]:
    """A (classes, nodes) 0/1 matrix of each label with its ancestors without the root, and the node ids."""
    closures = [frozenset() if label == UNKNOWN else ontology.closure(label) for label in labels]
    nodes = sorted(set().union(*closures)) if closures else []
    position = {node: i for i, node in enumerate(nodes)}
    matrix = np.zeros((len(labels), len(nodes)), dtype=np.int64)
    for i, closure in enumerate(closures):
        matrix[i, [position[node] for node in closure]] = 1
    return matrix, nodes


class UnitCounts:
    """Cells of one fit by unit, true and predicted class.

    The tables below, (units, ...), are linear in the cells, so that weighted sums of them are the tables of weighted
    cells. Each is made when it is first asked for.

    Parameters
    ----------
    units
        Names of what a bootstrap resamples: donors, studies or cells.
    unit, true, predicted
        (entries,) positions among `units` and `classes`.
    cells
        (entries,) number of cells of each entry.
    classes
        Fits that are compared need the same list.
    of_cells
        Whether units are cells, or blocks of cells, which are resampled by class.
    """

    def __init__(
        self,
        units: Sequence[str],
        unit: "Codes",
        true: "Codes",
        predicted: "Codes",
        *,
        cells: "NDArray[np.number]",
        classes: Classes,
        of_cells: bool = False,
    ) -> None:
        self.units, self.classes, self.of_cells = list(units), classes, of_cells
        self._unit, self._true, self._predicted = (np.asarray(code, dtype=np.intp) for code in (unit, true, predicted))
        self._cells: Array = np.asarray(cells, dtype=np.float64)

    @classmethod
    def of_table(cls, table: "Mapping[str, Column]", classes: Classes) -> "UnitCounts":
        """From columns unit, true, predicted (text or Categorical), n and, if given, unit_kind, as scoring writes."""
        columns = {
            name: values if isinstance(values, Categorical) else Categorical.of(values)
            for name, values in table.items()
            if name in ("unit", "true", "predicted")
        }
        units = sorted(columns["unit"].counts())
        codes = [columns["unit"].recode(units), *(columns[key].recode(classes.labels) for key in ("true", "predicted"))]
        given = table.get("unit_kind")
        kinds = given.to_text() if isinstance(given, Categorical) else given
        of_cells = kinds is not None and len(kinds) > 0 and str(kinds[0]) in OF_CELLS
        cells = np.asarray(table["n"])
        return cls(units, codes[0], codes[1], codes[2], cells=cells, classes=classes, of_cells=of_cells)

    def observed(self) -> "Counts":
        """The counts of all units together, (classes,)."""
        return Counts(lambda measure: measure(self).sum(axis=0), self)

    def weighted(self, weights: "Array") -> "Counts":
        """The counts under weights of the units, (replicates, units) -> (replicates, classes)."""
        return Counts(lambda measure: weights @ measure(self), self)

    def swapped(self, other: "UnitCounts", units: "NDArray[np.intp]", swaps: "Mask") -> "tuple[Counts, Counts]":
        """The counts of two methods that are swapped on some of the units, where `swaps` says, (replicates, units)."""
        known: dict[Measure, Array] = {}  # of tables that metrics ask for again

        def change(measure: Measure) -> "Array":
            """What swaps add to the first method and take from the second, (replicates, ...)."""
            if measure not in known:
                difference = measure(other)[units] - measure(self)[units]
                changed = difference.any(axis=0)  # the true labels never do
                known[measure] = np.zeros((len(swaps), *difference.shape[1:]))
                known[measure][..., changed] = sums_where(swaps, difference[..., changed])
            return known[measure]

        first = Counts(lambda measure: measure(self).sum(axis=0) + change(measure), self)
        return first, Counts(lambda measure: measure(other).sum(axis=0) - change(measure), self)

    def grouped(self, groups: Sequence[str]) -> "UnitCounts":
        """The same cells by groups of units; `groups` names that of every unit."""
        names = sorted(set(groups))
        code = np.array([names.index(group) for group in groups], dtype=np.intp)
        return UnitCounts(names, code[self._unit], self._true, self._predicted, cells=self._cells, classes=self.classes)

    def part(self, units: "NDArray[np.intp]") -> "UnitCounts":
        """The cells of some units, over the classes that occur among them."""
        place = np.full(len(self.units), -1)
        place[units] = np.arange(len(units))
        rows = place[self._unit] >= 0
        true, predicted = self._true[rows], self._predicted[rows]
        positions = np.union1d(true, predicted)
        return UnitCounts(
            [self.units[i] for i in units],
            place[self._unit[rows]],
            np.searchsorted(positions, true),
            np.searchsorted(positions, predicted),
            cells=self._cells[rows],
            classes=self.classes.part(positions),
        )

    def apart(self, chosen: "NDArray[np.intp]") -> "tuple[UnitCounts, UnitCounts, NDArray[np.intp], NDArray[np.intp]]":
        """The cells of all other true classes by unit, and those of the chosen ones by unit and class.

        Also the unit and the class of every such pair, in the order of the units of the second counts.
        """
        mine = np.isin(self._true, chosen)
        pairs, row = np.unique(self._unit[mine] * len(self.classes) + self._true[mine], return_inverse=True)
        unit, of_class = np.divmod(pairs, len(self.classes))
        others = [] if mine.all() else self.units
        rest = ~mine
        large = UnitCounts(
            others,
            self._unit[rest],
            self._true[rest],
            self._predicted[rest],
            cells=self._cells[rest],
            classes=self.classes,
        )
        names = [f"{self.units[u]}/{self.classes.labels[c]}" for u, c in zip(unit, of_class, strict=True)]
        small = UnitCounts(
            names, row, self._true[mine], self._predicted[mine], cells=self._cells[mine], classes=self.classes
        )
        return large, small, unit, of_class

    def matches(self, other: "UnitCounts") -> bool:
        """Whether two fits are counted over the same units and classes."""
        return self.units == other.units and self.classes.labels == other.classes.labels

    def differing(self, other: "UnitCounts") -> "NDArray[np.intp]":
        """Units whose cells two fits predict differently."""
        size = len(self.classes)

        def by_place(one: UnitCounts) -> "tuple[NDArray[np.intp], Array]":
            places, at = np.unique((one._unit * size + one._true) * size + one._predicted, return_inverse=True)
            return places, summed(at, one._cells, len(places))

        (places, cells), (others, theirs) = by_place(self), by_place(other)
        every = np.union1d(places, others)
        change = np.zeros(len(every))
        change[np.searchsorted(every, places)] += cells
        change[np.searchsorted(every, others)] -= theirs
        return np.unique(every[change != 0] // (size * size))

    def _by_class(self, code: "Codes", mask: "Mask | bool" = True) -> "Array":
        """Cells by unit and the class that `code` gives, (units, classes)."""
        shape = (len(self.units), len(self.classes))
        places = self._unit * shape[1] + code
        return summed(places, self._cells * mask, shape[0] * shape[1]).reshape(shape)

    @cached_property
    def members(self) -> "Mask":
        """Over which classes averages are taken, (classes,): those that occur among the true labels."""
        return (self.true.sum(axis=0) > 0) & self.classes.real

    @cached_property
    def hits(self) -> "Array":
        """Cells that are predicted as what they are, by class, (units, classes)."""
        return self._by_class(self._true, self._true == self._predicted)

    @cached_property
    def true(self) -> "Array":
        """Cells by true class, (units, classes)."""
        return self._by_class(self._true)

    @cached_property
    def predicted(self) -> "Array":
        """Cells by predicted class, (units, classes)."""
        return self._by_class(self._predicted)

    @cached_property
    def ontology_hits(self) -> "Array":
        """`hits`, after predictions below the truth are replaced by it, (units, classes)."""
        return self._by_class(self._true, self.classes.reachability[self._true, self._predicted])

    @cached_property
    def ontology_predicted(self) -> "Array":
        """`predicted`, after predictions below the truth are replaced by it, (units, classes)."""
        return self._by_class(self.classes.corrected(self._true, self._predicted))

    @cached_property
    def node_hits(self) -> "Array":
        """Cells whose true and predicted class both have a node, (units, nodes)."""
        nodes = self.classes.nodes
        hits = np.zeros((len(self.units), nodes.shape[1]))
        for node in range(nodes.shape[1]):
            both = nodes[self._true, node] * nodes[self._predicted, node]
            hits[:, node] = summed(self._unit, self._cells * both, len(self.units))
        return hits

    def pairs(self, amounts: "Array") -> "Array":
        """Sums over cells of amounts that true and predicted class give, (classes, classes, k) -> (units, k)."""
        columns = [self._cells * amounts[self._true, self._predicted, i] for i in range(amounts.shape[2])]
        return np.column_stack([summed(self._unit, weights, len(self.units)) for weights in columns])

    def side_by_side(self, names: Sequence[str]) -> "Array":
        """Some tables side by side, (units, tables x classes)."""
        return np.hstack([getattr(self, name) for name in names])


Measure = Callable[[UnitCounts], "Array"]
# tables that a metric needs together are summed together: the weights are much larger than the tables
_TOGETHER = (("hits", "true", "predicted"), ("ontology_hits", "ontology_predicted"), ("node_hits",))
_MEASURES: dict[tuple[str, ...], Measure] = {names: methodcaller("side_by_side", names) for names in _TOGETHER}


class Counts:
    """Sums of `UnitCounts` over units: what a metric `from_counts` is a function of.

    The last axis is that of classes or nodes; an axis before it, if any, is that of replicates.

    Parameters
    ----------
    total
        Sums a table of `UnitCounts` over its units.
    units
        What is summed.
    members
        (classes,) over which classes averages are taken; None for those of `units`.
    """

    def __init__(
        self,
        total: "Callable[[Measure], Array]",
        units: UnitCounts,
        members: "Mask | None" = None,
        known: "dict[str, Array] | None" = None,
    ) -> None:
        self._total, self._units, self.classes = total, units, units.classes
        self._known = {} if known is None else known
        self.members = units.members if members is None else members

    def over(self, members: "Mask") -> "Counts":
        """The same counts, with averages over other classes."""
        return Counts(self._total, self._units, members, self._known)

    def _of(self, name: str) -> "Array":
        if name not in self._known:
            together = next(names for names in _TOGETHER if name in names)
            tables = np.split(self._total(_MEASURES[together]), len(together), axis=-1)
            self._known.update(zip(together, tables, strict=True))
        return self._known[name]

    @property
    def hits(self) -> "Array":
        """Cells that are predicted as what they are, by class, (..., classes)."""
        return self._of("hits")

    @property
    def true(self) -> "Array":
        """Cells by true class, (..., classes)."""
        return self._of("true")

    @property
    def predicted(self) -> "Array":
        """Cells by predicted class, (..., classes)."""
        return self._of("predicted")

    @property
    def ontology_hits(self) -> "Array":
        """`hits`, after predictions below the truth are replaced by it, (..., classes)."""
        return self._of("ontology_hits")

    @property
    def ontology_predicted(self) -> "Array":
        """`predicted`, after predictions below the truth are replaced by it, (..., classes)."""
        return self._of("ontology_predicted")

    @property
    def node_hits(self) -> "Array":
        """Cells whose true and predicted class both have a node, (..., nodes)."""
        return self._of("node_hits")

    @property
    def node_true(self) -> "Array":
        """Cells whose true class has a node, (..., nodes)."""
        return self.true @ self.classes.nodes

    @property
    def node_predicted(self) -> "Array":
        """Cells whose predicted class has a node, (..., nodes)."""
        return self.predicted @ self.classes.nodes

    @property
    def n(self) -> "Array":
        """All cells, (...,)."""
        return self.true.sum(axis=-1)

    def pairs(self, amounts: "Array") -> "Array":
        """Sums over cells of amounts that true and predicted class give, (classes, classes, k) -> (..., k)."""
        return self._total(lambda units: units.pairs(amounts))
