"""Rounding shares to whole numbers."""

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def largest_remainder(quota: "NDArray[np.floating]", total: int) -> "NDArray[np.intp]":
    """Quotas rounded down, or up where the remainder is largest, so that they add up to exactly `total`."""
    share = np.floor(quota).astype(int)
    share[np.argsort(share - quota, kind="stable")[: total - share.sum()]] += 1
    return share
