"""Checks of what goes into a store: whole, non-negative counts of 32 bits in sorted rows."""

from typing import TYPE_CHECKING

import numpy as np

from annobench.cells.store.codec import MAX_COUNT
from annobench.core.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from scipy.sparse import csr_matrix, spmatrix

_TOO_LARGE = MAX_COUNT + 1  # a power of two, which float32 holds exactly


def checked_counts(matrix: "spmatrix | NDArray[np.generic]", where: str, first: int = 0) -> "csr_matrix":
    """Check that values are counts.

    Parameters
    ----------
    matrix
        Counts (cells, genes) of any numeric type; they are never rounded and never wrap. Duplicate entries of a cell
        are added up.
    where
        Names the data in messages.
    first
        Number of its first cell.

    Returns
    -------
    CSR with sorted indices and without zeros.

    Raises
    ------
    DataError
        For values that are not counts.
    """
    counts = canonical(matrix, where)
    values = counts.data
    if values.dtype.kind not in "iufb":
        raise DataError(f"{where}: the values are of type {values.dtype}, expected numbers")
    bad, what = _not_counts(values)
    if bad is not None:
        at = int(np.flatnonzero(bad)[0])
        row = int(np.searchsorted(counts.indptr, at, side="right") - 1)
        raise DataError(
            f"{where}: {int(bad.sum())} values are {what} (first: {values[at]:g} in cell {first + row}); "
            "a store holds raw counts, name the slot with the counts in `matrix.slot`"
        )
    if len(values) and not values.all():
        counts = counts.copy()
        counts.eliminate_zeros()
    return counts


def canonical(matrix: "spmatrix | NDArray[np.generic]", where: str) -> "csr_matrix":
    """The matrix as CSR whose indices rise within a row; raises DataError where they are damaged.

    Duplicate entries are added up in a type that holds the sum.
    """
    from scipy.sparse import csr_matrix

    if getattr(matrix, "format", None) == "coo":  # the conversion to rows adds up
        matrix = _summable(matrix, where)
    rows: csr_matrix = matrix if getattr(matrix, "format", None) == "csr" else csr_matrix(matrix)
    indices, indptr = rows.indices, rows.indptr
    if (np.diff(indptr) < 0).any() or (len(indices) and (indices.min() < 0 or indices.max() >= rows.shape[1])):
        raise DataError(f"{where}: the matrix is damaged: its indices lie outside its {rows.shape[1]} genes or fall")
    if not rows.has_canonical_format:
        rows = _summable(rows, where)
        rows.sum_duplicates()
    return rows


def _summable(matrix: "spmatrix", where: str) -> "spmatrix":
    """A copy in a type that holds sums of counts; raises DataError for values that would hide in a sum."""
    values = matrix.data if matrix.data.dtype.kind in "iufb" else np.empty(0)
    if (hidden := (values < 0) | (values >= _TOO_LARGE)).any():
        raise DataError(
            f"{where}: {int(hidden.sum())} values are negative or larger than {MAX_COUNT} (first: "
            f"{values[hidden][0]:g}); these are not raw counts, name the slot with the counts in `matrix.slot`"
        )
    wide = np.float64 if matrix.dtype.kind == "f" else np.int64 if matrix.dtype.kind in "iub" else matrix.dtype
    return matrix.astype(wide, copy=True)


def _not_counts(values: "NDArray[np.number]") -> "tuple[NDArray[np.bool_] | None, str]":
    """Which values are not counts, and why; None where all are."""
    if values.dtype.kind == "f":
        with np.errstate(invalid="ignore"):
            bad = (values != np.floor(values)) | ~np.isfinite(values)
        if bad.any():
            return bad, "not a whole number"
    if values.dtype.kind in "if" and (values < 0).any():
        return values < 0, "negative"
    if values.dtype.itemsize >= 4 and values.dtype != np.uint32 and (values >= _TOO_LARGE).any():
        return values >= _TOO_LARGE, f"larger than {MAX_COUNT}"
    return None, ""
