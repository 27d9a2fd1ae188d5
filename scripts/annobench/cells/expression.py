"""States of expression values (counts, log-normalised) and what is computed from them."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from annobench.core.errors import MethodSkipped

if TYPE_CHECKING:
    from anndata import AnnData
    from numpy.typing import NDArray
    from scipy.sparse import csr_matrix

    from annobench.cells.store.loader import Loader
    from annobench.cells.store.rows import MemoryRows, Rows
    from annobench.cells.stored_cells import StoredCells

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from anndata import AnnData
    from numpy.typing import NDArray
    from scipy.sparse import csr_matrix


def linear(matrix: Any, state: str, dtype: str = "float32") -> "csr_matrix":
    """Values before the logarithm, a CSR copy."""
    import numpy as np
    from scipy.sparse import csr_matrix

    found = csr_matrix(matrix, dtype=dtype, copy=True)
    if state != "counts":
        np.expm1(found.data, out=found.data)
    return found


def to_cp10k(matrix: Any, state: str) -> "csr_matrix":
    """log1p of counts per 10,000 over the genes of the matrix, whatever it holds; CSR float32. Empty cells stay so."""
    import numpy as np

    found = linear(matrix, state, "float64")
    totals = np.asarray(found.sum(axis=1)).ravel()
    scale = np.divide(1e4, totals, out=np.zeros_like(totals), where=totals > 0)
    found.data = np.log1p(found.data * np.repeat(scale, np.diff(found.indptr)))
    return found.astype(np.float32)


def in_state(matrix: Any, state: str, given: str = "counts") -> Any:
    """Values that are `given`, counts or some genes of a logarithmic state, as `state`, summing to its scale.

    What shall be counts stays as it is.
    """
    import numpy as np

    if state == "counts":
        return matrix
    found = to_cp10k(matrix, given)
    if state == "log1p_cpm":
        found.data = np.log1p(np.expm1(found.data) * 100).astype(np.float32)
    return found


_BINS = 20


_STRETCH = 1 << 22  # non-zeros that are looked at together


def log_normalised(adata: "AnnData") -> "csr_matrix":
    """log1p of counts per 10,000, whatever the matrix holds (counts, log1p_cp10k, log1p_cpm); CSR float32.

    A cell without counts stays zero.
    """
    from scipy.sparse import csr_matrix

    matrix = csr_matrix(adata.X, dtype=np.float32, copy=True)
    state = str(adata.uns["annobench"]["matrix"])
    if state == "counts":
        totals = np.asarray(matrix.sum(axis=1)).ravel()
        scale = np.divide(1e4, totals, out=np.zeros_like(totals), where=totals > 0)
        matrix.data *= np.repeat(scale, np.diff(matrix.indptr)).astype(np.float32)
        np.log1p(matrix.data, out=matrix.data)
    elif state == "log1p_cpm":
        matrix.data = np.log1p(np.expm1(matrix.data) / 100).astype(np.float32)
    elif state != "log1p_cp10k":
        raise MethodSkipped(f"the matrix holds '{state}', expected counts, log1p_cp10k or log1p_cpm")
    return matrix


def moments(cells: "csr_matrix | Loader") -> "tuple[NDArray[np.float64], NDArray[np.float64]]":
    """Mean and sample variance over cells of the expression of every gene before the logarithm, each float64 (genes,).

    From a matrix of log1p CP10k values, or in one pass over a loader; neither is copied as a whole. Sums of values and
    squares in float64 suffice: no mean is large beside its spread.
    """
    n, genes = cells.shape if hasattr(cells, "shape") else (cells.rows.n, cells.rows.genes)
    total, squares = np.zeros(genes), np.zeros(genes)
    for indices, values in _stretches(cells):
        linear = np.expm1(values, dtype=np.float64)
        total += np.bincount(indices, linear, genes)
        np.square(linear, out=linear)
        squares += np.bincount(indices, linear, genes)
    mean = total / n
    return mean, (squares / n - mean**2) * n / max(n - 1, 1)


def _stretches(cells: Any) -> "Iterator[tuple[NDArray[Any], NDArray[Any]]]":
    """Gene positions and values of all cells, a stretch at a time."""
    if hasattr(cells, "epoch"):
        yield from ((batch.indices, batch.values) for batch in cells.epoch())
        return
    for start in range(0, cells.nnz, _STRETCH):
        part = slice(start, start + _STRETCH)
        yield cells.indices[part], cells.data[part]


def rows_of(cells: "AnnData | StoredCells", features: "NDArray[Any] | None" = None, threads: int = 1) -> "Rows":
    """Cells for a loader, in their order, as log1p of counts per 10,000 over all genes of `cells`.

    features: the genes that are given (rising positions; all where None).
    """
    from annobench.cells.store.rows import PackedRows
    from annobench.cells.stored_cells import is_stored

    if is_stored(cells):
        return cells.rows(features)
    if str(cells.uns["annobench"]["matrix"]) == "counts":
        return PackedRows(cells.X, features, threads=threads)
    return normalised_rows(cells, features)


def normalised_rows(cells: "AnnData", features: "NDArray[Any] | None" = None) -> "MemoryRows":
    """The same with the values at hand in memory."""
    from annobench.cells.store.rows import MemoryRows

    matrix = log_normalised(cells)
    if features is not None:
        matrix = matrix[:, features]
    matrix.sort_indices()
    return MemoryRows(matrix)


def variable_genes(cells: "csr_matrix | Loader", n_genes: int) -> "NDArray[np.intp]":
    """Sorted positions of the most variable genes, from log1p CP10k values as a matrix or from a loader.

    Normalised dispersion (Satija et al. 2015, the `seurat` flavour of scanpy): variance over mean of the expression
    before the logarithm, standardised within 20 bins of mean expression. All genes where there are only n_genes.
    """
    genes = cells.shape[1] if hasattr(cells, "shape") else cells.rows.genes
    if genes <= n_genes:
        return np.arange(genes)
    mean, variance = moments(cells)
    with np.errstate(divide="ignore", invalid="ignore"):
        dispersion = np.log(variance / np.where(mean == 0, 1e-12, mean))
        dispersion[~np.isfinite(dispersion)] = np.nan
    level = np.log1p(mean)
    edges = np.linspace(level.min(), level.max(), _BINS + 1)
    bins = np.clip(np.searchsorted(edges, level, side="left") - 1, 0, _BINS - 1)
    score = np.full(genes, -np.inf)
    for number in np.unique(bins):
        members = np.flatnonzero((bins == number) & ~np.isnan(dispersion))
        if len(members) == 0:
            continue
        spread = dispersion[members].std(ddof=1) if len(members) > 1 else np.nan
        # a gene alone in its bin scores 1, as in the original
        score[members] = 1.0 if not spread > 0 else (dispersion[members] - dispersion[members].mean()) / spread
    return np.sort(np.argsort(-score, kind="stable")[:n_genes])
