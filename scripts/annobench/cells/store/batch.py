"""Batches that a loader gives: cells as sparse or dense rows, with their class numbers."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from scipy.sparse import csr_matrix


@dataclass
class Batch:
    """Cells as CSR rows.

    Parameters
    ----------
    indptr
        (n + 1,).
    indices
        (nnz,), rising within a row.
    values
        (nnz,), log-normalised.
    codes
        (n,), class numbers; -1 where none were given.
    rows
        (n,), positions among the rows of the loader.
    genes
        Number of columns.
    """

    indptr: "NDArray[np.int64]"
    indices: "NDArray[np.int32]"
    values: "NDArray[np.float32]"
    codes: "NDArray[np.int64]"
    rows: "NDArray[np.int64]"
    genes: int

    @property
    def n(self) -> int:
        """Number of cells."""
        return len(self.codes)

    @classmethod
    def from_csr(cls, matrix: "csr_matrix", codes: "NDArray[np.int64] | None" = None) -> "Batch":
        """All rows of a matrix; its indices must be sorted."""
        n, genes = matrix.shape
        return cls(
            matrix.indptr.astype(np.int64),
            matrix.indices.astype(np.int32),
            matrix.data.astype(np.float32),
            np.full(n, -1) if codes is None else np.asarray(codes, dtype=np.int64),
            np.arange(n),
            genes,
        )

    def csr(self) -> "csr_matrix":
        """The cells as a SciPy matrix, float32 (n, genes)."""
        from scipy.sparse import csr_matrix

        indptr = self.indptr.astype(np.int32)  # the type of the indices, which SciPy would copy otherwise
        return csr_matrix((self.values, self.indices, indptr), shape=(self.n, self.genes))

    def dense(self) -> "NDArray[np.float32]":
        """The cells as a dense matrix, float32 (n, genes)."""
        return self.csr().toarray()


@dataclass
class DenseBatch:
    """Cells as dense rows: `values` (n, genes), log-normalised; `codes` and `rows` as in Batch."""

    values: "NDArray[np.float32]"
    codes: "NDArray[np.int64]"
    rows: "NDArray[np.int64]"

    @property
    def n(self) -> int:
        """Number of cells."""
        return len(self.codes)
