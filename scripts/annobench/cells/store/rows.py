"""Cells that a loader can visit: in memory, packed in memory, or in a store on disk."""

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

import numpy as np

from annobench.cells.store import codec
from annobench.cells.store.buffers import Buffers
from annobench.core import threads as pool
from annobench.core.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from scipy.sparse import csr_matrix

TARGET = 1e4  # counts of a cell are scaled to this sum before the logarithm


class Window(ABC):
    """Some cells at hand in memory."""

    @abstractmethod
    def sparse(self, order: "NDArray[np.int64]", threads: int, buffers: Buffers) -> tuple[Any, Any, Any]:
        """Cells `order` (positions in the window) as indptr int64, indices int32, values float32."""

    @abstractmethod
    def dense(self, order: "NDArray[np.int64]", threads: int, out: "NDArray[np.float32]") -> None:
        """The same into dense rows of `out`, float32 (len(order), genes)."""


class Rows(ABC):
    """Cells of which windows can be brought into memory.

    n: number of cells. genes: number of columns. nbytes: memory of all of them in a window.
    """

    n: int
    genes: int
    nbytes: int

    @abstractmethod
    def window(self, positions: "NDArray[np.int64]") -> Window:
        """Bring cells into memory; `positions` rise, none of them comes twice."""


class MemoryRows(Rows):
    """Cells of a matrix in memory, float32 (n, genes), whose values are used as they are; indices must be sorted."""

    def __init__(self, matrix: "csr_matrix") -> None:
        self.n, self.genes = matrix.shape
        self.matrix = matrix
        self.nbytes = 0  # nothing has to be read

    def window(self, positions: "NDArray[np.int64]") -> Window:
        """A view."""
        return _MatrixWindow(self.matrix, positions)


class _MatrixWindow(Window):
    def __init__(self, matrix: "csr_matrix", positions: "NDArray[np.int64]") -> None:
        self._matrix, self._positions = matrix, positions

    def sparse(self, order: "NDArray[np.int64]", threads: int, buffers: Buffers) -> tuple[Any, Any, Any]:
        found = self._matrix[self._positions[order]]
        return found.indptr.astype(np.int64), found.indices.astype(np.int32), found.data.astype(np.float32)

    def dense(self, order: "NDArray[np.int64]", threads: int, out: "NDArray[np.float32]") -> None:
        self._matrix[self._positions[order]].toarray(out=out)


class PackedWindow(Window):
    """Records in memory.

    buffer: uint8, the bytes. begins, ends, nnz, wide: int64 (n,), where each record lies and what it holds. genes:
    columns that the records know; column: see `gene_columns`. name: takes a
    row of the window and says, for an error, which cell of which file it is.
    """

    def __init__(
        self,
        buffer: "NDArray[np.uint8]",
        records: "dict[str, NDArray[np.int64]]",
        genes: int,
        column: "NDArray[np.int32]",
        target: float,
        name: Any,
    ) -> None:
        self.buffer, self.records = buffer, records
        self.genes, self.column, self.target, self.name = genes, column, target, name
        self._width = int(records["nnz"].max(initial=0))

    def _arguments(self, order: "NDArray[np.int64]") -> tuple[Any, ...]:
        r = self.records
        return self.buffer, r["begins"], r["ends"], r["nnz"], r["wide"], order, self.genes, self.column, self._width

    def _run(self, kernel: Any, order: "NDArray[np.int64]", threads: int, *arguments: Any) -> None:
        bad = np.full(1, -1, dtype=np.int64)
        pool.run(kernel, len(order), threads, *self._arguments(order), *arguments, bad)
        if bad[0] >= 0:
            raise DataError(
                f"{self.name(int(bad[0]))}: its bytes are not a record of {self.genes} genes; the file was changed "
                "or damaged, `annobench verify` says which files are; make the store again"
            )

    def sparse(
        self, order: "NDArray[np.int64]", threads: int, buffers: Buffers, dtype: Any = np.float32
    ) -> tuple[Any, Any, Any]:
        """As in Window; `dtype` of the values, for counts that float32 cannot hold."""
        order = np.ascontiguousarray(order, dtype=np.int64)
        sizes = self.records["nnz"][order]
        if len(self.column):
            sizes = np.empty(len(order), dtype=np.int64)
            self._run(codec.count_kept, order, threads, sizes)
        indptr = np.zeros(len(order) + 1, dtype=np.int64)
        np.cumsum(sizes, out=indptr[1:])
        indices, values = buffers.take(int(indptr[-1]), np.int32), buffers.take(int(indptr[-1]), dtype)
        self._run(codec.decode_sparse, order, threads, self.target, indptr, indices, values)
        return indptr, indices, values

    def dense(self, order: "NDArray[np.int64]", threads: int, out: "NDArray[np.float32]") -> None:
        """As in Window."""
        order = np.ascontiguousarray(order, dtype=np.int64)
        self._run(codec.decode_dense, order, threads, self.target, out)


def gene_columns(
    genes: int, kept: "NDArray[Any] | None" = None, features: "NDArray[Any] | None" = None
) -> "NDArray[np.int32]":
    """What becomes of every gene, int32 (genes,): its new position, -1, or -2; empty where all are kept as they are.

    kept: the genes that are there for this purpose, such as those of a panel: they make up the sum of a cell. features:
    those among them (positions in `kept`) that are given; the others get -2. Both rise, or are masks; None means all.
    """
    there = _rising(kept, genes)
    chosen = there[_rising(features, len(there))]
    if len(chosen) == genes:
        return np.empty(0, dtype=np.int32)
    column = np.full(genes, -1, dtype=np.int32)
    column[there] = -2
    column[chosen] = np.arange(len(chosen), dtype=np.int32)
    return column


def _rising(positions: "NDArray[Any] | None", n: int) -> "NDArray[np.intp]":
    """Positions below n; raises DataError where they do not rise."""
    if positions is None:
        return np.arange(n)
    found = np.asarray(positions)
    found = np.flatnonzero(found) if found.dtype == bool and len(found) == n else found.astype(np.intp)
    if len(found) and (found[0] < 0 or found[-1] >= n or (np.diff(found) <= 0).any()):
        raise DataError(f"genes must be given as rising positions below {n}")
    return found


def n_columns(column: "NDArray[np.int32]", genes: int) -> int:
    """Number of columns that `gene_columns` leaves of `genes`."""
    return int((column >= 0).sum()) if len(column) else genes


def record_table(index: "NDArray[Any]") -> "dict[str, NDArray[np.int64]]":
    """The index of records that lie one after the other in a buffer, as a window wants it."""
    offsets = index["offset"].astype(np.int64)
    return {
        "begins": offsets[:-1],
        "ends": offsets[1:],
        "nnz": index["nnz"][:-1].astype(np.int64),
        "wide": index["wide"][:-1].astype(np.int64),
    }


class PackedRows(Rows):
    """Counts of a matrix in memory, packed: a quarter of the memory, and decoded to log1p of counts per 10,000.

    The sum of a cell is that over all genes; `features` are those that are given (rising positions or a mask; all
    where None). Counts must be whole and not negative.
    """

    def __init__(
        self, counts: "csr_matrix", features: "NDArray[Any] | None" = None, *, target: float = TARGET, threads: int = 1
    ) -> None:
        from annobench.cells.store.checks import checked_counts

        counts = checked_counts(counts, "the matrix")
        self._column = gene_columns(counts.shape[1], None, features)
        self._target = target
        buffer, index = codec.encode(counts.indptr, counts.indices, counts.data, threads)
        self._buffer, self._records, self._genes = buffer, record_table(index), counts.shape[1]
        self.n = counts.shape[0]
        self.genes = n_columns(self._column, counts.shape[1])
        self.nbytes = 0  # nothing has to be read

    def window(self, positions: "NDArray[np.int64]") -> PackedWindow:
        """The records of these cells, in place."""
        records = {key: values[positions] for key, values in self._records.items()}
        return PackedWindow(
            self._buffer, records, self._genes, self._column, self._target, lambda row: f"cell {positions[row]}"
        )
