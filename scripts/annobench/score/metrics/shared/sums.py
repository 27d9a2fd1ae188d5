"""Metrics from sums over cells."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from annobench.core.counts import ratio

if TYPE_CHECKING:
    from numpy.typing import NDArray


def mean_over_cells(sums: "Mapping[str, NDArray[np.float64]]") -> "NDArray[np.float64]":
    """`sum` / `n`."""
    return ratio(sums["sum"], sums["n"])


def total(sums: "Mapping[str, NDArray[np.float64]]") -> "dict[str, NDArray[np.float64]]":
    """The sums over all units, part -> (), from part -> (units,)."""
    return {part: np.asarray(values.sum(axis=0)) for part, values in sums.items()}
