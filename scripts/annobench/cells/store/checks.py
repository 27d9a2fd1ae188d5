"""What the store refuses: anything but whole, non-negative counts of 32 bits in sorted rows."""

from typing import TYPE_CHECKING, Any

import numpy as np

from annobench.cells.store.codec import MAX_COUNT
from annobench.core.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from scipy.sparse import csr_matrix

_TOO_LARGE = MAX_COUNT + 1  # a power of two: float32, which knows no number beside it, compares it as it is


def checked_counts(matrix: Any, where: str, first: int = 0) -> "csr_matrix":
    """The matrix as CSR with sorted indices and without zeros; raises DataError for what are no counts.

    `where` names the data and `first` is the number of its first cell, for the message. Counts may be of any numeric
    type; they are never rounded and never wrap. Genes that stand twice in a cell are added up.
    """
    found = canonical(matrix, where)
    values = found.data
    if values.dtype.kind not in "iufb":
        raise DataError(f"{where}: the values are of type {values.dtype}, expected numbers")
    bad, what = _not_counts(values)
    if bad is not None:
        at = int(np.flatnonzero(bad)[0])
        row = int(np.searchsorted(found.indptr, at, side="right") - 1)
        raise DataError(
            f"{where}: {int(bad.sum())} values are {what} (first: {values[at]:g} in cell {first + row}); "
            "a store holds raw counts, name the slot with the counts in `matrix.slot`"
        )
    if len(values) and not values.all():
        found = found.copy()
        found.eliminate_zeros()
    return found


def canonical(matrix: Any, where: str) -> "csr_matrix":
    """The matrix as CSR whose indices rise within a row; raises DataError where they are no indices.

    What stands twice is added up in a type that holds the sum.
    """
    from scipy.sparse import csr_matrix, issparse

    if issparse(matrix) and matrix.format == "coo":  # turning it into rows adds up
        matrix = _summable(matrix, where)
    found = matrix if issparse(matrix) and matrix.format == "csr" else csr_matrix(matrix)
    indices, indptr = found.indices, found.indptr
    if (np.diff(indptr) < 0).any() or (len(indices) and (indices.min() < 0 or indices.max() >= found.shape[1])):
        raise DataError(f"{where}: the matrix is damaged: its indices lie outside its {found.shape[1]} genes or fall")
    if not found.has_canonical_format:
        found = _summable(found, where)
        found.sum_duplicates()
    return found


def _summable(matrix: Any, where: str) -> Any:
    """A copy in a type that holds sums of counts; raises DataError for values that would hide in a sum."""
    values = matrix.data if matrix.data.dtype.kind in "iufb" else np.empty(0)
    if (hidden := (values < 0) | (values >= _TOO_LARGE)).any():
        raise DataError(
            f"{where}: {int(hidden.sum())} values are negative or larger than {MAX_COUNT} (first: "
            f"{values[hidden][0]:g}); these are no raw counts, name the slot with the counts in `matrix.slot`"
        )
    wide = np.float64 if matrix.dtype.kind == "f" else np.int64 if matrix.dtype.kind in "iub" else matrix.dtype
    return matrix.astype(wide, copy=True)


def _not_counts(values: "NDArray[Any]") -> "tuple[NDArray[np.bool_] | None, str]":
    """Which values are no counts, and why not; None where all are."""
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
