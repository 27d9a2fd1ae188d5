"""Values of a cell in bins of its own quantiles, as scGPT makes them, with a fixed rule for ties."""

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

TIES = "equal values get the middle one of the bins that they span, rounded down"


def binned(values: "NDArray[np.floating]", bins: int) -> "NDArray[np.int16]":
    """Bins of the non-zero values of one cell.

    The edges are `bins` - 1 quantiles of the values, from the smallest to the largest, interpolated linearly. A value
    between two edges is in the bin that they enclose, and one that equals edges may be in several, of which scGPT draws
    one; here it is the middle one, so that the same cell always gives the same tokens. Only the order of the values
    matters.

    Parameters
    ----------
    values
        (n,) positive numbers.
    bins
        Number of bins, with bin 0, which is that of zeros.

    Returns
    -------
    (n,) int16, 1 to `bins` - 1.
    """
    if len(values) == 0:
        return np.empty(0, dtype=np.int16)
    rising = np.sort(values.astype(np.float64))
    # in whole numbers: an edge that lies at a value is that value, and rounding moves it past none
    below, rest = np.divmod(np.arange(bins - 1) * (len(rising) - 1), bins - 2)
    above = np.minimum(below + 1, len(rising) - 1)
    edges = rising[below] + (rising[above] - rising[below]) * (rest / (bins - 2))
    left, right = np.searchsorted(edges, values, "left"), np.searchsorted(edges, values, "right")
    lowest = np.minimum(left + 1, right)
    return ((lowest + right) // 2).astype(np.int16)
