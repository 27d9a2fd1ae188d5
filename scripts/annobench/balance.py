"""Balancing: which of the training cells are used."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from annobench.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import NDArray


def select_cells(
    labels: "NDArray[Any]", sources: "NDArray[Any]", policy: Mapping[str, Any], seed: int
) -> "NDArray[np.intp]":
    """Sorted positions of the cells to train on.

    `labels` and `sources` (the study) hold one value per training cell. Policy `none` keeps all; `cap` keeps at most
    max_cells per class, shared over the sources in proportion to what they have, and leaves out classes with fewer
    than min_cells. Raises DataError where nothing is left.
    """
    if policy["policy"] == "none":
        return np.arange(len(labels))
    rng = np.random.default_rng(seed)
    chosen = []
    for label_id in np.unique(labels.astype(str)):
        cells = np.flatnonzero(labels == label_id)
        if len(cells) < policy["min_cells"]:
            continue
        names, sizes = np.unique(sources[cells].astype(str), return_counts=True)
        for name, count in zip(names, share_out(min(policy["max_cells"], len(cells)), sizes), strict=True):
            chosen.append(rng.permutation(cells[sources[cells] == name])[:count])
    if not chosen:
        raise DataError(
            f"balance.min_cells: no class has {policy['min_cells']} training cells (the largest has "
            f"{np.unique(labels.astype(str), return_counts=True)[1].max(initial=0)}); lower it"
        )
    return np.sort(np.concatenate(chosen))


def share_out(total: int, sizes: "NDArray[np.intp]") -> "NDArray[np.intp]":
    """Whole numbers in proportion to `sizes` that add up to exactly `total` (largest remainder), none above its size.

    `total` is at most the sum of `sizes`.
    """
    quota = sizes * (total / sizes.sum())
    share = np.floor(quota).astype(int)
    share[np.argsort(share - quota, kind="stable")[: total - share.sum()]] += 1
    return share
