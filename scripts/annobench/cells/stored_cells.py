"""Lazy view of stored cells, passed to streaming methods in place of an AnnData.

The cells.h5ad of a dataset in a store names the store and holds no cells; `read_cells` reads either kind.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from annobench.cells.store.rows import Rows
from annobench.core.errors import DataError
from annobench.core.files import damaged

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData
    from numpy.typing import NDArray
    from typing_extensions import TypeIs

    from annobench.cells.store.rows import Chosen
    from annobench.cells.store.store import Store

STORE = "store"  # key of uns["annobench"] of a cells.h5ad without cells: the folder, relative to the file
DIGEST = "digest"  # and the sha256 of the store, so that the hash of cells.h5ad stands for all bytes
SPATIAL = "spatial_"  # coordinates are columns of the store's obs: spatial_0, spatial_1, ...


class StoredCells:
    """Some cells of a store, over some of its genes.

    Parameters
    ----------
    store
        The store.
    positions
        Where the cells lie in the store, (n,), in the order of `obs`.
    obs
        Annotations of the cells, indexed by cell id.
    kept
        Rising positions of the genes; None for all.

    Attributes
    ----------
    var
        Table of the genes.
    uns
        As that of an AnnData. There is no X: counts are read by `rows`, for a loader, or by `to_memory`.
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
        self.uns: dict[str, dict[str, object]] = {"annobench": dict(store.manifest.uns)}

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

    def rows(self, features: "Chosen | None" = None) -> Rows:
        """The cells for a loader: log1p of counts per 10,000 over these genes, of which `features` (all by default)."""
        return self.store.rows(self.positions, self.kept, features)

    def __getitem__(self, chosen: "slice | Chosen") -> "StoredCells":
        """Some of the cells: a slice, positions or a mask."""
        return StoredCells(self.store, self.positions[chosen], self.obs.iloc[chosen], self.kept)

    def parts(self, cells: int = 1 << 16) -> "Iterator[StoredCells]":
        """All cells, in consecutive parts of `cells` cells."""
        return (self[start : start + cells] for start in range(0, self.n_obs, cells))

    def to_memory(self, threads: int = 1) -> "AnnData":
        """The cells as an AnnData."""
        cells = with_coordinates(self.store.read(self.positions, self.kept, threads=threads))
        cells.obs, cells.uns = self.obs.copy(), dict(self.uns)
        return cells


def is_stored(cells: "AnnData | StoredCells") -> "TypeIs[StoredCells]":
    """Whether cells are a view of a store."""
    return isinstance(cells, StoredCells)


def some_cells(cells: "AnnData | StoredCells", positions: "NDArray[np.integer]") -> "AnnData":
    """Some of the cells, in memory."""
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
    """The store that a cells.h5ad names, or None; raises DataError unless it is the one that was written with it."""
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
    path: str | Path, positions: "NDArray[np.integer] | None" = None, *, at_most: int | None = None, seed: int = 0
) -> "AnnData":
    """Read prepared cells with their values, from the file or from its store.

    Parameters
    ----------
    path
        A cells.h5ad.
    positions
        Which cells of obs.parquet, in the order that is asked for; all by default.
    at_most
        Of a store read no more than so many cells, drawn by `seed`, in their own order.
    seed
        Of that draw.

    Raises
    ------
    DataError
        Where the store is damaged (every byte is compared with its hash), or not the one of the file.
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
    """Move coordinates from the columns of obs to obsm `spatial`."""
    names = [name for name in cells.obs if name.startswith(SPATIAL)]
    if names:
        cells.obsm["spatial"] = cells.obs[names].to_numpy(dtype=float)
        cells.obs = cells.obs.drop(columns=names)
    return cells
