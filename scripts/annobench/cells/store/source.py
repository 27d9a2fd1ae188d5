"""A store as a source of cells, with the interface of `H5adFile`."""

from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

import numpy as np

from annobench.cells.store.store import Store

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray
    from scipy.sparse import csr_matrix

_CELLS = 8_192  # cells that are read at a time


class StoreFile:
    """A store that is read in parts, with the attributes and methods of `annobench.cells.store.h5ad.H5adFile`."""

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self.store = Store.open(self.path, verify=True)
        self.n, self.genes, self.var, self.columns = self.store.n, self.store.genes, self.store.var, self.store.columns
        self._read: tuple[str, pd.DataFrame] | None = None

    def __enter__(self) -> "StoreFile":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Release what was read."""
        self._read = None

    @property
    def nbytes(self) -> int:
        """Bytes of the values and indices in memory."""
        return 8 * sum(shard.nnz for shard in self.store.manifest.shards)

    @property
    def slots(self) -> list[str]:
        """The one matrix of a store."""
        return ["X"]

    def read(self) -> "csr_matrix":
        """All counts."""
        return self.store.counts(np.arange(self.n))

    def coordinates(self) -> "NDArray[np.floating] | None":
        """None: coordinates in a store are columns of its obs."""
        return None

    def chunks(self, start: int = 0, columns: list[str] | None = None) -> "Iterator[tuple[csr_matrix, pd.DataFrame]]":
        """Cells from `start` on as (CSR matrix, annotations)."""
        for first in range(start, self.n, _CELLS):
            stop = min(first + _CELLS, self.n)
            yield self.store.counts(np.arange(first, stop)), self.obs(first, stop, columns)

    def obs(self, start: int = 0, stop: int | None = None, columns: list[str] | None = None) -> "pd.DataFrame":
        """Annotations of some cells, indexed by cell id; read in order, every shard is read once."""
        import pandas as pd

        stop = self.n if stop is None else stop
        pieces = [self._shard(i).iloc[part] for i, part in self._pieces(start, stop)]
        table = pd.concat(pieces) if len(pieces) > 1 else pieces[0]
        return table if columns is None else table[columns]

    def _pieces(self, start: int, stop: int) -> Iterator[tuple[int, slice]]:
        first = 0
        for i, shard in enumerate(self.store.manifest.shards):
            begin, end = max(start, first), min(stop, first + shard.cells)
            if begin < end:
                yield i, slice(begin - first, end - first)
            first += shard.cells

    def _shard(self, number: int) -> "pd.DataFrame":
        import pandas as pd

        shard = self.store.manifest.shards[number]
        if self._read is None or self._read[0] != shard.name:
            self._read = shard.name, pd.read_parquet(shard.path(self.path, "obs")).set_index("cell_id")
        return self._read[1]
