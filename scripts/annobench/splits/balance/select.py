"""Balancing: selects the training cells that are used."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from annobench.config.split import BalanceSettings
from annobench.core.errors import DataError
from annobench.core.parquet import Categorical
from annobench.splits.balance.exact import SHARES, equal, fill, proportional, share_out
from annobench.splits.balance.proportions import named_shares, totals_with_shares
from annobench.splits.balance.spatialcore import source_targets, target_totals
from annobench.splits.spec import BalanceSpec

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Column = Categorical | NDArray[np.object_]

__all__ = ["SHARES", "equal", "fill", "names_of", "proportional", "select_cells", "share_out"]


def select_cells(
    labels: "Column", sources: "Column", spec: BalanceSpec, *, names: Mapping[str, str] | None = None
) -> "NDArray[np.intp]":
    """Select the cells to train on.

    Policy `none` keeps all cells. `cap` keeps exactly `max_cells` of every class that has more, shared over its sources
    as `share` says, with `min_per_source` cells of every source that has them as far as the cap allows; classes with
    fewer than `min_cells` are left out; `target_proportions` set the shares of some classes (see
    annobench.splits.balance.proportions). `spatialcore` is the published rule, which is not exact (see
    annobench.splits.balance.spatialcore).

    Parameters
    ----------
    labels, sources
        (cells,) Label id and study of every training cell.
    spec
        The policy and the seed.
    names
        Id -> name of every label of the whole dataset; keys of `target_proportions` may be names.

    Returns
    -------
    Sorted positions of the selected cells; without cells, none.

    Raises
    ------
    DataError
        Nothing would be left, or a share cannot be understood.
    """
    policy = spec.settings
    if policy.policy == "none":
        return np.arange(len(labels))
    (classes, label), (origins, source) = _codes(labels), _codes(sources)
    group = label.astype(np.intp) * len(origins) + source
    sizes = np.bincount(group, minlength=len(classes) * len(origins)).reshape(len(classes), len(origins))
    totals = sizes.sum(axis=1)
    if not (totals >= policy.min_cells).any():
        raise DataError(
            f"balance.min_cells: no class has {policy.min_cells} training cells (the largest has "
            f"{totals.max(initial=0)}); lower it"
        )
    shares = named_shares(policy.target_proportions, classes, names or {})
    if policy.policy == "spatialcore":
        take = _published(sizes, _first_seen(group, sizes.shape), shares, policy)
    else:
        take = _exact(sizes, shares, policy)
    shuffled = np.random.default_rng(spec.seed).permutation(len(labels))
    ordered = shuffled[np.argsort(group[shuffled], kind="stable")]  # by group, in random order within it
    starts = np.concatenate([[0], np.cumsum(sizes.ravel())[:-1]])
    place = np.arange(len(labels)) - starts[group[ordered]]
    return np.sort(ordered[place < take.ravel()[group[ordered]]])


def _exact(sizes: "NDArray[np.intp]", shares: Mapping[int, float], policy: BalanceSettings) -> "NDArray[np.intp]":
    """Cells to take of every class (rows) from every source (columns), by policy `cap`."""
    totals = sizes.sum(axis=1)
    targets = np.where(totals >= policy.min_cells, np.minimum(totals, policy.max_cells), 0)
    if shares:
        targets = totals_with_shares(targets, shares, policy.min_cells)
    take = np.zeros_like(sizes)
    for row in np.flatnonzero(targets):
        here = np.flatnonzero(sizes[row])
        take[row, here] = SHARES[policy.share](int(targets[row]), sizes[row, here], policy.min_per_source)
    return take


def _published(
    sizes: "NDArray[np.intp]", first: "NDArray[np.intp]", shares: Mapping[int, float], policy: BalanceSettings
) -> "NDArray[np.intp]":
    """The same by policy `spatialcore`; `first` is the position of the first cell of each class in each source."""
    targets = target_totals(sizes.sum(axis=1), policy.max_cells, policy.min_cells, shares)
    take = np.zeros_like(sizes)
    for row in np.flatnonzero(targets):
        here = np.flatnonzero(sizes[row])
        order = np.argsort(first[row, here])
        take[row, here] = source_targets(
            int(targets[row]), sizes[row, here], order, policy.share, policy.min_per_source
        )
    return take


def _first_seen(group: "NDArray[np.intp]", shape: tuple[int, ...]) -> "NDArray[np.intp]":
    """Position of the first cell of every group."""
    first = np.full(shape[0] * shape[1], len(group))
    first[group[::-1]] = np.arange(len(group))[::-1]  # of several values for one place the last one stays
    return first.reshape(shape)


def names_of(labels: Categorical, names: Categorical) -> dict[str, str]:
    """Id -> name of every label that occurs; `names` holds the name of every cell's label."""
    pairs = np.unique(labels.codes.astype(np.int64) * len(names.names) + names.codes)
    return {labels.names[i]: names.names[j] for i, j in zip(*np.divmod(pairs, len(names.names)), strict=True)}


def _codes(values: "Column") -> tuple[list[str], "NDArray[np.int32]"]:
    """Sorted values that occur, and for every row the number of its value."""
    column = values if isinstance(values, Categorical) else Categorical.of(values)
    names = list(column.counts())
    return names, column.recode(names)
