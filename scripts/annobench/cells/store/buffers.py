"""Memory that is used again, because asking the system for fresh pages costs more than decoding into them."""

import sys
from math import prod
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_KEPT = 4  # blocks of memory of one type


class Buffers:
    """Gives arrays whose memory is taken back once nothing refers to them or to a view of them."""

    def __init__(self) -> None:
        self._blocks: dict[str, list[NDArray[Any]]] = {}
        self._lock = Lock()

    def take(self, shape: int | tuple[int, ...], dtype: Any) -> "NDArray[Any]":
        """An array with arbitrary content."""
        n = prod(shape) if isinstance(shape, tuple) else int(shape)
        with self._lock:
            return self._take(n, np.dtype(dtype))[:n].reshape(shape)

    def _take(self, n: int, dtype: np.dtype[Any]) -> "NDArray[Any]":
        """A block of at least n values that nothing refers to."""
        blocks = self._blocks.setdefault(dtype.str, [])
        for i in range(len(blocks)):
            # two: the list, and the argument of getrefcount; every view that is alive adds one
            if sys.getrefcount(blocks[i]) == 2:
                if len(blocks[i]) < n:
                    blocks[i] = np.empty(n + n // 16, dtype=dtype)
                return blocks[i]
        block = np.empty(n + n // 16, dtype=dtype)
        if len(blocks) < _KEPT:
            blocks.append(block)
        return block
