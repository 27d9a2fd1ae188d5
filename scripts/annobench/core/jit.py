"""Compiled kernels that release the GIL; compiled code is cached on disk for the next process.

numba writes the index of its cache and then the code, without a lock: two processes that compile a kernel for different
types at the same time can leave an index that names the other's code for good. Here writing is locked.
"""

import fcntl
import functools
from collections.abc import Callable
from typing import Any, overload

import numba
from numba.core.caching import IndexDataCacheFile


def _locked(save: Callable[..., None]) -> Callable[..., None]:
    @functools.wraps(save)
    def one_at_a_time(self: IndexDataCacheFile, key: object, data: object) -> None:
        with open(f"{self._index_path}.lock", "a") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            save(self, key, data)

    one_at_a_time.locked = True  # type: ignore[attr-defined]
    return one_at_a_time


if not hasattr(IndexDataCacheFile.save, "locked"):
    IndexDataCacheFile.save = _locked(IndexDataCacheFile.save)  # type: ignore[method-assign]


@overload
def njit(function: Callable[..., object]) -> Any: ...
@overload
def njit(function: None = None, **options: object) -> Callable[[Callable[..., object]], Any]: ...
@overload
def njit(function: object, **options: object) -> Callable[[Callable[..., object]], Any]: ...
def njit(function: object = None, **options: object) -> Any:
    """numba.njit for kernels: on a function, or with a signature or options."""
    given: list[Any] = [] if function is None else [function]
    compiler: Any = numba.njit
    return compiler(*given, nogil=True, cache=True, **options)
