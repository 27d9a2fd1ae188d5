"""What a metric of one fit can be resampled from: counts by class, sums over cells, or its value alone.

All three give totals from which the metric is computed: as observed, under weights of the units, and with two methods
swapped on some units.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from annobench.score.counts import Counts, UnitCounts, sums_where
from annobench.score.metric import Metric

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]
    Totals = Counts | Mapping[str, Array] | Array


@dataclass(frozen=True)
class UnitSums:
    """Sums over the cells of every unit of one fit, for one metric.

    Parameters
    ----------
    units
        Names of what a bootstrap resamples.
    parts
        Part -> (units,), as `Family.unit_sums` gives them.
    """

    units: list[str]
    parts: "Mapping[str, Array]"

    def observed(self) -> "Mapping[str, Array]":
        """Sums over all units, part -> ()."""
        return {part: np.asarray(values.sum()) for part, values in self.parts.items()}

    def weighted(self, weights: "Array") -> "Mapping[str, Array]":
        """Sums under weights of the units, (replicates, units): part -> (replicates,)."""
        return {part: weights @ values for part, values in self.parts.items()}

    def swapped(
        self, other: "UnitSums", units: "NDArray[np.intp]", swaps: "NDArray[np.bool_]"
    ) -> "tuple[Mapping[str, Array], Mapping[str, Array]]":
        """Sums of two methods that are swapped on some units, where `swaps` says, (replicates, units)."""
        moved = {part: sums_where(swaps, (other.parts[part] - values)[units]) for part, values in self.parts.items()}
        return (
            {part: values.sum() + moved[part] for part, values in self.parts.items()},
            {part: values.sum() - moved[part] for part, values in other.parts.items()},
        )

    def matches(self, other: "UnitSums") -> bool:
        """Whether two fits are summed over the same units."""
        return self.units == other.units and set(self.parts) == set(other.parts)

    def differing(self, other: "UnitSums") -> "NDArray[np.intp]":
        """Units whose sums differ."""
        changes = [values != other.parts[part] for part, values in self.parts.items()]
        return np.flatnonzero(np.any(changes, axis=0))


@dataclass(frozen=True)
class FitValue:
    """The value of a metric of one fit, which is itself the unit.

    Parameters
    ----------
    unit
        Name of the fit.
    value
        Value of the metric.
    """

    unit: str
    value: float

    @property
    def units(self) -> list[str]:
        """The fit."""
        return [self.unit]

    def observed(self) -> "Array":
        """The value, ()."""
        return np.asarray(self.value)

    def weighted(self, weights: "Array") -> "Array":
        """The value, (replicates,)."""
        return np.full(len(weights), self.value)

    def swapped(
        self, other: "FitValue", units: "NDArray[np.intp]", swaps: "NDArray[np.bool_]"
    ) -> "tuple[Array, Array]":
        """Values of two methods that are swapped or not, as `swaps` says, (replicates, 1)."""
        moved = np.where(swaps[:, 0], other.value - self.value, 0.0)
        return self.value + moved, other.value - moved

    def matches(self, other: "FitValue") -> bool:
        """Whether both are the same fit of two methods."""
        return self.unit == other.unit

    def differing(self, other: "FitValue") -> "NDArray[np.intp]":
        """The fit, where the values differ."""
        return np.flatnonzero([self.value != other.value])


Sample = UnitCounts | UnitSums | FitValue


def evaluate(metric: Metric, totals: "Totals") -> "Array":
    """A metric from totals. Raises ValueError where it cannot be computed from them."""
    if isinstance(totals, Counts):
        if metric.from_counts:
            return metric.from_counts(totals)
    elif isinstance(totals, Mapping):
        if metric.from_sums:
            return metric.from_sums(totals)
    else:
        return totals
    raise ValueError(f"{metric.name} cannot be computed from {type(totals).__name__}")
