"""Cells whose counts stay in a store: what a method that streams is given instead of an AnnData.

The cells.h5ad of such a dataset names its store and holds no cells itself; `read_cells` reads either kind.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from annobench.cells.store.rows import Rows
from annobench.core.errors import DataError
from annobench.core.files import damaged

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData
    from numpy.typing import NDArray
    from typing_extensions import TypeIs

    from annobench.cells.store.store import Store

STORE = "store"  # key of uns["annobench"] of a cells.h5ad without cells: the folder, relative to the file
DIGEST = "digest"  # and the sha256 of the store, so that the hash of cells.h5ad stands for all bytes
SPATIAL = "spatial_"  # coordinates are columns of the store's obs: spatial_0, spatial_1, ...


class StoredCells:
    """Some cells of a store, over some of its genes.

    obs, obs_names, n_obs, var, n_vars and uns are those of an AnnData; there is no X, but `rows` for a loader.
    positions: where the cells lie in the store, in the order of obs. kept: positions of the genes, or None.
    """

    def __init__(
        self,
        store: "Store",
        positions: "NDArray[np.int64]",
        obs: "pd.DataFrame",
        kept: "NDArray[np.int64] | None" = None,
    ) -> None:
        if len(obs) != len(positions):
            raise ValueError(f"{len(obs)} rows of obs for {len(positions)} cells")
        self.store, self.positions, self.obs, self.kept = store, positions, obs, kept
        self.var: pd.DataFrame = store.var if kept is None else store.var.iloc[kept]
        self.uns: dict[str, Any] = {"annobench": dict(store.manifest.uns)}

    @property
    def obs_names(self) -> "pd.Index":
        """Ids of the cells."""
        return self.obs.index

    @property
    def n_obs(self) -> int:
        """Number of cells."""
        return len(self.positions)

    @property
    def n_vars(self) -> int:
        """Number of genes."""
        return len(self.var)

    def rows(self, features: "NDArray[Any] | None" = None) -> Rows:
        """The cells for a loader, as log1p of counts per 10,000 over these genes; `features` are given, or all."""
        return self.store.rows(self.positions, self.kept, features)

    def __getitem__(self, chosen: "slice | NDArray[Any]") -> "StoredCells":
        """Some of the cells: a slice, positions or a mask."""
        return StoredCells(self.store, self.positions[chosen], self.obs.iloc[chosen], self.kept)

    def parts(self, cells: int = 1 << 16) -> "Iterator[StoredCells]":
        """All cells, some consecutive ones at a time."""
        return (self[start : start + cells] for start in range(0, self.n_obs, cells))

    def to_memory(self, threads: int = 1) -> "AnnData":
        """The same as an AnnData."""
        cells = with_coordinates(self.store.read(self.positions, self.kept, threads=threads))
        cells.obs, cells.uns = self.obs.copy(), dict(self.uns)
        return cells


def is_stored(cells: "AnnData | StoredCells") -> "TypeIs[StoredCells]":
    """Whether the counts of cells stay in a store."""
    return isinstance(cells, StoredCells)


def some_cells(cells: "AnnData | StoredCells", positions: "NDArray[Any]") -> "AnnData":
    """Some of the cells in memory."""
    return cells[positions].to_memory() if is_stored(cells) else cells[positions]


def store_folder(path: str | Path) -> Path | None:
    """The folder of the store that a cells.h5ad names; None where the file holds the cells itself."""
    import h5py

    try:
        with h5py.File(path, "r") as file:
            name = file.get(f"uns/annobench/{STORE}")
            return None if name is None else Path(path).parent / name.asstr()[()]
    except OSError as error:
        if not Path(path).is_file():
            raise
        raise damaged(path, error) from error


def open_store(path: str | Path, *, verify: bool = False) -> "Store | None":
    """The store that a cells.h5ad names, which must be the one that was written with it; None where there is none."""
    import h5py

    from annobench.cells.store.store import Store

    folder = store_folder(path)
    if folder is None:
        return None
    store = Store.open(folder, verify=verify)
    with h5py.File(path, "r") as file:
        digest = file[f"uns/annobench/{DIGEST}"].asstr()[()]
    if store.manifest.digest != digest:
        raise DataError(f"{folder}: is not the store that {path} was written with; delete it, and it is made again")
    return store


def read_cells(
    path: str | Path, positions: "NDArray[Any] | None" = None, *, at_most: int | None = None, seed: int = 0
) -> "AnnData":
    """Cells of a cells.h5ad with their values, whether they lie in the file or in a store.

    positions: which, among those of obs.parquet, in the order that is asked for; all by default. at_most: of a store
    no more than so many, drawn by the seed, in their own order. Every byte of a store is compared with its hash.
    """
    import anndata

    store = open_store(path, verify=True)
    if store is None:
        cells = anndata.read_h5ad(path)
        return cells if positions is None else cells[np.asarray(positions)].copy()
    if positions is None and at_most is not None:
        positions = store.sample(at_most, seed)
    return with_coordinates(store.read(positions))


def read_without_matrix(path: str | Path) -> "AnnData":
    """Ids, observations and genes of a cells.h5ad, wherever its cells lie; no count is read, and there is no X."""
    import h5py
    from anndata import AnnData
    from anndata.io import read_elem

    store = open_store(path)
    if store is not None:
        cells = AnnData(obs=store.obs(), var=store.var.copy())
        cells.uns["annobench"] = dict(store.manifest.uns)
        return with_coordinates(cells)
    try:
        with h5py.File(path, "r") as file:
            cells = AnnData(obs=read_elem(file["obs"]), var=read_elem(file["var"]))
            cells.uns["annobench"] = read_elem(file["uns/annobench"])
    except OSError as error:
        raise damaged(path, error) from error
    return cells


def with_coordinates(cells: "AnnData") -> "AnnData":
    """Coordinates that came as columns of obs in their place, obsm `spatial`."""
    names = [name for name in cells.obs if name.startswith(SPATIAL)]
    if names:
        cells.obsm["spatial"] = cells.obs[names].to_numpy(dtype=float)
        cells.obs = cells.obs.drop(columns=names)
    return cells
