"""All calls of this project's own store and loader."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from . import formats
from .synthetic import CLASSES

THREADS = len(os.sched_getaffinity(0))


def loader(folder: Path, batch: int, dense: bool, memory_mb: float = 800) -> Any:
    """Shuffled batches of the store; see peers.py."""
    opened = open_loader(folder, batch, memory_mb)

    def epoch(seed: int) -> Iterator[tuple[Any, np.ndarray]]:
        for chunk in opened.dense_epoch(seed) if dense else opened.epoch(seed):
            yield chunk.values if dense else chunk.csr(), chunk.codes
            del chunk  # its memory can then be reused for the next batch

    return epoch


def open_loader(folder: Path, batch: int, memory_mb: float = 800) -> Any:
    """The loader of a store, over the labels of its cells."""
    from annobench.cells.store.loader import Loader
    from annobench.cells.store.store import Store

    store = Store.open(formats.path(folder, "store"))
    codes = store.codes("label", [f"class{i:04d}" for i in range(CLASSES)])
    return Loader(store.rows(), codes, batch_size=batch, threads=THREADS, memory_mb=memory_mb)


def write_store(source: Path, target: Path) -> None:
    """Write the store of an h5ad."""
    from annobench.cells.store.h5ad import H5adFile
    from annobench.cells.store.writer import StoreWriter

    with H5adFile(source) as file, StoreWriter(target, _genes(file.var), threads=THREADS) as writer:
        for counts, obs in file.chunks():
            writer.append(counts, obs)
        writer.finish()


class StoreFolder:
    """Writes a store while an atlas is drawn."""

    def __init__(self, path: Path, obs: pd.DataFrame, var: pd.DataFrame) -> None:
        from annobench.cells.store.writer import StoreWriter

        self.obs, self.genes = obs, len(var)
        self.writer = StoreWriter(path, _genes(var), threads=THREADS).__enter__()

    def add(self, chunk: Any) -> None:
        """Append the cells of a chunk."""
        from scipy.sparse import csr_matrix

        obs = self.obs.iloc[chunk.start : chunk.start + len(chunk.indptr) - 1]
        counts = csr_matrix((chunk.counts, chunk.indices, chunk.indptr), (len(obs), self.genes))
        self.writer.append(counts, obs)

    def close(self) -> None:
        """Finish."""
        self.writer.finish()
        self.writer.__exit__(None, None, None)


def _genes(var: pd.DataFrame) -> pd.DataFrame:
    return pd.DataFrame({"feature_id": var.index.astype(str), "feature_name": var["feature_name"].to_numpy()})
