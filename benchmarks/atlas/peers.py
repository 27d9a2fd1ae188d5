"""Loaders, ours and the peers': each opens an atlas once and yields shuffled batches of (expression, class numbers).

Expression is float32 (batch, genes), log1p of counts per 10,000: dense, or CSR where `dense` is false.
"""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from scipy.sparse import csr_matrix

from . import formats, ours
from .synthetic import GENES

Epoch = Callable[[int], Iterator[tuple[Any, np.ndarray]]]


def memory(folder: Path, batch: int, dense: bool) -> Epoch:
    """SciPy's CSR in memory, normalised with numpy."""
    raw = formats.path(folder, "csr")
    counts = np.fromfile(raw / "counts.u16", np.uint16).astype(np.float32)
    indices = np.fromfile(raw / "indices.u16", np.uint16).astype(np.int32)
    indptr = np.load(raw / "indptr.npy")
    codes = np.load(raw / "obs.npz")["code"].astype(np.int64)
    matrix = csr_matrix((counts, indices, indptr), (len(codes), GENES))
    buffer = np.empty((batch, matrix.shape[1]), np.float32) if dense else None

    def epoch(seed: int) -> Iterator[tuple[Any, np.ndarray]]:
        order = np.random.default_rng(seed).permutation(len(codes))
        for start in range(0, len(order), batch):
            rows = order[start : start + batch]
            values = _normalised(matrix[rows])
            yield values if buffer is None else values.toarray(out=buffer[: len(rows)]), codes[rows]

    return epoch


def backed(folder: Path, batch: int, dense: bool) -> Epoch:
    """The h5ad in anndata's backed mode, one batch of random rows after the other."""
    import anndata

    cells = anndata.read_h5ad(formats.path(folder, "h5ad"), backed="r")
    codes = cells.obs["code"].to_numpy().astype(np.int64)

    def epoch(seed: int) -> Iterator[tuple[Any, np.ndarray]]:
        order = np.random.default_rng(seed).permutation(len(codes))
        for start in range(0, len(order), batch):
            rows = np.sort(order[start : start + batch])
            values = _normalised(cells.X[rows])
            yield values.toarray() if dense else values, codes[rows]

    return epoch


def scdataset_shipped(folder: Path, batch: int, dense: bool, factor: int = 8) -> Epoch:
    """The h5ad through scDataset with its own transform for AnnData; dense only."""
    import anndata
    from scdataset import BlockShuffling, scDataset
    from scdataset.transforms import adata_to_mindex

    cells = anndata.read_h5ad(formats.path(folder, "h5ad"), backed="r")

    def epoch(seed: int) -> Iterator[tuple[Any, np.ndarray]]:
        transform = partial(adata_to_mindex, columns=["code"])
        for found in scDataset(cells, BlockShuffling(16), batch, factor, fetch_transform=transform, seed=seed):
            values = found["X"]
            values *= 1e4 / values.sum(axis=1, keepdims=True)
            yield np.log1p(values, out=values), found["code"].astype(np.int64)

    return epoch


def scdataset(folder: Path, batch: int, dense: bool, name: str = "h5ad", factor: int = 8) -> Epoch:
    """The h5ad or zarr through scDataset with call-backs that keep rows sparse until the batch is complete."""
    import anndata
    from scdataset import BlockShuffling, scDataset

    if name == "zarr":
        import zarr

        group = zarr.open(str(formats.path(folder, "zarr")), mode="r")
        codes = group["obs/code"][:].astype(np.int64)
    else:
        import h5py

        group = h5py.File(formats.path(folder, "h5ad"))
        codes = group["obs/code"][:].astype(np.int64)
    rows = anndata.io.sparse_dataset(group["X"])

    def fetch(_: Any, chosen: np.ndarray) -> tuple[csr_matrix, np.ndarray]:
        return rows[chosen], codes[chosen]

    def pick(fetched: tuple[csr_matrix, np.ndarray], chosen: np.ndarray) -> tuple[Any, np.ndarray]:
        values = _normalised(fetched[0][chosen])
        return values.toarray() if dense else values, fetched[1][chosen]

    def epoch(seed: int) -> Iterator[tuple[Any, np.ndarray]]:
        strategy = BlockShuffling(16)
        yield from scDataset(codes, strategy, batch, factor, fetch_callback=fetch, batch_callback=pick, seed=seed)

    return epoch


def tiledbsoma_ml(folder: Path, batch: int, dense: bool) -> Epoch:
    """tiledbsoma-ml with its defaults: shuffled chunks of 64 rows, 65,536 rows at once, one read ahead."""
    import tiledbsoma
    from tiledbsoma_ml import ExperimentDataset, experiment_dataloader

    experiment = tiledbsoma.Experiment.open(str(formats.path(folder, "soma")))

    def epoch(seed: int) -> Iterator[tuple[Any, np.ndarray]]:
        with experiment.axis_query("RNA") as query:
            dataset = ExperimentDataset(
                query, "data", obs_column_names=["code"], batch_size=batch, seed=seed, return_sparse_X=not dense
            )
            for values, obs in experiment_dataloader(dataset):
                if dense:
                    values *= 1e4 / values.sum(axis=1, keepdims=True)
                    np.log1p(values, out=values)
                yield values if dense else _normalised(values), obs["code"].to_numpy().astype(np.int64)

    return epoch


LOADERS: dict[str, Callable[..., Epoch]] = {
    "ours": ours.loader,
    "memory": memory,
    "backed h5ad": backed,
    "scDataset h5ad, as shipped": scdataset_shipped,
    "scDataset h5ad, CSR call-backs": scdataset,
    "scDataset zarr, CSR call-backs": partial(scdataset, name="zarr"),
    "tiledbsoma-ml": tiledbsoma_ml,
}
FORMATS = {
    "ours": "store",
    "memory": "csr",
    "backed h5ad": "h5ad",
    "scDataset h5ad, as shipped": "h5ad",
    "scDataset h5ad, CSR call-backs": "h5ad",
    "scDataset zarr, CSR call-backs": "zarr",
    "tiledbsoma-ml": "soma",
}


def _normalised(counts: csr_matrix) -> csr_matrix:
    """A copy with log1p of counts per 10,000."""
    counts = csr_matrix(counts, dtype=np.float32)
    sizes = np.asarray(counts.sum(axis=1)).ravel()
    counts.data *= np.repeat(np.float32(1e4) / sizes, np.diff(counts.indptr))
    np.log1p(counts.data, out=counts.data)
    return counts
