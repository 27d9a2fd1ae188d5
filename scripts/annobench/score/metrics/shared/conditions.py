"""Metrics that have a value for every tested condition, and whose overall value is their mean."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np

from annobench.core.parquet import Categorical
from annobench.score.evidence import Evidence
from annobench.score.metric import Row
from annobench.score.perturbation.compared import Compared
from annobench.score.units import Units

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]


def rows_of_conditions(family: str, values: "Mapping[str, Array]", compared: Compared) -> Iterator[Row]:
    """The mean of every metric, and its values (conditions,); what is NaN has no row and no part in the mean."""
    cells = np.array([one.cells for one in compared], dtype=int)
    for metric, of_condition in values.items():
        defined = np.flatnonzero(np.isfinite(of_condition))
        if len(defined):
            mean = float(of_condition[defined].mean())
            yield Row(family, metric, "-", "overall", "all", mean, int(cells[defined].sum()))
        for i in defined:
            yield Row(family, metric, "-", "condition", compared.names[i], float(of_condition[i]), int(cells[i]))


def sums_of_conditions(values: "Mapping[str, Array]") -> "dict[str, Mapping[str, Array]]":
    """`sum` and `n` of every condition for every metric; a value that is not defined counts in neither."""
    return {
        metric: {"sum": np.nan_to_num(of_condition), "n": np.isfinite(of_condition).astype(float)}
        for metric, of_condition in values.items()
        if np.isfinite(of_condition).any()
    }


def values_of_sums(sums: "Mapping[str, Mapping[str, Array]]") -> "dict[str, Array]":
    """What `sums_of_conditions` was made of: metric -> (conditions,)."""
    return {metric: np.where(parts["n"] > 0, parts["sum"], np.nan) for metric, parts in sums.items()}


def units_of_conditions(evidence: Evidence) -> Units:
    """One unit for every tested condition, in their order."""
    return Units("condition", Categorical.of(evidence.perturbations.names))
