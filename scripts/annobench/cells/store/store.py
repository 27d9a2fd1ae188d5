"""Reading a store: genes, annotations of the cells, and counts as windows or as AnnData."""

import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from copy import copy
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

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

    from annobench.cells.store.rows import Chosen

READERS = 8  # concurrent reads: a disk serves many at once faster than one after the other
_READ = 4 * 2**20  # bytes of one read at most


class Store:
    """A finished store of counts; open it with `Store.open`.

    Attributes
    ----------
    folder
        Where it lies.
    manifest
        The list of its files.
    n, genes
        Numbers of cells and of genes.
    var
        Table of the genes, (genes, ...): feature_id, feature_name and more.
    hidden
        Columns of obs that are not shown.
    """

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        import pandas as pd

        self.folder, self.manifest = folder, manifest
        self.n, self.genes = manifest.cells, manifest.genes
        self.var: pd.DataFrame = pd.read_parquet(folder / GENES)
        self.var.index = self.var.index.astype(str)
        self.hidden: frozenset[str] = frozenset()
        self._starts = np.concatenate([[0], np.cumsum([shard.cells for shard in manifest.shards])]).astype(np.int64)
        self._index: dict[int, NDArray[np.void]] = {}

    @classmethod
    def open(cls, folder: Path | str, *, verify: bool = False) -> "Store":
        """Open a store.

        Parameters
        ----------
        folder
            Of the store.
        verify
            Compare the sha256 of every file with the manifest.

        Raises
        ------
        DataError
            Where a file is missing, cut off or damaged; names it.
        """
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
        """The same store without some columns of obs, such as labels that a method must not see."""
        store = copy(self)
        store.hidden = self.hidden | set(columns)
        return store

    def obs(
        self, columns: Sequence[str] | None = None, positions: "NDArray[np.integer] | None" = None
    ) -> "pd.DataFrame":
        """Annotations of cells, indexed by cell id.

        Text columns are categorical. The categories are those of all cells of the store, whatever is read.

        Parameters
        ----------
        columns
            Which columns; all by default.
        positions
            Which cells, in the order that is asked for; all by default.
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

    def _table(self, columns: Sequence[str] | None, positions: "NDArray[np.integer] | None" = None) -> "pa.Table":
        """Columns of obs as an Arrow table, of all cells or of some; text columns but cell_id by dictionary."""
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
        table = pa.concat_tables(tables, promote_options="permissive").unify_dictionaries()
        return table if order is None else table.take(order)

    def codes(self, column: str, names: Sequence[str]) -> "NDArray[np.int32]":
        """Class numbers of all cells.

        Parameters
        ----------
        column
            A column of obs.
        names
            The classes. A code depends on them alone, never on which cells are read.

        Returns
        -------
        Position in `names` of the value of every cell, (n,); -1 where it is not among them.
        """
        place = {name: i for i, name in enumerate(names)}
        texts = self._table([column])[column]
        codes = [np.empty(0, dtype=np.int32)]
        for chunk in texts.cast("string").chunks if not _by_dictionary(texts) else texts.chunks:
            chunk = chunk if _by_dictionary(chunk) else chunk.dictionary_encode()
            table = np.array([place.get(name, -1) for name in chunk.dictionary.to_pylist()] + [-1], dtype=np.int32)
            codes.append(table[chunk.indices.fill_null(len(table) - 1).to_numpy(zero_copy_only=False)])
        return np.concatenate(codes)

    def index(self, shard: int) -> "NDArray[np.void]":
        """Where the records of a shard lie, memory-mapped; raises DataError where it does not fit the records."""
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
        """Rising positions split by shard: (shard, slice of the positions, positions in the shard)."""
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
        positions: "NDArray[np.integer] | None" = None,
        kept: "Chosen | None" = None,
        features: "Chosen | None" = None,
        *,
        target: float = TARGET,
    ) -> "StoreRows":
        """Cells for a loader.

        Parameters
        ----------
        positions
            Which cells, rising; None for all.
        kept
            The genes that make up the sum of a cell, such as those of a panel: rising positions or a mask; None for
            all.
        features
            The columns that are given, as positions in `kept` or a mask; None for all.
        target
            Sum of a cell before the logarithm; 0 for the counts themselves.
        """
        return StoreRows(self, positions, gene_columns(self.genes, kept, features), target)

    def read(
        self, positions: "NDArray[np.integer] | None" = None, kept: "Chosen | None" = None, *, threads: int = 1
    ) -> "AnnData":
        """Cells with their counts.

        Parameters
        ----------
        positions
            Which cells, in the order that is asked for; None for all.
        kept
            Which genes: rising positions or a mask; None for all.
        threads
            For decoding.

        Returns
        -------
        AnnData (cells, genes). X is CSR float32, or float64 where a count exceeds what float32 holds exactly.
        """
        from anndata import AnnData

        asked = np.arange(self.n) if positions is None else np.asarray(positions, dtype=np.int64)
        var = self.var.copy() if kept is None else self.var.iloc[np.asarray(kept)].copy()
        cells = AnnData(self.counts(asked, kept, threads=threads), obs=self.obs(positions=asked), var=var)
        cells.uns["annobench"] = dict(self.manifest.uns)
        return cells

    def counts(
        self, positions: "NDArray[np.integer]", kept: "Chosen | None" = None, *, threads: int = 1
    ) -> "csr_matrix":
        """The counts alone, as in `read`."""
        from scipy.sparse import csr_matrix

        asked = np.asarray(positions, dtype=np.int64)
        if len(asked) and (asked.min() < 0 or asked.max() >= self.n):
            raise DataError(f"{self.folder}: positions lie beyond its {self.n} cells")
        unique, order = np.unique(asked, return_inverse=True)
        exact = max(shard.max_count for shard in self.manifest.shards) < 2**24
        rows = self.rows(None, kept, target=0)
        window, dtype = rows.window(unique), np.float32 if exact else np.float64
        indptr, indices, values = window.decoded(order, threads, Buffers(), dtype)
        matrix = csr_matrix((values, indices, indptr), shape=(len(asked), rows.genes))
        matrix.has_canonical_format = True
        return matrix

    def sample(self, n: int, seed: int = 0) -> "NDArray[np.int64]":
        """Rising positions of `n` cells drawn at random without replacement; of all if there are fewer."""
        rng = np.random.default_rng(seed)
        return np.sort(rng.choice(self.n, min(n, self.n), replace=False, shuffle=False)).astype(np.int64)

    def where(self, column: str, value: str) -> "NDArray[np.int64]":
        """Rising positions of the cells with a value in a column of obs, such as those of one class."""
        return np.flatnonzero(self.codes(column, [value]) == 0)


class StoreRows(Rows):
    """Cells of a store that a loader can visit; see `Store.rows`."""

    def __init__(
        self, store: Store, positions: "NDArray[np.integer] | None", column: "NDArray[np.int32]", target: float
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
        """Read cells; `positions` rise and refer to these rows."""
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
            buffer,
            records,
            self.store.genes,
            column=self.column,
            target=self.target,
            name=lambda row: self.store.cell(int(at[row])),
        )

    def _read(self, pieces: list[tuple[int, int, int, int]], buffer: "NDArray[np.uint8]") -> None:
        """Read all pieces, several at a time."""
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
    shard: int, first: "NDArray[np.int64]", last: "NDArray[np.int64]", places: "NDArray[np.int64]"
) -> list[tuple[int, int, int, int]]:
    """Adjacent records joined into one read each, long ones cut."""
    breaks = np.flatnonzero(first[1:] != last[:-1]) + 1
    begin, end = np.concatenate([[0], breaks]), np.concatenate([breaks, [len(first)]]) - 1
    runs = []
    for offset, stop, place in zip(first[begin].tolist(), last[end].tolist(), places[begin].tolist(), strict=True):
        for cut in range(offset, stop, _READ):
            runs.append((shard, cut, place + cut - offset, min(_READ, stop - cut)))
    return runs


def _by_dictionary(column: "pa.Array | pa.ChunkedArray") -> bool:
    import pyarrow as pa

    return bool(pa.types.is_dictionary(column.type))
