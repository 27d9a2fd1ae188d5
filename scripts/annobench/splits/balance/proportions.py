"""Shares of some classes in the whole training selection, met exactly.

A class that is not listed keeps what the cap gives it. With F cells of those, and shares p of the listed classes, the
total T solves T = F + sum of clip(p T, low, high): `high` is the smaller of the cap and of what the class has, `low`
is min_cells. The right side grows more slowly than the left, so there is one T. What follows from it:

- where no bound is touched every listed class has its share of the final total, to less than one cell;
- a class that has too few cells gives all that the cap allows, and is below its share; the others have theirs of the
  total that can be reached;
- a class whose share would be fewer than min_cells keeps min_cells, and is above its share;
- where every class is listed nothing fixes the size; the shares count relative to each other, and T is the largest
  for which all of them hold: the scarcest class decides.
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
    """Shares by position in `classes`; the keys of `given` are ids, or names as `names` (id -> name) has them.

    A class of the dataset without training cells drops out. Raises DataError for a key that is neither, and for two
    keys of one class.
    """
    names = {identifier: name for identifier, name in names.items() if identifier != UNKNOWN}  # never trained on
    ids: dict[str, set[str]] = {}
    for identifier, name in names.items():
        ids.setdefault(name, set()).add(identifier)
    position = {name: i for i, name in enumerate(classes)}
    found: dict[str, str] = {}
    for key in given:
        if key in names or key in position:
            identifier = key
        elif len(ids.get(key, ())) == 1:
            identifier = next(iter(ids[key]))
        else:
            what = "stands for several classes" if key in ids else "is no class of the dataset"
            raise DataError(f"balance.target_proportions: '{key}' {what}{nearest(key, {*names, *ids, *classes})}")
        if identifier in found:
            raise DataError(
                f"balance.target_proportions: '{found[identifier]}' and '{key}' are one class; remove one of them"
            )
        found[identifier] = key
    return {position[identifier]: given[key] for identifier, key in found.items() if identifier in position}


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
    found = targets.copy()
    for i, (least, most) in bounds.items():
        found[i] = least if listed[i] * total <= least else most
    free = [i for i, p in listed.items() if bounds[i][0] < p * total < bounds[i][1]]
    fixed = int(found.sum()) - sum(int(found[i]) for i in free)
    # the largest whole total: its quotas are below the exact ones, so rounding them up stays within the bounds
    whole_total = floor(total + Fraction(1, 10**6))  # shares such as 1/3 are not written out to the end
    quotas = {i: listed[i] * whole_total for i in free}
    for i in free:
        found[i] = min(max(bounds[i][0], floor(quotas[i])), bounds[i][1])
    missing = whole_total - fixed - sum(int(found[i]) for i in free)
    open_ = [i for i in free if found[i] < bounds[i][1]]
    for i in sorted(open_, key=lambda i: (Fraction(int(found[i])) - quotas[i], i))[:missing]:
        found[i] += 1
    return found


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
