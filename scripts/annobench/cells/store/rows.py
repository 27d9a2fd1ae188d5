"""Cells that a loader can visit: in memory, packed in memory, or in a store on disk."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias, TypeVar

import numpy as np

from annobench.cells.store import codec
from annobench.cells.store.buffers import Buffers
from annobench.core import threads as pool
from annobench.core.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from scipy.sparse import csr_matrix

    Chosen: TypeAlias = NDArray[np.integer] | NDArray[np.bool_]  # rising positions, or a mask
    Records: TypeAlias = dict[str, NDArray[np.int64]]

V = TypeVar("V", bound=np.floating)
TARGET = 1e4  # counts of a cell are scaled to this sum before the logarithm


class Window(ABC):
    """Some cells in memory."""

    @abstractmethod
    def sparse(
        self, order: "NDArray[np.int64]", threads: int, buffers: Buffers
    ) -> "tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.float32]]":
        """Cells `order` (positions in the window) as indptr, indices and values of CSR."""

    @abstractmethod
    def dense(self, order: "NDArray[np.int64]", threads: int, out: "NDArray[np.float32]") -> None:
        """The same into dense rows of `out`, float32 (len(order), genes)."""


class Rows(ABC):
    """Cells of which windows can be read into memory.

    Attributes
    ----------
    n
        Number of cells.
    genes
        Number of columns.
    nbytes
        Memory of all of them in a window.
    """

    n: int
    genes: int
    nbytes: int

    @abstractmethod
    def window(self, positions: "NDArray[np.int64]") -> Window:
        """Read cells into memory; `positions` rise, without duplicates."""


class MemoryRows(Rows):
    """Cells of a matrix in memory, float32 (n, genes), whose values are used unchanged; indices must be sorted."""

    def __init__(self, matrix: "csr_matrix") -> None:
        self.n, self.genes = matrix.shape
        self.matrix = matrix
        self.nbytes = 0  # nothing needs to be read

    def window(self, positions: "NDArray[np.int64]") -> Window:
        """A view of the matrix."""
        return _MatrixWindow(self.matrix, positions)


class _MatrixWindow(Window):
    def __init__(self, matrix: "csr_matrix", positions: "NDArray[np.int64]") -> None:
        self._matrix, self._positions = matrix, positions

    def sparse(
        self, order: "NDArray[np.int64]", threads: int, buffers: Buffers
    ) -> "tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.float32]]":
        part = self._matrix[self._positions[order]]
        return part.indptr.astype(np.int64), part.indices.astype(np.int32), part.data.astype(np.float32)

    def dense(self, order: "NDArray[np.int64]", threads: int, out: "NDArray[np.float32]") -> None:
        self._matrix[self._positions[order]].toarray(out=out)


class PackedWindow(Window):
    """Encoded cells in memory.

    Parameters
    ----------
    buffer
        The bytes.
    records
        begins, ends, nnz and wide, each (n,): where each record lies and what it holds.
    genes
        Number of columns that the records know.
    column
        What becomes of every gene; see `gene_columns`.
    target
        Sum of a cell before the logarithm; 0 for the counts themselves.
    name
        Which cell of which file a row of the window is, for an error.
    """

    def __init__(
        self,
        buffer: "NDArray[np.uint8]",
        records: "Records",
        genes: int,
        *,
        column: "NDArray[np.int32]",
        target: float,
        name: Callable[[int], str],
    ) -> None:
        self.buffer, self.records = buffer, records
        self.genes, self.column, self.target, self.name = genes, column, target, name
        self._width = int(records["nnz"].max(initial=0))

    def _run(self, kernel: Callable[..., None], order: "NDArray[np.int64]", threads: int, *arguments: object) -> None:
        bad, r = np.full(1, -1, dtype=np.int64), self.records
        what = (self.buffer, r["begins"], r["ends"], r["nnz"], r["wide"], order, self.genes, self.column, self._width)
        pool.run(kernel, len(order), threads, *what, *arguments, bad)
        if bad[0] >= 0:
            raise DataError(
                f"{self.name(int(bad[0]))}: its bytes are not a record of {self.genes} genes; the file was changed "
                "or damaged, `annobench verify` says which files are; make the store again"
            )

    def sparse(
        self, order: "NDArray[np.int64]", threads: int, buffers: Buffers
    ) -> "tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.float32]]":
        """As in Window."""
        return self.decoded(order, threads, buffers, np.float32)

    def decoded(
        self, order: "NDArray[np.int64]", threads: int, buffers: Buffers, dtype: type[V]
    ) -> "tuple[NDArray[np.int64], NDArray[np.int32], NDArray[V]]":
        """As `sparse`, with values of a type: float32 cannot hold every count."""
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


def gene_columns(genes: int, kept: "Chosen | None" = None, features: "Chosen | None" = None) -> "NDArray[np.int32]":
    """What becomes of every gene when a cell is decoded.

    Parameters
    ----------
    genes
        Number of genes of the records.
    kept
        The genes that make up the sum of a cell, such as those of a panel; None for all.
    features
        The columns that are given, as positions in `kept`; None for all.

    Returns
    -------
    Array (genes,): the new position of a gene, -1 for one that is not kept, -2 for one that counts for the sum only.
    Empty where all genes are given.
    """
    there = _rising(kept, genes)
    chosen = there[_rising(features, len(there))]
    if len(chosen) == genes:
        return np.empty(0, dtype=np.int32)
    column = np.full(genes, -1, dtype=np.int32)
    column[there] = -2
    column[chosen] = np.arange(len(chosen), dtype=np.int32)
    return column


def _rising(positions: "Chosen | None", n: int) -> "NDArray[np.intp]":
    """Positions below n; raises DataError where they do not rise."""
    if positions is None:
        return np.arange(n)
    given = np.asarray(positions)
    rising = np.flatnonzero(given) if given.dtype == bool and len(given) == n else given.astype(np.intp)
    if len(rising) and (rising[0] < 0 or rising[-1] >= n or (np.diff(rising) <= 0).any()):
        raise DataError(f"genes must be given as rising positions below {n}")
    return rising


def n_columns(column: "NDArray[np.int32]", genes: int) -> int:
    """Number of columns that `gene_columns` leaves of `genes`."""
    return int((column >= 0).sum()) if len(column) else genes


def record_table(index: "NDArray[np.void]") -> "Records":
    """The index of records that lie one after the other in a buffer, as a window needs it."""
    offsets = index["offset"].astype(np.int64)
    return {
        "begins": offsets[:-1],
        "ends": offsets[1:],
        "nnz": index["nnz"][:-1].astype(np.int64),
        "wide": index["wide"][:-1].astype(np.int64),
    }


class PackedRows(Rows):
    """Counts of a matrix in memory, packed into a quarter of the memory, decoded as log1p of counts per 10,000.

    Parameters
    ----------
    counts
        Whole, non-negative counts (n, genes). The sum of a cell is that over all genes.
    features
        The genes that are given; None for all.
    target
        Sum of a cell before the logarithm.
    threads
        For packing.
    """

    def __init__(
        self, counts: "csr_matrix", features: "Chosen | None" = None, *, target: float = TARGET, threads: int = 1
    ) -> None:
        from annobench.cells.store.checks import checked_counts

        counts = checked_counts(counts, "the matrix")
        self._column = gene_columns(counts.shape[1], None, features)
        self._target = target
        buffer, index = codec.encode(counts.indptr, counts.indices, counts.data, threads)
        self._buffer, self._records, self._genes = buffer, record_table(index), counts.shape[1]
        self.n = counts.shape[0]
        self.genes = n_columns(self._column, counts.shape[1])
        self.nbytes = 0  # nothing needs to be read

    def window(self, positions: "NDArray[np.int64]") -> PackedWindow:
        """The records of these cells, in place."""
        records = {key: values[positions] for key, values in self._records.items()}
        return PackedWindow(
            self._buffer,
            records,
            self._genes,
            column=self._column,
            target=self._target,
            name=lambda row: f"cell {positions[row]}",
        )
