"""Duplicates among any number of cell ids."""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

PASS = 32 * 2**20  # hashes that are compared at a time


def hashed(ids: "ArrayLike") -> "NDArray[np.uint64]":
    """A hash of every id, (n,)."""
    import pandas as pd

    return pd.util.hash_array(np.asarray(ids, dtype=object), categorize=False)


def repeated(blocks: "Callable[[], Iterable[ArrayLike]]", cells: int) -> "NDArray[np.uint64]":
    """Hashes that occur twice among the ids of some cells; different ids may share one, equal ids always do.

    Parameters
    ----------
    blocks
        Gives all ids, as often as it is called: in as many passes as memory requires.
    cells
        Number of cells.
    """
    twice = []
    passes = cells // PASS + 1
    for part in range(passes):
        hashes = np.sort(np.concatenate([h[h % passes == part] for h in map(hashed, blocks())]))
        twice.append(np.unique(hashes[1:][hashes[1:] == hashes[:-1]]))
    return np.concatenate(twice)
