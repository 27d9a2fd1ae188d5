"""Cells whose counts stay in a store: what a method that streams is given instead of an AnnData."""

from typing import TYPE_CHECKING, Any

import numpy as np

from annobench.store.rows import MemoryRows, PackedRows, Rows

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData
    from numpy.typing import NDArray
    from typing_extensions import TypeIs

    from annobench.store.store import Store

STORE = "store"  # key of uns["annobench"] of a cells.h5ad without X: the folder, relative to the file


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

    def part(self, start: int, stop: int) -> "StoredCells":
        """Some consecutive cells."""
        part = slice(start, stop)
        return StoredCells(self.store, self.positions[part], self.obs.iloc[part], self.kept)

    def to_memory(self, threads: int = 1) -> "AnnData":
        """The same as an AnnData."""
        cells = self.store.read(self.positions, threads=threads)
        found = cells if self.kept is None else cells[:, self.kept].copy()
        found.obs, found.uns = self.obs.copy(), dict(self.uns)
        return found


def is_stored(cells: "AnnData | StoredCells") -> "TypeIs[StoredCells]":
    """Whether the counts of cells stay in a store."""
    return isinstance(cells, StoredCells)


def rows_of(cells: "AnnData | StoredCells", features: "NDArray[Any] | None" = None, threads: int = 1) -> Rows:
    """Cells for a loader, in their order, as log1p of counts per 10,000 over all genes of `cells`.

    features: the genes that are given (rising positions; all where None).
    """
    if is_stored(cells):
        return cells.rows(features)
    if str(cells.uns["annobench"]["matrix"]) == "counts":
        return PackedRows(cells.X, features, threads=threads)
    from annobench.methods.features import log_normalised

    matrix = log_normalised(cells)
    if features is not None:
        matrix = matrix[:, features]
    matrix.sort_indices()
    return MemoryRows(matrix)
