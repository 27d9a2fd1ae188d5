"""Resampling cells, where classes may have few of them.

The bootstrap of `annobench.score.statistics` gives every unit an exponential weight. Where units are cells, that is too
narrow for a class of few cells, whose mean has the units of this class and no others. Here

- the cells of a class share their weight as n - 1 independent cells would (a Dirichlet distribution of shape (n - 2) /
  n), so that the variance within a class of n cells is unbiased;
- every class borrows one cell. In every replicate it is another random cell of the same fit, right where that one is
  right: of two cells that are both right nobody knows that all are. Two right and two wrong cells are added to those
  that can be borrowed (Agresti and Coull 1998), so that a method without errors has an interval too. A wrong borrowed
  cell is predicted as the cells of the fit are.

Which cell is borrowed depends on names only. Two methods borrow the same one, so that their difference stays paired:
without any difference between them its interval is empty.
"""

from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Protocol

import numpy as np

from annobench.score.counts import Counts, Measure, UnitCounts

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

FEW = 30  # cells of a class; of more, the share of the variance that is missing is below 2 / 30
ADDED = 2  # right cells, and as many wrong ones, beside those that can be borrowed
_LEAST_SHAPE = 0.1  # of a class of one cell and the borrowed one, whose shape would be 0
_KEPT = 1 << 28  # bytes of shared weights that are kept


class Draws(Protocol):
    """Random numbers by name."""

    def exponentials(self, names: Sequence[str]) -> "Array":
        """Exponential weights of mean 1, (replicates, names)."""
        ...

    def uniforms(self, names: Sequence[str]) -> "Array":
        """Uniform numbers, (replicates, names)."""
        ...


class ByClass:
    """The cells of one fit, with those of small classes apart.

    Parameters
    ----------
    counts
        The cells: their units are cells, or blocks of cells.

    Attributes
    ----------
    classes
        Positions of the small classes.
    """

    def __init__(self, counts: UnitCounts) -> None:
        self.counts = counts
        of_class = counts.true.sum(axis=0)
        self.classes = np.flatnonzero((of_class > 0) & (of_class <= FEW) & counts.classes.real)
        self.large, self.small, self.unit_of_row, self.class_of_row = counts.apart(self.classes)
        right = counts.hits.sum(axis=1)
        cells = counts.true.sum(axis=1)
        self._ends = np.append(np.cumsum(cells), cells.sum() + 2 * ADDED)
        self._right = np.append(right, ADDED)
        self.chance = float(self._right.sum() / self._ends[-1])
        self.borrowed = self._borrowed()

    def _borrowed(self) -> UnitCounts:
        """One right cell of every small class, then one wrong cell of each, predicted as the cells of the fit are."""
        few, size = len(self.classes), len(self.counts.classes)
        shares = np.tile(self.counts.predicted.sum(axis=0), (few, 1))
        shares[np.arange(few), self.classes] = 0
        total = shares.sum(axis=1, keepdims=True)
        shares = np.divide(shares, total, out=np.zeros_like(shares), where=total > 0)
        table = np.zeros((2 * few, size))
        table[np.arange(few), self.classes] = 1
        table[few:] = shares
        unit, predicted = np.nonzero(table)
        true = np.tile(self.classes, 2)[unit] if few else predicted
        names = [f"{kind} {self.counts.classes.labels[c]}" for kind in ("right", "wrong") for c in self.classes]
        cells = table[unit, predicted]
        return UnitCounts(names, unit, true, predicted, cells=cells, classes=self.counts.classes)

    def right(self, drawn: "Array") -> "Array":
        """Which of the borrowed cells are right, from uniform numbers (replicates, classes)."""
        place = drawn * self._ends[-1]
        unit = np.minimum(np.searchsorted(self._ends, place, side="right"), len(self._ends) - 1)
        start = np.append(0.0, self._ends)[unit]
        return (place - start < self._right[unit]).astype(np.float64)

    def weighted(self, weights: "Array", rows: "Array", borrowed: "Array", right: "Array") -> Counts:
        """Counts under weights of units, of rows of small classes, and of borrowed cells, (replicates, ...) each."""
        of_borrowed = np.hstack([borrowed * right, borrowed * (1 - right)])

        def total(measure: Measure) -> "Array":
            summed = weights @ measure(self.large) if self.large.units else 0.0
            if len(self.classes):
                summed = summed + rows @ measure(self.small) + of_borrowed @ measure(self.borrowed)
            return np.asarray(summed)

        return Counts(total, self.counts)

    def expected(self) -> Counts:
        """The counts with every weight 1, and as many of the borrowed cells right as are on average."""
        few = len(self.classes)
        ones = np.ones((1, few))
        units, rows = np.ones((1, len(self.large.units))), np.ones((1, len(self.small.units)))
        return self.weighted(units, rows, ones, ones * self.chance)


class SharedWeights:
    """Weights of the cells of small classes, which all methods share; kept for the next method."""

    def __init__(self) -> None:
        self._kept: dict[tuple[object, ...], tuple[Array, Array, Array]] = {}

    def of(self, one: ByClass, draws: Draws, dataset: str, split: str) -> "tuple[Array, Array, Array]":
        """Weights of rows and of borrowed cells, and the uniform numbers that choose these.

        Parameters
        ----------
        one
            The cells.
        draws
            Random numbers by name.
        dataset, split
            Start of the names.

        Returns
        -------
        (replicates, rows), (replicates, classes) and (replicates, classes).
        """
        labels = [one.counts.classes.labels[c] for c in one.classes]
        units = [one.counts.units[i] for i in one.unit_of_row]
        key = (dataset, split, *labels, *units, *one.class_of_row.tolist())
        if key not in self._kept:
            exponentials = draws.exponentials([f"unit:{dataset}/{unit}" for unit in units])
            names = [f"borrowed:{dataset}/{split}/{label}" for label in labels]
            of_borrowed = draws.exponentials(names)
            rows, borrowed = np.empty_like(exponentials), np.empty_like(of_borrowed)
            for i, position in enumerate(one.classes):
                mine = np.flatnonzero(one.class_of_row == position)
                both = np.column_stack([exponentials[:, mine], of_borrowed[:, i]])
                shared = shared_weights(both)
                rows[:, mine], borrowed[:, i] = shared[:, :-1], shared[:, -1]
            made = rows, borrowed, draws.uniforms(names)
            while self._kept and sum(a.nbytes for of in (*self._kept.values(), made) for a in of) > _KEPT:
                self._kept.pop(next(iter(self._kept)))
            self._kept[key] = made
        return self._kept[key]


def shared_weights(exponentials: "Array") -> "Array":
    """Weights of the n cells of a class, (replicates, n), of the same sum but spread as those of n - 1 cells.

    A mean under weights of a symmetric Dirichlet distribution of shape a has the variance s**2 / (n a + 1), where s**2
    is the mean squared deviation; the variance of a mean is estimated without bias by s**2 / (n - 1).
    """
    n = exponentials.shape[1]
    given, gamma = _quantiles(max((n - 2) / n, _LEAST_SHAPE))
    spread = np.interp(exponentials, given, gamma)
    return np.asarray(spread / spread.sum(axis=1, keepdims=True) * exponentials.sum(axis=1, keepdims=True))


@cache
def _quantiles(shape: float) -> "tuple[Array, Array]":
    """Exponential values, and the values of a gamma distribution at the same quantiles."""
    from scipy.special import gammaincinv

    given = np.concatenate(
        [np.geomspace(1e-9, 1e-3, 200), np.linspace(1e-3, 12, 2000)[1:], np.linspace(12, 40, 60)[1:]]
    )
    return given, np.asarray(gammaincinv(shape, -np.expm1(-given)))
