"""Balancing: which of the training cells are used."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from annobench.errors import DataError
from annobench.rounding import largest_remainder

if TYPE_CHECKING:
    from numpy.typing import NDArray

Share = Callable[[int, "NDArray[np.intp]", int], "NDArray[np.intp]"]


def select_cells(
    labels: "NDArray[Any]", sources: "NDArray[Any]", policy: Mapping[str, Any], seed: int
) -> "NDArray[np.intp]":
    """Sorted positions of the cells to train on.

    `labels` and `sources` (the study) hold one value per training cell. Policy `none` keeps all. `cap` keeps exactly
    max_cells of every class that has more, shared over its sources as `share` says, with min_per_source of every source
    that has them as far as the cap allows; classes with fewer than min_cells are left out. Raises DataError where
    nothing is left.
    """
    if policy["policy"] == "none":
        return np.arange(len(labels))
    (names, label), (origins, source) = _codes(labels), _codes(sources)
    group = label * len(origins) + source
    sizes = np.bincount(group, minlength=len(names) * len(origins)).reshape(len(names), len(origins))
    totals = sizes.sum(axis=1)
    if not (totals >= policy["min_cells"]).any():
        raise DataError(
            f"balance.min_cells: no class has {policy['min_cells']} training cells (the largest has "
            f"{totals.max(initial=0)}); lower it"
        )
    take = np.zeros_like(sizes)
    for row in np.flatnonzero(totals >= policy["min_cells"]):
        here = np.flatnonzero(sizes[row])
        total = min(policy["max_cells"], int(totals[row]))
        take[row, here] = SHARES[policy["share"]](total, sizes[row, here], policy["min_per_source"])
    shuffled = np.random.default_rng(seed).permutation(len(labels))
    ordered = shuffled[np.argsort(group[shuffled], kind="stable")]  # by group, in random order within it
    starts = np.concatenate([[0], np.cumsum(sizes.ravel())[:-1]])
    place = np.arange(len(labels)) - starts[group[ordered]]
    return np.sort(ordered[place < take.ravel()[group[ordered]]])


def _codes(values: "NDArray[Any]") -> tuple[list[str], "NDArray[np.intp]"]:
    """Sorted names, and the number of every value; a dictionary is much faster than sorting texts."""
    seen: dict[Any, int] = {}
    found = np.fromiter((seen.setdefault(value, len(seen)) for value in values), dtype=np.intp, count=len(values))
    names = sorted(seen, key=str)
    rank = np.empty(len(names), dtype=np.intp)
    rank[[seen[name] for name in names]] = np.arange(len(names))
    return list(map(str, names)), rank[found] if len(names) else found


def share_out(total: int, sizes: "NDArray[np.intp]") -> "NDArray[np.intp]":
    """Whole numbers in proportion to `sizes` that add up to exactly `total` (largest remainder), none above its size.

    `total` is at most the sum of `sizes`.
    """
    if total == 0:
        return np.zeros_like(sizes)
    return largest_remainder(sizes * (total / sizes.sum()), total)


def proportional(total: int, sizes: "NDArray[np.intp]", floor: int) -> "NDArray[np.intp]":
    """In proportion to what each source has; a source below the floor is raised to it at the cost of the others."""
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
    """As much from every source as from any other, or all that it has; no other rule gives the smallest more."""
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
