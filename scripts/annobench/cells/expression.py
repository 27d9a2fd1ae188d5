"""States of expression values (`counts`, `log1p_cp10k`, `log1p_cpm`), and statistics of them."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, TypeAlias, cast

import numpy as np

from annobench.core.errors import MethodSkipped

if TYPE_CHECKING:
    from anndata import AnnData
    from numpy.typing import NDArray
    from scipy.sparse import csr_matrix, spmatrix

    from annobench.cells.store.loader import Loader
    from annobench.cells.store.rows import Chosen, MemoryRows, Rows
    from annobench.cells.stored_cells import StoredCells

    Values: TypeAlias = spmatrix | NDArray[np.number]

_BINS = 20
_STRETCH = 1 << 22  # non-zeros that are processed together


def linear(matrix: "Values", state: str, dtype: str = "float32") -> "csr_matrix":
    """Values before the logarithm, as a CSR copy.

    Parameters
    ----------
    matrix
        Values (cells, genes) in some state.
    state
        What they are: counts, or log1p of counts per 10,000 or per million.
    dtype
        Type of the result.

    Returns
    -------
    CSR (cells, genes): the counts, or what `numpy.expm1` makes of the values.
    """
    from scipy.sparse import csr_matrix

    values = csr_matrix(matrix, dtype=dtype, copy=True)
    if state != "counts":
        np.expm1(values.data, out=values.data)
    return values


def to_cp10k(matrix: "Values", state: str) -> "csr_matrix":
    """log1p of counts per 10,000 over the genes of the matrix.

    Parameters
    ----------
    matrix
        Values (cells, genes) in any state.
    state
        What they are.

    Returns
    -------
    CSR float32 (cells, genes); a cell without counts stays zero.
    """
    values = linear(matrix, state, "float64")
    totals = np.asarray(values.sum(axis=1)).ravel()
    scale = np.divide(1e4, totals, out=np.zeros_like(totals), where=totals > 0)
    values.data = np.log1p(values.data * np.repeat(scale, np.diff(values.indptr)))
    return values.astype(np.float32)


def in_state(matrix: "Values", state: str, given: str = "counts") -> "Values":
    """Convert values to a state, so that every cell sums to its scale.

    Parameters
    ----------
    matrix
        Values (cells, genes); of a logarithmic state they may be those of some genes only.
    state
        What they shall be. Values that shall be counts are returned as they are.
    given
        What they are.

    Returns
    -------
    CSR float32 (cells, genes), or `matrix` itself.
    """
    if state == "counts":
        return matrix
    values = to_cp10k(matrix, given)
    if state == "log1p_cpm":
        values.data = np.log1p(np.expm1(values.data) * 100).astype(np.float32)
    return values


def log_normalised(adata: "AnnData") -> "csr_matrix":
    """log1p of counts per 10,000 over all genes of some cells, whatever their matrix holds.

    Parameters
    ----------
    adata
        Prepared cells; `uns["annobench"]["matrix"]` says what their values are.

    Returns
    -------
    CSR float32 (cells, genes); a cell without counts stays zero.

    Raises
    ------
    MethodSkipped
        For values that cannot be converted.
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
    """Mean and variance over cells of the expression of every gene before the logarithm.

    Nothing is copied as a whole. Sums of values and squares in float64 suffice: no mean is large beside its standard
    deviation.

    Parameters
    ----------
    cells
        log1p CP10k values: a CSR matrix (cells, genes), or a loader, over which one pass is made.

    Returns
    -------
    Mean and sample variance, each float64 (genes,).
    """
    n, genes = cells.shape if hasattr(cells, "shape") else (cells.rows.n, cells.rows.genes)
    total, squares = np.zeros(genes), np.zeros(genes)
    for indices, values in _stretches(cells):
        expression = np.expm1(values, dtype=np.float64)
        total += np.bincount(indices, expression, genes)
        np.square(expression, out=expression)
        squares += np.bincount(indices, expression, genes)
    mean = total / n
    return mean, (squares / n - mean**2) * n / max(n - 1, 1)


def _stretches(cells: "csr_matrix | Loader") -> "Iterator[tuple[NDArray[np.integer], NDArray[np.floating]]]":
    """Gene positions and values of all cells, a stretch at a time."""
    if hasattr(cells, "epoch"):
        yield from ((batch.indices, batch.values) for batch in cells.epoch())
        return
    matrix = cast("csr_matrix", cells)
    for start in range(0, matrix.nnz, _STRETCH):
        part = slice(start, start + _STRETCH)
        yield matrix.indices[part], matrix.data[part]


def rows_of(cells: "AnnData | StoredCells", features: "Chosen | None" = None, threads: int = 1) -> "Rows":
    """Cells for a loader, in their order, as log1p of counts per 10,000.

    Parameters
    ----------
    cells
        Prepared cells, in memory or in a store. Values are normalised over all of their genes.
    features
        The genes that are given: rising positions, or a mask; None for all.
    threads
        For packing counts in memory.
    """
    from annobench.cells.store.rows import PackedRows
    from annobench.cells.stored_cells import is_stored

    if is_stored(cells):
        return cells.rows(features)
    if str(cells.uns["annobench"]["matrix"]) == "counts":
        return PackedRows(cells.X, features, threads=threads)
    return normalised_rows(cells, features)


def normalised_rows(cells: "AnnData", features: "Chosen | None" = None) -> "MemoryRows":
    """As `rows_of`, with the normalised values in memory."""
    from annobench.cells.store.rows import MemoryRows

    matrix = log_normalised(cells)
    if features is not None:
        matrix = matrix[:, features]
    matrix.sort_indices()
    return MemoryRows(matrix)


def variable_genes(cells: "csr_matrix | Loader", n_genes: int) -> "NDArray[np.intp]":
    """The most variable genes by normalised dispersion.

    Variance over mean of the expression before the logarithm, standardised within 20 bins of mean expression: the
    `seurat` flavour of scanpy (Satija et al., Nature Biotechnology 2015, doi 10.1038/nbt.3192).

    Parameters
    ----------
    cells
        log1p CP10k values: a CSR matrix (cells, genes), or a loader, over which one pass is made.
    n_genes
        How many genes to choose.

    Returns
    -------
    Sorted positions (n_genes,); of all genes where there are no more.
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
        deviation = dispersion[members].std(ddof=1) if len(members) > 1 else np.nan
        # a gene alone in its bin scores 1, as in the original
        score[members] = 1.0 if not deviation > 0 else (dispersion[members] - dispersion[members].mean()) / deviation
    return np.sort(np.argsort(-score, kind="stable")[:n_genes])
