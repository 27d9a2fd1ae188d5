"""What a fit predicts beside what was measured: the tested conditions and the control cells."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from annobench.score.perturbation.measures import standardised

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]
    Genes = NDArray[np.intp]


@dataclass(frozen=True)
class Condition:
    """One tested condition.

    Parameters
    ----------
    name
        The condition.
    truth, predicted
        (cells, genes) log-normalised expression, measured and predicted; the numbers of cells may differ.
    targets
        Positions of the perturbed genes; empty where no gene of the data has the name of the condition.
    control
        (cells, genes) the control cells that the perturbed cells are paired with; None for all control cells.
    """

    name: str
    truth: "Array"
    predicted: "Array"
    targets: "Genes"
    control: "Array | None" = None

    @property
    def cells(self) -> int:
        """Number of measured cells."""
        return len(self.truth)


@dataclass(frozen=True)
class Compared:
    """The tested conditions of one fit.

    Parameters
    ----------
    genes
        (genes,) names.
    control
        (cells, genes) log-normalised expression of the control cells.
    conditions
        The tested conditions, sorted by name.
    """

    genes: "NDArray[np.object_]"
    control: "Array"
    conditions: Sequence[Condition]

    @property
    def names(self) -> list[str]:
        """Names of the conditions."""
        return [one.name for one in self.conditions]

    @property
    def cells(self) -> int:
        """Number of tested cells."""
        return sum(one.cells for one in self.conditions)

    @cached_property
    def control_mean(self) -> "Array":
        """Mean of the control cells, (genes,)."""
        return _mean(self.control)

    @cached_property
    def truth(self) -> "Array":
        """Means of the measured cells, (conditions, genes)."""
        return np.array([_mean(one.truth) for one in self.conditions])

    @cached_property
    def predicted(self) -> "Array":
        """Means of the predicted cells, (conditions, genes)."""
        return np.array([_mean(one.predicted) for one in self.conditions])

    @cached_property
    def effects(self) -> "tuple[Array, Array]":
        """True and predicted differences of means from the control cells, (conditions, genes) each.

        Differences that single precision may make of nothing are 0.
        """
        true, predicted = (means - self.control_mean for means in (self.truth, self.predicted))
        return np.where(np.abs(true) < NOTHING, 0, true), np.where(np.abs(predicted) < NOTHING, 0, predicted)

    @cached_property
    def strengths(self) -> "tuple[Array, Array]":
        """True and predicted effects in units of the spread of measured cells, (conditions, genes) each.

        The same spread for both, so that a prediction of means can be compared with one of cells.
        """
        true, predicted, of_control = [], [], self.control.var(axis=0, dtype=np.float64)
        for i, one in enumerate(self.conditions):
            variances = (of_control, one.truth.var(axis=0, dtype=np.float64))
            true.append(standardised(self.effects[0][i], *variances))
            predicted.append(standardised(self.effects[1][i], *variances))
        return np.array(true), np.array(predicted)

    @cached_property
    def axes(self) -> "tuple[Array, Array]":
        """Centre and principal axes (genes, dimensions) of (a sample of) the measured cells, for distances."""
        from sklearn.decomposition import PCA

        cells = np.vstack([self.control, *(one.truth for one in self.conditions)])
        if len(cells) > SAMPLED:
            cells = cells[np.random.default_rng(0).choice(len(cells), SAMPLED, replace=False)]
        cells = cells.astype(np.float64)
        most = min(DIMENSIONS, min(cells.shape) - 1)
        pca = PCA(most, svd_solver="arpack", random_state=0).fit(cells)
        return pca.mean_, pca.components_.T

    def placed(self, cells: "Array") -> "Array":
        """Cells on the principal axes, (cells, dimensions)."""
        centre, axes = self.axes
        return (cells - centre) @ axes

    def with_predictions(self, predicted: "Mapping[str, Array]") -> "Compared":
        """The same with other predictions: condition -> (cells, genes); conditions that it lacks are left out."""
        kept = [one for one in self.conditions if one.name in predicted]
        changed = [Condition(one.name, one.truth, predicted[one.name], one.targets, one.control) for one in kept]
        return Compared(self.genes, self.control, changed)

    def halved(self, seed: int) -> "tuple[Compared, dict[str, Array]]":
        """The same with a random half of the measured cells of every condition, and the other halves by condition.

        A condition of a single cell cannot be halved and is left out.
        """
        rng = np.random.default_rng([seed, _HALVES])
        kept, others = [], {}
        for one in self.conditions:
            order = rng.permutation(one.cells)
            half = one.cells // 2
            if half:
                truth = one.truth[np.sort(order[half:])]
                others[one.name] = one.truth[np.sort(order[:half])]
                kept.append(Condition(one.name, truth, one.predicted, one.targets))
        return Compared(self.genes, self.control, kept), others

    def __iter__(self) -> Iterator[Condition]:
        return iter(self.conditions)


def _mean(cells: "Array") -> "Array":
    return np.asarray(cells.mean(axis=0, dtype=np.float64))


NOTHING = 1e-5  # of log-normalised expression
DIMENSIONS = 20  # principal axes in which distances between cells are taken,
SAMPLED = 2000  # and the most cells that they are computed from
_HALVES = 7  # random stream


def targets_of(condition: str, separator: str, no_gene: Sequence[str], symbols: "Mapping[str, int]") -> "Genes":
    """Positions of the genes that a condition names; genes that the data lacks are left out."""
    parts = [part.strip() for part in condition.split(separator)] if separator else [condition]
    return np.array([symbols[part] for part in parts if part in symbols and part not in no_gene], dtype=np.intp)
