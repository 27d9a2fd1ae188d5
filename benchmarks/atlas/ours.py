"""The calls of this project's own store and loader, in one place."""

import os
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from . import formats
from .synthetic import CLASSES, GENES

THREADS = len(os.sched_getaffinity(0))


def loader(folder: Path, batch: int, dense: bool, memory_mb: float = 800) -> Any:
    """Shuffled epochs of the store, as in peers.py."""
    opened = _open(folder, batch, memory_mb)

    def epoch(seed: int) -> Iterator[tuple[Any, np.ndarray]]:
        for found in opened.dense_epoch(seed) if dense else opened.epoch(seed):
            yield found.values if dense else found.csr(), found.codes
            del found  # else its memory could not be taken for the next batch

    return epoch


def _open(folder: Path, batch: int, memory_mb: float) -> Any:
    from annobench.cells.store.loader import Loader
    from annobench.cells.store.store import Store

    store = Store.open(formats.path(folder, "store"))
    codes = store.codes("label", [f"class{i:04d}" for i in range(CLASSES)])
    return Loader(store.rows(), codes, batch_size=batch, threads=THREADS, memory_mb=memory_mb)


def train(folder: Path, batch: int, network: str, rates: tuple[float, float], watch: Any) -> None:
    """One batch with a network that is thrown away, then an epoch that is watched, by our trainer."""
    from annobench.methods.torch import networks, trainer
    from annobench.methods.torch.resident import feed_of

    from .training import hce

    feed = feed_of(_open(folder, batch, 800))
    loss = hce()
    recipe = trainer.Recipe(*rates, batch_size=batch, epochs=1, min_steps=1, patience=1)
    for watched in (_Watched(feed, lambda batches: islice(batches, 1)), _Watched(feed, watch.over)):
        model = {"linear": networks.linear, "mlp": networks.mlp}[network](GENES, CLASSES)
        watch.losses.clear()
        listener = loss.register_forward_hook(lambda module, given, value: watch.losses.append(value.detach()))
        trainer.train(model, loss, watched, recipe, seed=0)
        listener.remove()


class _Watched:
    """A feed whose batches pass through a function."""

    def __init__(self, feed: Any, through: Any) -> None:
        self.feed, self.through, self.cells = feed, through, feed.cells

    def __len__(self) -> int:
        return len(self.feed)

    def epoch(self, number: int = 0, start: int = 0) -> Any:
        """The batches of the feed."""
        return self.through(self.feed.epoch(number, start))


def write_store(source: Path, target: Path) -> None:
    """A store of an h5ad."""
    from annobench.cells.store.h5ad import H5adFile
    from annobench.cells.store.writer import StoreWriter

    with H5adFile(source) as file, StoreWriter(target, _genes(file.var), threads=THREADS) as writer:
        for counts, obs in file.chunks():
            writer.append(counts, obs)
        writer.finish()


class StoreFolder:
    """Writes a store while an atlas is made."""

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
