"""One measurement in a process of its own: `python -m benchmarks.atlas.worker '{"task": ..., ...}'` prints JSON."""

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from . import formats, measure


def convert(folder: str, format: str) -> measure.Record:
    """Measure seconds, bytes and memory of converting the h5ad to a format."""
    from . import conversion

    begin = time.perf_counter()
    with measure.Memory() as memory:
        conversion.convert(Path(folder), format)
        written = time.perf_counter() - begin
        os.sync()
    seconds = time.perf_counter() - begin
    size = formats.size(formats.path(Path(folder), format))
    return {"seconds": written, "synced_seconds": seconds, "bytes": size, **_peak(memory)}


def read(path: str, cells: int) -> measure.Record:
    """Measure a sequential read of all bytes of a format."""
    begin = time.perf_counter()
    size = measure.warm(Path(path))
    seconds = time.perf_counter() - begin
    return {"cells_per_second": cells / seconds, "bytes_per_second": size / seconds, "seconds": seconds}


def load(
    *, name: str, folder: str, batch: int, dense: bool, seconds: float, limit: float, cold: bool = False, **options: Any
) -> measure.Record:
    """Measure whole epochs until `seconds` are over, or one that is stopped after `limit` seconds.

    One batch is drawn and checked first, so that imports and compilation are not measured.
    """
    from .peers import FORMATS, LOADERS

    with measure.Memory() as memory:
        begin = time.perf_counter()
        epoch = LOADERS[name](Path(folder), batch, dense, **options)
        first = epoch(0)
        _check(*next(first), batch=batch)
        first.close()
        opened = time.perf_counter() - begin
        if cold:
            measure.cool(formats.path(Path(folder), FORMATS[name]))
        cells, number, cut, begin = 0, 0, False, time.perf_counter()
        while not cut and time.perf_counter() - begin < seconds:
            number += 1
            for _, codes in epoch(number):
                cells += len(codes)
                if cut := time.perf_counter() - begin > limit:
                    break
        spent = time.perf_counter() - begin
    return {"cells_per_second": cells / spent, "cells": cells, "seconds": spent, "opened": opened, **_peak(memory)}


def train(**parameters: Any) -> measure.Record:
    """Measure one epoch of training; see training.py."""
    from .training import epoch

    with measure.Memory() as memory:
        found = epoch(**parameters)
    return {**found, **_peak(memory)}


def make(folder: str, cells: int, formats: list[str]) -> measure.Record:
    """Write a synthetic atlas."""
    from . import writers

    begin = time.perf_counter()
    with measure.Memory() as memory:
        writers.make(cells, Path(folder), formats)
    return {"seconds": time.perf_counter() - begin, **_peak(memory)}


def _check(values: Any, codes: Any, batch: int) -> None:
    """Raise ValueError where a batch is not what every loader must yield."""
    import numpy as np

    if values.shape[0] != batch or len(codes) != batch or values.dtype != np.float32:
        raise ValueError(
            f"batch is {values.shape} {values.dtype} with {len(codes)} codes, expected {batch} float32 rows"
        )
    linear = np.expm1(values) if isinstance(values, np.ndarray) else values.expm1()
    sums = np.asarray(linear.sum(axis=1)).ravel()
    if not np.allclose(sums, 1e4, rtol=1e-3):
        raise ValueError(f"rows sum to {sums.min()} to {sums.max()} before the logarithm, expected 10,000")


def _peak(memory: measure.Memory) -> measure.Record:
    return {"peak_mb": memory.total, "peak_anonymous_mb": memory.anonymous}


TASKS = {"convert": convert, "read": read, "load": load, "train": train, "make": make}


if __name__ == "__main__":
    given = json.loads(sys.argv[1])
    print(json.dumps(TASKS[given.pop("task")](**given)))
