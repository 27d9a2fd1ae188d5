"""What the values of a matrix are, checked on every row."""

from typing import TYPE_CHECKING

import numpy as np

from annobench.core.errors import DataError, nearest

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData
    from numpy.typing import ArrayLike, NDArray
    from scipy.sparse import csr_matrix

SCALE = {"log1p_cp10k": 1e4, "log1p_cpm": 1e6}


def take_slot(adata: "AnnData", slot: str, file: str) -> "tuple[csr_matrix, pd.DataFrame]":
    """The matrix of a slot as CSR float32, and the var that belongs to it."""
    from scipy.sparse import csr_matrix

    if slot == "raw":
        if adata.raw is None:
            raise DataError(
                f"{file}: matrix.slot: the file has no .raw; use X or layers/NAME (layers: "
                f"{', '.join(adata.layers) or 'none'})"
            )
        values, var = adata.raw.X, adata.raw.var
    elif slot == "X":
        values, var = adata.X, adata.var
    else:
        name = slot.removeprefix("layers/")
        if name not in adata.layers:
            raise DataError(
                f"{file}: matrix.slot: no layer "
                f"'{name}'{nearest(name, adata.layers) if len(adata.layers) else '; the file has no layers'}"
            )
        values, var = adata.layers[name], adata.var
    if values is None:
        raise DataError(f"{file}: matrix.slot: {slot} holds no matrix")
    matrix = csr_matrix(values, dtype="float32")
    # files may hold positions of two types, with which not everything works
    matrix = csr_matrix((matrix.data, matrix.indices, matrix.indptr), shape=matrix.shape)
    matrix.sum_duplicates()
    matrix.eliminate_zeros()
    return matrix, var


def check_finite(matrix: "csr_matrix", file: str, first: int = 0) -> None:
    """Refuse NaN, infinite and negative values, of counts and of log1p values; `first` is the number of row 0."""
    if not np.isfinite(matrix.data).all():
        row = first + _row_of(matrix, ~np.isfinite(matrix.data))
        raise DataError(
            f"{file}: matrix: {int((~np.isfinite(matrix.data)).sum())} values are NaN or infinite (first in row "
            f"{row}); repair the file"
        )
    if (matrix.data < 0).any():
        row = first + _row_of(matrix, matrix.data < 0)
        raise DataError(
            f"{file}: matrix: {int((matrix.data < 0).sum())} values are negative (lowest {matrix.data.min():g}, "
            f"first in row {row}); "
            "these look like scaled values, name the slot with the counts in `matrix.slot`"
        )


def check_counts(matrix: "csr_matrix", tolerance: float, file: str, first: int = 0) -> "csr_matrix":
    """Values within `tolerance` of whole numbers, rounded to them, in their type; raises DataError otherwise."""
    if matrix.data.dtype.kind in "iub":
        return matrix
    rounded = np.rint(matrix.data)
    away = np.abs(matrix.data - rounded)
    if away.max(initial=0.0) > tolerance:
        bad = away > tolerance
        state = "log1p values" if matrix.data.max() < 20 else "normalised values"
        raise DataError(
            f"{file}: matrix.state says counts, but {bad.sum()} of {len(bad)} values are not whole numbers "
            f"(first in row {first + _row_of(matrix, bad)}: {matrix.data[bad][0]:g}); these look like {state}: "
            "name the slot with the counts, or say what they are in `matrix.state`"
        )
    matrix.data = rounded
    matrix.eliminate_zeros()
    return matrix


def recover_counts(matrix: "csr_matrix", state: str, totals: "ArrayLike", tolerance: float, file: str) -> "csr_matrix":
    """Counts from log1p values and the total counts per cell (n,): round(expm1(x) * total / scale)."""
    if state not in SCALE:
        raise DataError(f"{file}: matrix.counts_from: only log1p values can be converted back, state is '{state}'")
    totals = np.asarray(totals, dtype=float)
    if not np.isfinite(totals).all() or (totals <= 0).any():
        raise DataError(f"{file}: matrix.counts_from: the totals must be positive numbers for every cell")
    per_value = np.repeat(totals / SCALE[state], np.diff(matrix.indptr))
    matrix.data = (np.expm1(matrix.data.astype(float)) * per_value).astype("float32")
    return check_counts(matrix, tolerance, file)


def check_log1p(matrix: "csr_matrix", state: str, file: str) -> None:
    """log1p of counts per 10,000 or per million: no row may sum to more than the scale (a gene subset sums to less)."""
    sums = np.zeros(matrix.shape[0])
    np.add.at(sums, np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr)), np.expm1(matrix.data.astype(float)))
    if sums.max(initial=0) > SCALE[state] * 1.05:
        raise DataError(
            f"{file}: matrix.state says {state}, but row {int(sums.argmax())} sums to {sums.max():.3g} after expm1, "
            f"more than {SCALE[state]:g}; state what the values are"
        )


def _row_of(matrix: "csr_matrix", mask: "NDArray[np.bool_]") -> int:
    return int(np.searchsorted(matrix.indptr, np.flatnonzero(mask)[0], side="right") - 1)


def placed(matrix: "csr_matrix", columns: "tuple[NDArray[np.intp], NDArray[np.intp]]", genes: int) -> "csr_matrix":
    """Some columns of a matrix, moved to places among `genes` columns that are zero elsewhere.

    `columns` holds which columns are taken, and their places.
    """
    from scipy.sparse import csr_matrix

    taken, places = columns
    part = matrix[:, taken]
    if len(places) == genes:
        return part
    part = part.tocoo()
    return csr_matrix((part.data, (part.row, places[part.col])), shape=(matrix.shape[0], genes))
