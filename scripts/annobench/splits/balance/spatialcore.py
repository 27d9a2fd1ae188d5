"""How SpatialCore 0.5.4 balances ("Cap & Fill", `subsample_balanced`), with what is not exact about it.

Kept for comparison, in the arithmetic of the original, floats included; only which cells are drawn follows our own
seeds. Rounding up for every source, and the floor per source, are never taken back: a class may exceed its cap. Filling
up is no strategy of its own, but what follows `proportional` and `equal` where sources have too few cells.
Source: github.com/mcap91/SpatialCore, spatialcore/annotation/training.py (Apache-2.0); own words.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from annobench.core.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import NDArray

_ROUNDS = 50
_EPSILON = 1e-6


def target_totals(totals: "NDArray[np.intp]", cap: int, low: int, shares: Mapping[int, float]) -> "NDArray[np.intp]":
    """Cells that every class is meant to have; 0 for a class with fewer than `low`.

    A listed class (`shares`, by position) gets int(share * T), at least `low`, at most what it has, whatever the cap; T
    starts at F / (1 - sum of shares) for F cells of the other classes and is counted anew until it stays. Raises
    DataError where the original gives up.
    """
    found = np.where(totals >= low, np.where(totals <= low, totals, np.minimum(cap, totals)), 0)
    kept = {i: p for i, p in shares.items() if totals[i] >= low}
    whole = sum(kept.values())
    if kept and whole >= 1 - _EPSILON and len(kept) < (totals >= low).sum():
        raise DataError(
            f"balance.target_proportions: the shares add up to {whole:g}, which leaves no room for the classes that "
            "are not listed; list all, or lower the shares"
        )
    variable = {i: p for i, p in kept.items() if totals[i] > low}
    if not variable:
        return found
    whole = sum(variable.values())
    fixed = int(found.sum()) - sum(int(found[i]) for i in variable)
    if whole >= 1 - _EPSILON and fixed:
        raise DataError("balance.target_proportions: the shares leave no room for the other classes; lower them")
    total = max(round(fixed / (1 - whole)), fixed) if 1 - whole > _EPSILON else fixed
    for _ in range(_ROUNDS):
        for i, share in variable.items():
            found[i] = min(max(low, int(share * total)), int(totals[i]))
        before, total = total, int(found.sum())
        if total == before:
            return found
    raise DataError(
        f"balance.target_proportions: policy spatialcore finds no total within {_ROUNDS} rounds, as the original; "
        "lower the shares, or use policy cap, which solves them exactly"
    )


def source_targets(
    total: int, sizes: "NDArray[np.intp]", order: "NDArray[np.intp]", share: str, floor: int
) -> "NDArray[np.intp]":
    """Cells of one class to take from every source that has it; `sizes` are sorted by the name of the source.

    `order` holds the sources as they appear in the data: in that order what is still missing is filled up. The sum may
    exceed `total`.
    """
    if total >= sizes.sum():
        return sizes.copy()
    if share == "proportional":
        found = np.ceil(total * (sizes / sizes.sum())).astype(int)
        found = np.where(sizes >= floor, np.maximum(found, floor), found)
    else:
        found = np.full(len(sizes), total // len(sizes))
        found[: total % len(sizes)] += 1
    found = np.minimum(found, sizes)
    missing = total - int(found.sum())
    for source in order:
        more = min(int(sizes[source] - found[source]), max(missing, 0))
        found[source] += more
        missing -= more
    return found
