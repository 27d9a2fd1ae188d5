"""Reading a store: its genes, its cells' annotations, and counts as windows or as AnnData."""

import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from copy import copy
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from annobench.cells.store.buffers import Buffers
from annobench.cells.store.codec import INDEX
from annobench.cells.store.manifest import GENES, Manifest, check_sizes, damaged_files
from annobench.cells.store.rows import TARGET, PackedWindow, Rows, gene_columns, n_columns
from annobench.core.errors import DataError
from annobench.core.parquet import read_columns

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa
    from anndata import AnnData
    from numpy.typing import NDArray
    from scipy.sparse import csr_matrix

READERS = 8  # reads in flight: a disk answers many at once faster than one after the other
_READ = 4 * 2**20  # bytes of one read at most


class Store:
    """A finished store.

    n, genes: number of cells and of genes. var: table of the genes. manifest: see there. Open it with `Store.open`.
    """

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        import pandas as pd

        self.folder, self.manifest = folder, manifest
        self.n, self.genes = manifest.cells, manifest.genes
        self.var: pd.DataFrame = pd.read_parquet(folder / GENES)
        self.var.index = self.var.index.astype(str)
        self.hidden: frozenset[str] = frozenset()
        self._starts = np.concatenate([[0], np.cumsum([shard.cells for shard in manifest.shards])]).astype(np.int64)
        self._index: dict[int, NDArray[Any]] = {}

    @classmethod
    def open(cls, folder: Path | str, *, verify: bool = False) -> "Store":
        """Open a store; `verify` compares the sha256 of every file. Raises DataError, which names what is wrong."""
        folder = Path(folder)
        manifest = Manifest.read(folder)
        check_sizes(folder, manifest)
        if verify and (damaged := damaged_files(folder, manifest)):
            raise DataError(
                f"{folder}: {len(damaged)} files are damaged (sha256 differs from the manifest): "
                f"{', '.join(damaged[:5])}; make the store again"
            )
        return cls(folder, manifest)

    def without(self, columns: Iterable[str]) -> "Store":
        """The same store, which gives nothing of some columns of obs: labels, for whoever must not see them."""
        found = copy(self)
        found.hidden = self.hidden | set(columns)
        return found

    def obs(self, columns: Sequence[str] | None = None, positions: "NDArray[Any] | None" = None) -> "pd.DataFrame":
        """Annotations of cells, indexed by cell id; all cells and columns, or those that are named.

        Text columns are categorical. The categories are those of all cells of the store, whatever is read.
        """
        table = self._table(None if columns is None else ["cell_id", *columns], positions)
        return table.to_pandas(ignore_metadata=True).set_index("cell_id")

    def ids(self) -> "Iterator[pa.Array]":
        """Ids of the cells, shard by shard."""
        for shard in self.manifest.shards:
            yield read_columns(shard.path(self.folder, "obs"), ["cell_id"], texts=["cell_id"])["cell_id"]

    @property
    def columns(self) -> list[str]:
        """Names of the columns of obs."""
        import pyarrow.parquet as pq

        names = pq.read_schema(self.manifest.shards[0].path(self.folder, "obs")).names
        return [name for name in names if name != "cell_id" and name not in self.hidden]

    def _table(self, columns: Sequence[str] | None, positions: "NDArray[Any] | None" = None) -> Any:
        """Columns of obs as an Arrow table, of all cells or of those asked for; texts but cell_id by dictionary."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        paths = [shard.path(self.folder, "obs") for shard in self.manifest.shards]
        schema = pq.read_schema(paths[0])
        if missing := set(columns or ()) - {"cell_id", *self.columns}:
            raise DataError(f"{self.folder}: obs has no column {sorted(missing)[0]}; it has {', '.join(self.columns)}")
        columns = ["cell_id", *self.columns] if columns is None else list(columns)
        texts = [field.name for field in schema if field.name != "cell_id" and not pa.types.is_primitive(field.type)]
        asked = None if positions is None else np.asarray(positions, dtype=np.int64)
        order = None
        if asked is not None and (np.diff(asked) <= 0).any():
            asked, order = np.unique(asked, return_inverse=True)
        inside = {} if asked is None else {shard: rows for shard, _, rows in self.by_shard(asked)}
        tables = []
        for shard, path in enumerate(paths):
            table = pq.read_table(path, columns=columns, read_dictionary=texts)
            if len(table) != self.manifest.shards[shard].cells:
                raise DataError(
                    f"{path}: has {len(table)} cells, the manifest says {self.manifest.shards[shard].cells}"
                )
            tables.append(table if asked is None else table.take(inside.get(shard, np.empty(0, dtype=np.int64))))
        found = pa.concat_tables(tables, promote_options="permissive").unify_dictionaries()
        return found if order is None else found.take(order)

    def codes(self, column: str, names: Sequence[str]) -> "NDArray[np.int32]":
        """Position in `names` of the value of every cell, int32 (n,); -1 where it is not among them.

        A code depends on `names` alone, never on which cells are read.
        """
        place = {name: i for i, name in enumerate(names)}
        column_ = self._table([column])[column]
        found = [np.empty(0, dtype=np.int32)]
        for chunk in column_.cast("string").chunks if not _by_dictionary(column_) else column_.chunks:
            chunk = chunk if _by_dictionary(chunk) else chunk.dictionary_encode()
            table = np.array([place.get(name, -1) for name in chunk.dictionary.to_pylist()] + [-1], dtype=np.int32)
            found.append(table[chunk.indices.fill_null(len(table) - 1).to_numpy(zero_copy_only=False)])
        return np.concatenate(found)

    def index(self, shard: int) -> "NDArray[Any]":
        """Where the records of a shard lie, mapped from the disk; raises DataError where it cannot be so."""
        if shard not in self._index:
            entry = self.manifest.shards[shard]
            path = entry.path(self.folder, "index")
            index = np.load(path, mmap_mode="r", allow_pickle=False)
            whole = index.dtype == INDEX and index.shape == (entry.cells + 1,)
            if whole:
                lengths = np.diff(index["offset"].astype(np.int64))
                nnz, wide = (index[name][:-1].astype(np.int64) for name in ("nnz", "wide"))
                whole = index["offset"][0] == 0 and index["offset"][-1] == entry.files["records"].bytes
                whole &= bool((lengths >= 2 * nnz + 4 * wide).all() and nnz.max() <= min(entry.width, self.genes))
            if not whole:
                raise DataError(f"{path}: does not fit the records of its shard; it was changed, make the store again")
            self._index[shard] = index
        return self._index[shard]

    def by_shard(self, positions: "NDArray[np.int64]") -> "list[tuple[int, slice, NDArray[np.int64]]]":
        """Rising positions as (shard, their slice, positions in the shard)."""
        bounds = np.searchsorted(positions, self._starts)
        return [
            (shard, slice(a, b), positions[a:b] - self._starts[shard])
            for shard, (a, b) in enumerate(pairwise(bounds))
            if b > a
        ]

    def cell(self, position: int) -> str:
        """Where a cell lies, for messages."""
        shard = int(np.searchsorted(self._starts, position, side="right") - 1)
        return f"{self.manifest.shards[shard].path(self.folder, 'records')}, cell {position - self._starts[shard]}"

    def rows(
        self,
        positions: "NDArray[Any] | None" = None,
        kept: "NDArray[Any] | None" = None,
        features: "NDArray[Any] | None" = None,
        *,
        target: float = TARGET,
    ) -> "StoreRows":
        """Cells for a loader: rising `positions` (all where None); `kept` and `features`: see `gene_columns`."""
        return StoreRows(self, positions, gene_columns(self.genes, kept, features), target)

    def read(
        self, positions: "NDArray[Any] | None" = None, kept: "NDArray[Any] | None" = None, *, threads: int = 1
    ) -> "AnnData":
        """Cells with their counts as an AnnData, in the order that is asked for; all of them by default.

        kept: the genes that are read (rising positions or a mask); all where None. X is CSR float32, or float64 where a
        count is beyond the whole numbers of float32.
        """
        from anndata import AnnData

        asked = np.arange(self.n) if positions is None else np.asarray(positions, dtype=np.int64)
        var = self.var.copy() if kept is None else self.var.iloc[np.asarray(kept)].copy()
        cells = AnnData(self.counts(asked, kept, threads=threads), obs=self.obs(positions=asked), var=var)
        cells.uns["annobench"] = dict(self.manifest.uns)
        return cells

    def counts(
        self, positions: "NDArray[Any]", kept: "NDArray[Any] | None" = None, *, threads: int = 1
    ) -> "csr_matrix":
        """The counts of cells alone, as in `read`."""
        from scipy.sparse import csr_matrix

        asked = np.asarray(positions, dtype=np.int64)
        if len(asked) and (asked.min() < 0 or asked.max() >= self.n):
            raise DataError(f"{self.folder}: positions lie beyond its {self.n} cells")
        unique, order = np.unique(asked, return_inverse=True)
        exact = max(shard.max_count for shard in self.manifest.shards) < 2**24
        rows = self.rows(None, kept, target=0)
        indptr, indices, values = rows.window(unique).sparse(
            order, threads, Buffers(), np.float32 if exact else np.float64
        )
        matrix = csr_matrix((values, indices, indptr), shape=(len(asked), rows.genes))
        matrix.has_canonical_format = True
        return matrix

    def sample(self, n: int, seed: int = 0) -> "NDArray[np.int64]":
        """Rising positions of `n` cells drawn at random without replacement (all where there are fewer)."""
        rng = np.random.default_rng(seed)
        return np.sort(rng.choice(self.n, min(n, self.n), replace=False, shuffle=False)).astype(np.int64)

    def where(self, column: str, value: str) -> "NDArray[np.int64]":
        """Rising positions of the cells that have a value, such as those of one class."""
        return np.flatnonzero(self.codes(column, [value]) == 0)


class StoreRows(Rows):
    """Cells of a store that a loader can visit."""

    def __init__(
        self, store: Store, positions: "NDArray[Any] | None", column: "NDArray[np.int32]", target: float
    ) -> None:
        self.store, self.column, self.target = store, column, target
        self._positions = None if positions is None else np.asarray(positions, dtype=np.int64)
        p = self._positions
        if p is not None and len(p) and ((np.diff(p) <= 0).any() or p[0] < 0 or p[-1] >= store.n):
            raise DataError(f"{store.folder}: positions must rise and lie within its {store.n} cells")
        self.n = store.n if self._positions is None else len(self._positions)
        self.genes = n_columns(column, store.genes)
        self.nbytes = self._size()
        self._buffers = Buffers()

    def _size(self) -> int:
        """Bytes of the records."""
        if self._positions is None:
            return sum(shard.files["records"].bytes for shard in self.store.manifest.shards)
        total = 0
        for shard, _, inside in self.store.by_shard(self._positions):
            offset = self.store.index(shard)["offset"]
            total += int((offset[inside + 1] - offset[inside]).sum())
        return total

    def window(self, positions: "NDArray[np.int64]") -> PackedWindow:
        """Read cells; `positions` rise and count among these rows."""
        at = positions if self._positions is None else self._positions[positions]
        records = {key: np.empty(len(at), dtype=np.int64) for key in ("begins", "ends", "nnz", "wide")}
        pieces: list[tuple[int, int, int, int]] = []  # shard, offset in the file, place in the buffer, length
        size = 0
        for shard, part, inside in self.store.by_shard(at):
            index = self.store.index(shard)
            first, last = index["offset"][inside].astype(np.int64), index["offset"][inside + 1].astype(np.int64)
            places = size + np.cumsum(last - first) - (last - first)
            records["begins"][part], records["ends"][part] = places, places + last - first
            records["nnz"][part], records["wide"][part] = index["nnz"][inside], index["wide"][inside]
            pieces += _runs(shard, first, last, places)
            size += int((last - first).sum())
        buffer = self._buffers.take(size, np.uint8)
        self._read(pieces, buffer)
        return PackedWindow(
            buffer, records, self.store.genes, self.column, self.target, lambda row: self.store.cell(int(at[row]))
        )

    def _read(self, pieces: list[tuple[int, int, int, int]], buffer: "NDArray[np.uint8]") -> None:
        """Read all pieces, many at a time."""
        view = buffer.data
        files: dict[int, int] = {}
        paths = {shard: self.store.manifest.shards[shard].path(self.store.folder, "records") for shard, *_ in pieces}

        def read(some: list[tuple[int, int, int, int]]) -> None:
            for shard, offset, place, length in some:
                done = 0
                while done < length:
                    got = os.preadv(files[shard], [view[place + done : place + length]], offset + done)
                    if got == 0:
                        raise DataError(
                            f"{paths[shard]}: ends at byte {offset + done}; it was cut off since it was opened"
                        )
                    done += got

        try:
            for shard, path in paths.items():
                files[shard] = os.open(path, os.O_RDONLY)
            step = max(1, -(-len(pieces) // (READERS * 4)))
            with ThreadPoolExecutor(READERS, thread_name_prefix="annobench-read") as pool:
                list(pool.map(read, [pieces[i : i + step] for i in range(0, len(pieces), step)]))
        except FileNotFoundError as error:
            raise DataError(f"{error.filename}: is gone since the store was opened; make the store again") from error
        finally:
            for descriptor in files.values():
                os.close(descriptor)


def _runs(
    shard: int, first: "NDArray[Any]", last: "NDArray[Any]", places: "NDArray[Any]"
) -> list[tuple[int, int, int, int]]:
    """Records that lie one after the other as one read, long ones cut."""
    breaks = np.flatnonzero(first[1:] != last[:-1]) + 1
    begin, end = np.concatenate([[0], breaks]), np.concatenate([breaks, [len(first)]]) - 1
    found = []
    for offset, stop, place in zip(first[begin].tolist(), last[end].tolist(), places[begin].tolist(), strict=True):
        for cut in range(offset, stop, _READ):
            found.append((shard, cut, place + cut - offset, min(_READ, stop - cut)))
    return found


def _by_dictionary(column: Any) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_dictionary(column.type))
