"""What the store refuses: anything but whole, non-negative counts of 32 bits in sorted rows."""

from typing import TYPE_CHECKING, Any

import numpy as np

from annobench.errors import DataError
from annobench.store.codec import MAX_COUNT

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix


def checked_counts(matrix: Any, where: str, first: int = 0) -> "csr_matrix":
    """The matrix as CSR with sorted indices and without zeros; raises DataError for what are no counts.

    `where` names the data and `first` is the number of its first cell, for the message. Counts may be of any numeric
    type; they are never rounded and never wrap.
    """
    from scipy.sparse import csr_matrix, issparse

    found = matrix if issparse(matrix) and matrix.format == "csr" else csr_matrix(matrix)
    values = found.data
    if values.dtype.kind not in "iufb":
        raise DataError(f"{where}: the values are of type {values.dtype}, expected numbers")
    bad, what = None, ""
    if values.dtype.kind == "f":
        # NaN and infinite values fail this comparison as fractions do
        with np.errstate(invalid="ignore"):
            bad, what = values != np.floor(values), "not a whole number"
            bad |= ~np.isfinite(values)
    if bad is None or not bad.any():
        if values.dtype.kind in "if" and (values < 0).any():
            bad, what = values < 0, "negative"
        elif values.dtype.itemsize >= 4 and values.dtype != np.uint32 and (values > MAX_COUNT).any():
            bad, what = values > MAX_COUNT, f"larger than {MAX_COUNT}"
        else:
            bad = None
    if bad is not None and bad.any():
        at = int(np.flatnonzero(bad)[0])
        row = int(np.searchsorted(found.indptr, at, side="right") - 1)
        raise DataError(
            f"{where}: {int(bad.sum())} values are {what} (first: {values[at]:g} in cell {first + row}); "
            "a store holds raw counts, name the slot with the counts in `matrix.slot`"
        )
    if not found.has_canonical_format or (len(values) and not values.all()):
        found = found.copy()
        found.sum_duplicates()
        if (found.data > MAX_COUNT).any():
            raise DataError(f"{where}: counts of a gene that stands twice add up to more than {MAX_COUNT}")
        found.eliminate_zeros()
    return found
