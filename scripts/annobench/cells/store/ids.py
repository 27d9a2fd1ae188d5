"""Cell ids that stand twice among any number of them."""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

PASS = 32 * 2**20  # hashes that are compared at a time


def hashed(ids: Any) -> "NDArray[np.uint64]":
    """64 bits for every id."""
    import pandas as pd

    return pd.util.hash_array(np.asarray(ids, dtype=object), categorize=False)


def repeated(blocks: Callable[[], Iterable[Any]], cells: int) -> "NDArray[np.uint64]":
    """Hashes that stand twice among the ids of `cells` cells; different ids may share one, equal ids always do.

    blocks: gives all ids, as often as it is called: in as many passes as memory asks for.
    """
    found = []
    passes = cells // PASS + 1
    for part in range(passes):
        hashes = np.sort(np.concatenate([h[h % passes == part] for h in map(hashed, blocks())]))
        found.append(np.unique(hashes[1:][hashes[1:] == hashes[:-1]]))
    return np.concatenate(found)
