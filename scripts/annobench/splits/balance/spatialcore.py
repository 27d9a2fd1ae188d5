"""The balancing of SpatialCore 0.5.4 ("Cap & Fill", `subsample_balanced`), which is not exact.

It is kept for comparison, with the arithmetic of the original, floats included; only the draw of cells follows our own
seeds. The original rounds up for every source and applies a floor per source, and takes neither back, so that a class
may exceed its cap. Filling up is not a strategy of its own: it follows `proportional` and `equal` where sources have
too few cells.
Source: github.com/mcap91/SpatialCore, spatialcore/annotation/training.py (Apache-2.0); written anew.
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
    """Target number of cells of every class; 0 for a class with fewer than `low`.

    A listed class (`shares`, by position) gets int(share * T), at least `low` and at most its size, whatever the cap. T
    starts at F / (1 - sum of shares) for F cells of the other classes, and is counted again until it no longer changes.
    Raises DataError where the original gives up.
    """
    cells = np.where(totals >= low, np.where(totals <= low, totals, np.minimum(cap, totals)), 0)
    kept = {i: p for i, p in shares.items() if totals[i] >= low}
    whole = sum(kept.values())
    if kept and whole >= 1 - _EPSILON and len(kept) < (totals >= low).sum():
        raise DataError(
            f"balance.target_proportions: the shares add up to {whole:g}, which leaves no room for the classes that "
            "are not listed; list all, or lower the shares"
        )
    variable = {i: p for i, p in kept.items() if totals[i] > low}
    if not variable:
        return cells
    whole = sum(variable.values())
    fixed = int(cells.sum()) - sum(int(cells[i]) for i in variable)
    if whole >= 1 - _EPSILON and fixed:
        raise DataError("balance.target_proportions: the shares leave no room for the other classes; lower them")
    total = max(round(fixed / (1 - whole)), fixed) if 1 - whole > _EPSILON else fixed
    for _ in range(_ROUNDS):
        for i, share in variable.items():
            cells[i] = min(max(low, int(share * total)), int(totals[i]))
        before, total = total, int(cells.sum())
        if total == before:
            return cells
    raise DataError(
        f"balance.target_proportions: policy spatialcore finds no total within {_ROUNDS} rounds, as the original; "
        "lower the shares, or use policy cap, which solves them exactly"
    )


def source_targets(
    total: int, sizes: "NDArray[np.intp]", order: "NDArray[np.intp]", share: str, floor: int
) -> "NDArray[np.intp]":
    """Cells of one class to take from every source that has it; `sizes` are sorted by the name of the source.

    `order` lists the sources as they appear in the data; missing cells are taken in that order. The sum may exceed
    `total`.
    """
    if total >= sizes.sum():
        return sizes.copy()
    if share == "proportional":
        take = np.ceil(total * (sizes / sizes.sum())).astype(int)
        take = np.where(sizes >= floor, np.maximum(take, floor), take)
    else:
        take = np.full(len(sizes), total // len(sizes))
        take[: total % len(sizes)] += 1
    take = np.minimum(take, sizes)
    missing = total - int(take.sum())
    for source in order:
        more = min(int(sizes[source] - take[source]), max(missing, 0))
        take[source] += more
        missing -= more
    return take
