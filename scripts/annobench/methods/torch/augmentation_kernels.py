"""Sparse cells plus sparse vectors, row by row: the CPU's part of augmentation."""

# the kernels are typed by numba
# mypy: disallow-untyped-defs=False, disallow-untyped-calls=False

from annobench.core.jit import njit


@njit
def shift_rows(
    first,
    last,
    indptr,
    indices,
    values,
    starts,
    columns,
    steps,
    chosen,
    sign,
    highest,
    room,
    out_indices,
    out_values,
    sizes,
):
    """Write clamp(cell + sign * vector, 0, highest) without its zeros; sizes[cell]: how many non-zeros there are.

    indptr, indices, values: the cells as CSR. starts, columns, steps: the vectors likewise. room[cell]: where a cell
    may write, for as many values as cell and vector have together. One step takes the next column of either, or of
    both; it has no branch, since no processor could guess which.
    """
    for cell in range(first, last):
        i, end, k = indptr[cell], indptr[cell + 1], room[cell]
        j, stop = starts[chosen[cell]], starts[chosen[cell] + 1]
        factor = sign[cell]
        while i < end and j < stop:
            a, b = indices[i], columns[j]
            of_cell, of_vector = a <= b, b <= a
            value = of_cell * values[i] + of_vector * factor * steps[j]
            out_indices[k] = min(a, b)
            out_values[k] = min(value, highest)
            k += value > 0
            i += of_cell
            j += of_vector
        while i < end:
            out_indices[k] = indices[i]
            out_values[k] = min(values[i], highest)
            k += values[i] > 0
            i += 1
        while j < stop:
            value = factor * steps[j]
            out_indices[k] = columns[j]
            out_values[k] = min(value, highest)
            k += value > 0
            j += 1
        sizes[cell] = k - room[cell]


@njit
def close_up(first, last, room, from_indices, from_values, indptr, indices, values):
    """Rows that lie apart, from room[row] on, one after the other as `indptr` says."""
    for row in range(first, last):
        size = indptr[row + 1] - indptr[row]
        at, to = room[row], indptr[row]
        indices[to : to + size] = from_indices[at : at + size]
        values[to : to + size] = from_values[at : at + size]
