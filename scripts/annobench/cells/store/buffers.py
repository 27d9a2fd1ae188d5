"""Memory that is reused, because asking the system for fresh pages costs more than decoding into them."""

import sys
from math import prod
from threading import Lock
from typing import TYPE_CHECKING, TypeVar, cast

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

T = TypeVar("T", bound=np.generic)
_KEPT = 4  # blocks of memory of one type


class Buffers:
    """Gives arrays whose memory is reused once nothing refers to them or to a view of them."""

    def __init__(self) -> None:
        self._blocks: dict[str, list[NDArray[np.generic]]] = {}
        self._lock = Lock()

    def take(self, shape: int | tuple[int, ...], dtype: type[T]) -> "NDArray[T]":
        """An array with arbitrary content."""
        n = prod(shape) if isinstance(shape, tuple) else int(shape)
        with self._lock:
            return cast("NDArray[T]", self._take(n, dtype)[:n].reshape(shape))

    def _take(self, n: int, dtype: type[np.generic]) -> "NDArray[np.generic]":
        """A block of at least n values that nothing refers to."""
        blocks = self._blocks.setdefault(np.dtype(dtype).str, [])
        for i in range(len(blocks)):
            # two: the list, and the argument of getrefcount; every live view adds one
            if sys.getrefcount(blocks[i]) == 2:
                if len(blocks[i]) < n:
                    blocks[i] = np.empty(n + n // 16, dtype=dtype)
                return blocks[i]
        block = np.empty(n + n // 16, dtype=dtype)
        if len(blocks) < _KEPT:
            blocks.append(block)
        return block
