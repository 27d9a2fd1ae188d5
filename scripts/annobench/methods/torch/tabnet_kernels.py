"""Compiled loops of TabNet's sparse path: see annobench.methods.torch.tabnet_sparse.

All of them work on a range of rows, or of genes, write only what belongs to it, and sum in one fixed order.
"""

from typing import TYPE_CHECKING

import numpy as np

from annobench.core.jit import njit

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.floating]
    Integers = NDArray[np.integer]

BLOCK = 32  # genes whose largest logit is kept
NEWTON_STEPS = 100  # never reached: the search stops when the threshold rises no more, mostly after five


@njit
def column_sums(
    start: int, stop: int, indptr: "Integers", indices: "Integers", values: "Floats", sums: "Floats"
) -> None:
    """Sums and sums of squares of every column over parts of the rows: sums (parts, 2, genes), zeros before."""
    rows, parts = len(indptr) - 1, len(sums)
    for part in range(start, stop):
        for e in range(indptr[rows * part // parts], indptr[rows * (part + 1) // parts]):
            value = np.float64(values[e])
            sums[part, 0, indices[e]] += value
            sums[part, 1, indices[e]] += value * value


@njit
def scale_columns(start: int, stop: int, indices: "Integers", values: "Floats", a: "Floats", out: "Floats") -> None:
    """Write values * a of their column to out."""
    for e in range(start, stop):
        out[e] = values[e] * a[indices[e]]


@njit(fastmath=True)
def normalised_gradient(
    start: int,
    stop: int,
    weight: "Floats",
    total: "Floats",
    a: "Floats",
    b: "Floats",
    mean: "Floats",
    rstd: "Floats",
    grad_weight: "Floats",
    grad_gamma: "Floats",
) -> None:
    """Turn x^T dy in grad_weight into x_bn^T dy, in place, with the gradient of gamma; total: 1^T dy."""
    for j in range(start, stop):
        gamma = weight[0, 0] * 0
        for k in range(weight.shape[1]):
            product = grad_weight[j, k]
            gamma += weight[j, k] * (product - mean[j] * total[k])
            grad_weight[j, k] = a[j] * product + b[j] * total[k]
        grad_gamma[j] = rstd[j] * gamma


@njit(fastmath=True)
def _newton(x: "Floats", count: int, t: float) -> float:
    """Root of |max(x - t, 0)| = 1 over x[:count], from a start below it: see entmax.threshold."""
    for _ in range(NEWTON_STEPS):
        total, squares = 0.0, 0.0
        for e in range(count):
            above = max(x[e] - t, 0.0)
            total += above
            squares += above * above
        norm = np.sqrt(squares)
        if norm <= 1:
            break
        t += norm * (norm - 1) / total
    return t


@njit(fastmath=True)
def _block_maxima(z: "Floats", shift: "Floats", maxima: "Floats") -> None:
    """Largest z + shift of each block of genes."""
    whole = len(z) // BLOCK
    for block in range(whole):
        first = block * BLOCK
        top = z[first] + shift[first]
        for j in range(first, first + BLOCK):
            top = max(top, z[j] + shift[j])
        maxima[block] = top
    if whole < len(maxima):
        top = z[whole * BLOCK] + shift[whole * BLOCK]
        for j in range(whole * BLOCK, len(z)):
            top = max(top, z[j] + shift[j])
        maxima[whole] = top


@njit
def entmax_rows(
    start: int, stop: int, z: "Floats", shift: "Floats", genes: "Integers", values: "Floats", counts: "Integers"
) -> None:
    """Entmax-1.5 of rows of finite logits z + shift: the number of entries above zero, and these in genes and values.

    The threshold of the maxima of blocks, which are some of the entries, is no higher than that of all: only blocks
    whose maximum exceeds it can hold entries above zero. genes, values: of the shape of z, for the first of each row.
    """
    maxima = np.empty(-(-len(shift) // BLOCK), dtype=z.dtype)
    x = np.empty(len(shift) + 1)
    for i in range(start, stop):
        _block_maxima(z[i], shift, maxima)
        top = np.float64(maxima.max())
        count = 0
        for value in maxima:  # compaction without a branch: what is not kept is overwritten
            x[count] = (value - top) / 2
            count += x[count] > -1
        t = _newton(x, count, -1.0)
        count = 0
        for block in range(len(maxima)):
            if (maxima[block] - top) / 2 > t:
                for j in range(block * BLOCK, min(len(shift), (block + 1) * BLOCK)):
                    x[count], genes[i, count] = (np.float64(z[i, j] + shift[j]) - top) / 2, j
                    count += x[count] > t
        t = _newton(x, count, t)
        counts[i] = 0
        for e in range(count):
            if x[e] > t:
                genes[i, counts[i]], values[i, counts[i]] = genes[i, e], (x[e] - t) ** 2
                counts[i] += 1


@njit
def compact(
    start: int,
    stop: int,
    genes: "Integers",
    values: "Floats",
    indptr: "Integers",
    genes_out: "Integers",
    values_out: "Floats",
) -> None:
    """Put the first entries of each row behind one another, row i at indptr[i]."""
    for i in range(start, stop):
        for e in range(indptr[i], indptr[i + 1]):
            genes_out[e], values_out[e] = genes[i, e - indptr[i]], values[i, e - indptr[i]]


@njit
def look_up(
    start: int,
    stop: int,
    indptr: "Integers",
    indices: "Integers",
    values: "Floats",
    support: "Integers",
    genes: "Integers",
    out: "Floats",
) -> None:
    """Values of sparse rows at the positions of other sparse rows, `support` and `genes`; indices rise in a row."""
    for i in range(start, stop):
        low, high = indptr[i], indptr[i + 1]
        for e in range(support[i], support[i + 1]):
            low += np.searchsorted(indices[low:high], genes[e])
            out[e] = values[low] if low < high and indices[low] == genes[e] else 0


@njit(fastmath=True)
def mask_gradient(
    start: int,
    stop: int,
    support: "Integers",
    genes: "Integers",
    mask: "Floats",
    cells: "Floats",
    grad_product: "Floats",
    weight: "Floats",
    grad_entropy: float,
    log_epsilon: float,
    grad_cells: "Floats",
    grad_z: "Floats",
) -> None:
    """Gradients of the normalised cells and of the logits z on the support, from that of masked cells times weight.

    cells, grad_cells: the normalised cells on the support, and theirs. grad_entropy: of one cell's sum of M log M.
    """
    for i in range(start, stop):
        total, roots = grad_z.dtype.type(0), grad_z.dtype.type(0)
        for e in range(support[i], support[i + 1]):
            dot = grad_z.dtype.type(0)
            for k in range(weight.shape[1]):
                dot += grad_product[i, k] * weight[genes[e], k]
            grad_cells[e] = dot * mask[e]
            padded = mask[e] + log_epsilon
            grad_z[e] = dot * cells[e] + grad_entropy * (np.log(padded) + mask[e] / padded)
            total += grad_z[e] * np.sqrt(mask[e])
            roots += np.sqrt(mask[e])
        for e in range(support[i], support[i + 1]):
            grad_z[e] = np.sqrt(mask[e]) * (grad_z[e] - total / roots)


@njit(fastmath=True)
def logit_gradient(
    start: int,
    stop: int,
    support: "Integers",
    genes: "Integers",
    piece: "Integers",
    grad_z: "Floats",
    scale: "Floats",
    rstd: "Floats",
    offset: "Floats",
    attention: "Floats",
    weight: "Floats",
    z_hat: "Floats",
    grad_attention: "Floats",
) -> None:
    """The normalised logits on the support, and the sparse part of the gradient of the attention's input."""
    for i in range(start, stop):
        for e in range(support[i], support[i + 1]):
            j = genes[e]
            dot = grad_z.dtype.type(0)
            factor = scale[piece[i], j] * grad_z[e]
            for k in range(weight.shape[1]):
                dot += attention[i, k] * weight[j, k]
                grad_attention[i, k] += factor * weight[j, k]
            z_hat[e] = rstd[piece[i], j] * (dot - offset[j])


@njit
def by_gene(support: "Integers", genes: "Integers", columns: "Integers", entries: "Integers", rows: "Integers") -> None:
    """Sort the entries of sparse rows by gene, then row: columns (genes + 1,) begins, entries and rows (nnz,)."""
    columns[:] = 0
    for gene in genes:
        columns[gene + 1] += 1
    for j in range(len(columns) - 1):
        columns[j + 1] += columns[j]
    at = columns[:-1].copy()
    for i in range(len(support) - 1):
        for e in range(support[i], support[i + 1]):
            entries[at[genes[e]]], rows[at[genes[e]]] = e, i
            at[genes[e]] += 1


@njit(fastmath=True)
def gene_gradients(
    start: int,
    stop: int,
    columns: "Integers",
    entries: "Integers",
    rows: "Integers",
    piece: "Integers",
    grad_z: "Floats",
    z_hat: "Floats",
    scale: "Floats",
    attention: "Floats",
    grad_weight: "Floats",
    sums: "Floats",
    products: "Floats",
) -> None:
    """The sparse part of the gradient of the attention's weights, and what the rest needs, all zeros before.

    sums, products: (pieces, genes), sums of dz and of dz z_hat over the rows of a piece.
    """
    for j in range(start, stop):
        for position in range(columns[j], columns[j + 1]):
            e, i = entries[position], rows[position]
            sums[piece[i], j] += grad_z[e]
            products[piece[i], j] += grad_z[e] * z_hat[e]
            factor = scale[piece[i], j] * grad_z[e]
            for k in range(grad_weight.shape[1]):
                grad_weight[j, k] += factor * attention[i, k]
