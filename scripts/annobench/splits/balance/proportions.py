"""Shares of some classes in the whole training selection, met exactly.

Classes that are not listed keep what the cap gives them: F cells together. With shares p of the listed classes the
total T solves T = F + sum of clip(p T, low, high), where `high` is the smaller of the cap and the size of the class,
and `low` is min_cells. The right side grows more slowly than the left, so there is one T. It follows that

- every listed class that meets no bound has its share of the final total, to less than one cell;
- a class with too few cells gives all that the cap allows and stays below its share; the others have their share of the
  total that can be reached;
- a class whose share would be fewer than min_cells keeps min_cells, and is above its share;
- where every class is listed, nothing fixes the size: the shares are relative to each other, and T is the largest total
  for which all of them hold, so that the scarcest class decides.
"""

from collections.abc import Mapping, Sequence
from fractions import Fraction
from math import floor
from typing import TYPE_CHECKING

import numpy as np

from annobench.core.errors import DataError, nearest
from annobench.ontology import UNKNOWN

if TYPE_CHECKING:
    from numpy.typing import NDArray


def named_shares(given: Mapping[str, float], classes: Sequence[str], names: Mapping[str, str]) -> dict[int, float]:
    """Shares by position in `classes`; keys of `given` are ids, or names as in `names` (id -> name).

    A class of the dataset without training cells is left out. Raises DataError for a key that is neither id nor name,
    and for two keys of one class.
    """
    names = {identifier: name for identifier, name in names.items() if identifier != UNKNOWN}  # never trained on
    ids: dict[str, set[str]] = {}
    for identifier, name in names.items():
        ids.setdefault(name, set()).add(identifier)
    position = {name: i for i, name in enumerate(classes)}
    keys: dict[str, str] = {}  # by id
    for key in given:
        if key in names or key in position:
            identifier = key
        elif len(ids.get(key, ())) == 1:
            identifier = next(iter(ids[key]))
        else:
            what = "is the name of several classes" if key in ids else "is not a class of the dataset"
            raise DataError(f"balance.target_proportions: '{key}' {what}{nearest(key, {*names, *ids, *classes})}")
        if identifier in keys:
            raise DataError(
                f"balance.target_proportions: '{keys[identifier]}' and '{key}' are one class; remove one of them"
            )
        keys[identifier] = key
    return {position[identifier]: given[key] for identifier, key in keys.items() if identifier in position}


def totals_with_shares(targets: "NDArray[np.intp]", shares: Mapping[int, float], low: int) -> "NDArray[np.intp]":
    """Cells of every class, where `targets` is what the cap allows (0 for a class that is left out).

    `shares` is by position; `low` is min_cells. Raises DataError where the shares leave no room for the other classes.
    """
    listed = {i: Fraction(repr(float(p))) for i, p in shares.items() if targets[i]}
    rest = int(targets.sum()) - sum(int(targets[i]) for i in listed)
    whole = sum(listed.values(), Fraction(0))
    if not listed:
        return targets
    if rest == 0:
        listed = {i: p / whole for i, p in listed.items()}
    elif whole >= 1 - Fraction(1, 10**9):
        raise DataError(
            f"balance.target_proportions: the shares add up to {float(whole):g}, which leaves no room for "
            f"{int((targets > 0).sum()) - len(listed)} classes that are not listed; list all, or lower the shares"
        )
    bounds = {i: (min(low, int(targets[i])), int(targets[i])) for i in listed}
    total = _solve(rest, listed, bounds)
    cells = targets.copy()
    for i, (least, most) in bounds.items():
        cells[i] = least if listed[i] * total <= least else most
    free = [i for i, p in listed.items() if bounds[i][0] < p * total < bounds[i][1]]
    fixed = int(cells.sum()) - sum(int(cells[i]) for i in free)
    # the largest whole total: its quotas are below the exact ones, so rounding them up stays within the bounds
    whole_total = floor(total + Fraction(1, 10**6))  # shares such as 1/3 are not written out to the end
    quotas = {i: listed[i] * whole_total for i in free}
    for i in free:
        cells[i] = min(max(bounds[i][0], floor(quotas[i])), bounds[i][1])
    missing = whole_total - fixed - sum(int(cells[i]) for i in free)
    open_ = [i for i in free if cells[i] < bounds[i][1]]
    for i in sorted(open_, key=lambda i: (Fraction(int(cells[i])) - quotas[i], i))[:missing]:
        cells[i] += 1
    return cells


def _solve(rest: int, shares: Mapping[int, Fraction], bounds: Mapping[int, tuple[int, int]]) -> Fraction:
    """The largest T with T = rest + sum of clip(p T, low, high)."""

    def excess(total: Fraction) -> Fraction:
        return (
            rest
            + sum(min(max(p * total, Fraction(bounds[i][0])), Fraction(bounds[i][1])) for i, p in shares.items())
            - total
        )

    # between two places where a class meets a bound the equation is linear; the excess never grows
    places = sorted({Fraction(0)} | {bound / p for i, p in shares.items() for bound in map(Fraction, bounds[i])})
    left, right = 0, len(places)
    while right - left > 1:
        middle = (left + right) // 2
        left, right = (middle, right) if excess(places[middle]) >= 0 else (left, middle)
    start = places[left]
    inside = {i for i, p in shares.items() if bounds[i][0] <= p * start < bounds[i][1]}
    outside = sum(
        bounds[i][0] if p * start < bounds[i][0] else bounds[i][1] for i, p in shares.items() if i not in inside
    )
    return (rest + Fraction(outside)) / (1 - sum((shares[i] for i in inside), Fraction(0)))
