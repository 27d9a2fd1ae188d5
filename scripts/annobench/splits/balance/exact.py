"""Sharing the cap of a class over its sources, so that the shares add up to exactly the cap."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np

from annobench.splits.rounding import largest_remainder

if TYPE_CHECKING:
    from numpy.typing import NDArray

Share = Callable[[int, "NDArray[np.intp]", int], "NDArray[np.intp]"]


def share_out(total: int, sizes: "NDArray[np.intp]") -> "NDArray[np.intp]":
    """Whole numbers in proportion to `sizes` that add up to exactly `total`, none above its size (largest remainder).

    `total` must not exceed the sum of `sizes`.
    """
    if total == 0:
        return np.zeros_like(sizes)
    return largest_remainder(sizes * (total / sizes.sum()), total)


def proportional(total: int, sizes: "NDArray[np.intp]", floor: int) -> "NDArray[np.intp]":
    """In proportion to the cells of each source; a source below the floor is raised to it, and the others give way."""
    base = np.minimum(sizes, floor)
    if base.sum() >= total:
        return share_out(total, base)
    raised = np.zeros(len(sizes), dtype=bool)
    while True:
        rest = total - int(base[raised].sum())
        low = ~raised & (sizes * (rest / sizes[~raised].sum()) < base)
        if not low.any():
            break
        raised |= low
    share = base.copy()
    share[~raised] = share_out(rest, sizes[~raised])
    return share


def equal(total: int, sizes: "NDArray[np.intp]", floor: int) -> "NDArray[np.intp]":
    """The same number from every source, or all that it has: the smallest share is as large as it can be."""
    share = np.zeros_like(sizes)
    while (left := total - int(share.sum())) > 0:
        open_ = np.flatnonzero(share < sizes)
        each = left // len(open_)
        if each == 0:
            share[open_[:left]] += 1
        else:
            share[open_] = np.minimum(sizes[open_], share[open_] + each)
    return share


def fill(total: int, sizes: "NDArray[np.intp]", floor: int) -> "NDArray[np.intp]":
    """The floor from every source, then all from the largest source, the next, and so on."""
    base = np.minimum(sizes, floor)
    if base.sum() >= total:
        return share_out(total, base)
    share = base.copy()
    for source in np.argsort(-sizes, kind="stable"):
        share[source] += min(sizes[source] - share[source], total - share.sum())
    return share


SHARES: Mapping[str, Share] = {"proportional": proportional, "equal": equal, "fill": fill}
