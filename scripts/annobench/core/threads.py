"""Kernels that release the GIL, on several threads.

numba's own threads are not used: its default layer does not allow calls from two Python threads at once, and they would
compete with the threads of PyTorch.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache

# For the environment of a process before it imports PyTorch: how long an idle thread of PyTorch (GNU OpenMP) keeps a
# core busy while it waits for work. By default it is milliseconds, in which our threads cannot use that core: a step of
# training then takes 1.3 to 2 times as long (benchmarks/RESULTS.md).
SPIN = {"GOMP_SPINCOUNT": "10000"}


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, thread_name_prefix="annobench-kernel")


def run(kernel: Callable[..., object], n: int, threads: int, *arguments: object, grain: int = 1) -> None:
    """Call `kernel(start, stop, *arguments)` on contiguous ranges that make up 0..n, and wait for all of them.

    Ranges begin at multiples of `grain`. The calling thread takes the last one. Raises the first error of a range,
    after all have ended.
    """
    units = -(-n // grain)
    parts = max(1, min(threads, units))
    bounds = [min(n, units * i // parts * grain) for i in range(parts + 1)]
    if parts == 1:
        kernel(0, n, *arguments)
        return
    others = [_pool(threads).submit(kernel, bounds[i], bounds[i + 1], *arguments) for i in range(parts - 1)]
    try:
        kernel(bounds[-2], n, *arguments)
    finally:
        errors = [future.exception() for future in others]
    for error in errors:
        if error is not None:
            raise error
