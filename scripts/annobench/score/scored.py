"""What most metrics start from: test cells with their true and predicted labels, confidences and probabilities."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, TypeAlias, TypedDict, Unpack

import numpy as np

from annobench.core.parquet import Categorical
from annobench.ontology import UNKNOWN, Ontology
from annobench.score.counts import Classes, Counts, UnitCounts

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Texts: TypeAlias = Categorical | Sequence[str] | NDArray[np.object_]

LABEL_SETS = ("truth", "either", "shared")
_BLOCK = 1 << 22  # values of a matrix that are looked at together


@dataclass(frozen=True)
class Probabilities:
    """Probability of every class for every cell, read a block of cells at a time.

    Parameters
    ----------
    values
        (stored cells, columns) floats, usually float16 and memory-mapped.
    classes
        (c,) names.
    rows
        (n,) stored cell of every cell; None for all stored cells in their order.
    groups
        (columns,) class number of every column, where classes are sums of columns; None where columns are classes.
    """

    values: "NDArray[np.floating]"
    classes: Sequence[str]
    rows: "NDArray[np.intp] | None" = None
    groups: "NDArray[np.integer] | None" = None

    def __len__(self) -> int:
        return len(self.values if self.rows is None else self.rows)

    def blocks(self) -> "Iterator[tuple[slice, NDArray[np.float64]]]":
        """Cells and a copy of their probabilities, (cells, classes)."""
        step = max(1, _BLOCK // max(1, self.values.shape[1]))
        for start in range(0, len(self), step):
            cells = slice(start, start + step)
            values = self._stored(cells).astype(np.float64)
            yield cells, values if self.groups is None else values @ self._sums

    def stored(self) -> "Iterator[tuple[slice, NDArray[np.floating]]]":
        """Cells and their stored values, (cells, columns)."""
        step = max(1, _BLOCK // max(1, self.values.shape[1]))
        for start in range(0, len(self), step):
            cells = slice(start, start + step)
            yield cells, self._stored(cells)

    def column(self, number: int) -> "NDArray[np.float64]":
        """Probability of one class, (n,)."""
        columns = [number] if self.groups is None else np.flatnonzero(self.groups == number).tolist()
        rows = slice(None) if self.rows is None else self.rows
        total = np.zeros(len(self))
        for column in columns:
            total += self.values[rows, column]
        return total

    def matrix(self) -> "NDArray[np.float64]":
        """All probabilities in memory, (n, classes)."""
        return np.vstack([np.empty((0, len(self.classes))), *(values for _, values in self.blocks())])

    def _stored(self, cells: slice) -> "NDArray[np.floating]":
        return self.values[cells] if self.rows is None else self.values[self.rows[cells]]

    @cached_property
    def _sums(self) -> "NDArray[np.float64]":
        assert self.groups is not None
        return np.equal.outer(self.groups, np.arange(len(self.classes))).astype(np.float64)


class _More(TypedDict, total=False):
    """Fields of `Scored` that `Scored.of` takes as they are."""

    confidence: "NDArray[np.floating] | None"
    is_probability: bool
    probabilities: Probabilities | None
    bins: int
    ood: list[str] | None


@dataclass
class Scored:
    """Test cells with a known label, and what a method predicts for them; made by `of`.

    Parameters
    ----------
    names
        (m,) labels, into which codes point: first `classes`, then labels that occur at later ranks only.
    classes
        (c,) true, predicted and training classes, sorted; `unknown` last, where it occurs.
    true_codes
        (n,) true labels.
    label_codes
        (n, k) predicted labels, best first.
    training
        Classes of the training cells.
    ontology
        Relates the labels.
    confidence
        (n,) of the first label; None where the method gives none.
    is_probability
        Whether the confidence is a probability.
    probabilities
        Of all classes; None where the method gives none, or they are not kept.
    groups
        Column -> group of every cell, within which accuracy and macro F1 are computed.
    bins
        Number of confidence bins.
    ood
        Classes of the label set `ood`; None where there is none.
    """

    names: "NDArray[np.object_]"
    classes: "NDArray[np.object_]"
    true_codes: "NDArray[np.int32]"
    label_codes: "NDArray[np.int32]"
    training: list[str]
    ontology: Ontology
    confidence: "NDArray[np.floating] | None" = None
    is_probability: bool = False
    probabilities: Probabilities | None = None
    groups: Mapping[str, Categorical] = field(default_factory=dict)
    bins: int = 15
    ood: list[str] | None = None

    @classmethod
    def of(
        cls,
        truth: "Texts",
        labels: "list[Categorical] | NDArray[np.object_]",
        training: Sequence[str],
        ontology: Ontology,
        groups: "Mapping[str, Texts] | None" = None,
        **more: "Unpack[_More]",
    ) -> "Scored":
        """From texts: truth (n,) and labels (n, k), or Categorical and one Categorical for every rank.

        Classes are the sorted union of true, predicted and training classes, `unknown` last where it occurs.
        """
        true = _categorical(truth)
        ranked = labels if isinstance(labels, list) else [_categorical(column) for column in np.asarray(labels).T]
        used = set(true.counts()) | set(ranked[0].counts()) | set(training)
        classes = sorted(used - {UNKNOWN}) + ([UNKNOWN] if UNKNOWN in used else [])
        names = classes + sorted({name for one in ranked for name in one.names} - used)
        codes = np.empty((len(ranked), len(true)), dtype=np.int32)
        for rank, one in enumerate(ranked):
            codes[rank] = one.recode(names)
        return cls(
            np.array(names, dtype=object),
            np.array(classes, dtype=object),
            true.recode(names),
            codes.T,
            list(training),
            ontology,
            groups={name: _categorical(values) for name, values in (groups or {}).items()},
            **more,
        )

    @property
    def truth(self) -> "NDArray[np.object_]":
        """The true labels, (n,) text."""
        return self.names[self.true_codes]

    @property
    def labels(self) -> "NDArray[np.object_]":
        """The predicted labels, (n, k) text."""
        return self.names[self.label_codes]

    @property
    def predicted_codes(self) -> "NDArray[np.int32]":
        """Class number of every predicted label."""
        return self.label_codes[:, 0]

    @cached_property
    def correct(self) -> "NDArray[np.bool_]":
        """Which cells are predicted exactly."""
        return self.true_codes == self.predicted_codes

    @cached_property
    def confusion(self) -> "NDArray[np.int64]":
        """Number of cells by true and predicted class, (classes, classes)."""
        size = len(self.classes)
        pairs = self.true_codes.astype(np.int64) * size + self.predicted_codes
        return np.bincount(pairs, minlength=size * size).reshape(size, size)

    @property
    def n(self) -> int:
        """Number of scored cells."""
        return len(self.true_codes)

    @property
    def label_sets(self) -> tuple[str, ...]:
        """The label sets that these cells have."""
        return LABEL_SETS if self.ood is None else (*LABEL_SETS, "ood")

    @cached_property
    def counts(self) -> Counts:
        """The cells by true and predicted class, (classes,): what metrics `from_counts` are a function of."""
        true, predicted = np.nonzero(self.confusion)
        classes = Classes(self.classes.tolist(), self.ontology)
        cells = self.confusion[true, predicted]
        return UnitCounts(["all"], np.zeros_like(true), true, predicted, cells=cells, classes=classes).observed()

    def over(self, label_set: str, predicted: "NDArray[np.number] | None" = None) -> Counts:
        """The counts, with averages over the classes of a label set; see `members`."""
        counts = self.counts
        return counts.over(self.members(label_set, counts.true, counts.predicted if predicted is None else predicted))

    def members(
        self, label_set: str, true: "NDArray[np.number]", predicted: "NDArray[np.number]"
    ) -> "NDArray[np.bool_]":
        """Which of `classes` a label set holds, given the counts of true and predicted labels per class (last axis)."""
        known = self.classes != UNKNOWN
        if label_set == "truth":
            return (true > 0) & known
        if label_set == "either":
            return ((true > 0) | (predicted > 0)) & known
        wanted = self.training if label_set == "shared" else self.ood or []
        return (true > 0) & np.isin(self.classes, wanted) & known


def _categorical(values: "Texts") -> Categorical:
    return values if isinstance(values, Categorical) else Categorical.of(np.asarray(values, dtype=object))
