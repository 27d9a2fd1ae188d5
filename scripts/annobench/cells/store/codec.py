"""Sparse rows of counts as bytes: about two for every non-zero.

A record is one cell:

- gaps: for each non-zero, in the order of the genes, the number of genes skipped since the one before; a byte 255
  stands for 255 skipped genes and no non-zero, and is followed by more of the gap;
- counts: one byte for each non-zero; 255 says that the count is among the wide ones;
- wide counts: unsigned 32-bit integers, little-endian, in order.

With a tenth of 20,000 genes in a cell, gaps and counts of 255 or more are rare. The bytes take a quarter of the memory
of 32-bit indices and values, so four times as many cells fit into memory or are read in the same time; decoding costs
less than reading the difference.
"""

from typing import TYPE_CHECKING

import numpy as np

from annobench.core import threads as pool
from annobench.core.jit import njit

if TYPE_CHECKING:
    from numpy.typing import NDArray

MAX_COUNT = 2**32 - 1
_TABLE = 32  # values of log1p kept for every cell; nearly all counts are smaller
INDEX = np.dtype([("offset", "<u8"), ("nnz", "<u4"), ("wide", "<u4")])  # one row for every record, and one for the end


def encode(
    indptr: "NDArray[np.integer]", indices: "NDArray[np.integer]", counts: "NDArray[np.number]", threads: int = 1
) -> "tuple[NDArray[np.uint8], NDArray[np.void]]":
    """Encode rows of counts as records.

    Parameters
    ----------
    indptr, indices, counts
        A CSR matrix. Indices rise within a row; counts are whole numbers from 1 to 4,294,967,295, which the caller has
        checked (`annobench.cells.store.checks`).
    threads
        For encoding.

    Returns
    -------
    The bytes of the records, and their index: n + 1 rows of `INDEX`.
    """
    n = len(indptr) - 1
    index = np.zeros(n + 1, dtype=INDEX)
    lengths = np.zeros(n, dtype=np.int64)
    wide = np.zeros(n, dtype=np.int64)
    indptr = indptr.astype(np.int64)
    pool.run(_measure, n, threads, indptr, indices, counts, lengths, wide)
    np.cumsum(lengths, out=index["offset"][1:], dtype=np.uint64)
    index["nnz"][:-1] = np.diff(indptr)
    index["wide"][:-1] = wide
    records = np.empty(int(index["offset"][-1]), dtype=np.uint8)
    pool.run(_encode, n, threads, indptr, indices, counts, index["offset"].astype(np.int64), records)
    return records, index


@njit
def _measure(start, stop, indptr, indices, counts, lengths, wide):  # type: ignore[no-untyped-def]
    for row in range(start, stop):
        last, length, many = -1, 0, 0
        for k in range(indptr[row], indptr[row + 1]):
            gap = indices[k] - last - 1
            last = indices[k]
            length += gap // 255 + 2
            if counts[k] >= 255:
                many += 1
        lengths[row] = length + 4 * many
        wide[row] = many


@njit
def _encode(start, stop, indptr, indices, counts, offsets, records):  # type: ignore[no-untyped-def]
    for row in range(start, stop):
        at, last = offsets[row], -1
        for k in range(indptr[row], indptr[row + 1]):
            gap = indices[k] - last - 1
            last = indices[k]
            while gap >= 255:
                records[at] = 255
                at += 1
                gap -= 255
            records[at] = gap
            at += 1
        tail = at + indptr[row + 1] - indptr[row]
        for k in range(indptr[row], indptr[row + 1]):
            count = np.int64(counts[k])
            if count < 255:
                records[at] = count
            else:
                records[at] = 255
                for shift in (0, 8, 16, 24):
                    records[tail] = (count >> shift) & 255
                    tail += 1
            at += 1


@njit(inline="always")
def _wide(buffer, at):  # type: ignore[no-untyped-def]
    return (
        np.int64(buffer[at])
        | (np.int64(buffer[at + 1]) << 8)
        | (np.int64(buffer[at + 2]) << 16)
        | (np.int64(buffer[at + 3]) << 24)
    )


@njit
def _positions(buffer, at, nnz, spare, genes, out):  # type: ignore[no-untyped-def]
    """Gene positions of a record into `out`; returns where the counts begin, or -1 where the record is broken.

    spare: bytes of the record beyond one gap and one count for each non-zero and its wide counts.
    """
    gene = np.int32(-1)
    for k in range(nnz):
        byte = buffer[at]
        at += 1
        while byte == 255:
            spare -= 1
            if spare < 0:
                return -1
            gene += np.int32(255)
            byte = buffer[at]
            at += 1
        gene += np.int32(byte) + np.int32(1)
        out[k] = gene
    return at if gene < genes and spare == 0 else -1


@njit
def _scaled(buffer, at, nnz, wide, target, table, out):  # type: ignore[no-untyped-def]
    """Counts of a record into `out`, as log1p of counts that sum to `target`, or as they are where it is 0.

    Returns False where the record is broken.
    """
    total, many = 0, 0
    for k in range(nnz):
        total += buffer[at + k]
        many += buffer[at + k] == 255
    if many != wide:
        return False
    tail = at + nnz
    for k in range(wide):
        total += _wide(buffer, tail + 4 * k) - 255
    scale = target / total if total > 0 else 0.0
    if target == 0:
        for k in range(nnz):
            out[k] = buffer[at + k]
    else:
        for value in range(len(table)):
            table[value] = np.log1p(value * scale)
        for k in range(nnz):
            count = buffer[at + k]
            out[k] = table[count] if count < len(table) else np.log1p(count * scale)
    if wide > 0:
        for k in range(nnz):
            if buffer[at + k] == 255:
                count = _wide(buffer, tail)
                out[k] = np.log1p(count * scale) if target > 0 else count
                tail += 4
    return True


@njit
def _record(buffer, begin, end, nnz, wide, genes, target, table, positions, values):  # type: ignore[no-untyped-def]
    """Decode one record over all genes; returns whether it is whole."""
    spare = end - begin - 2 * nnz - 4 * wide
    if spare < 0 or nnz > len(positions):
        return False
    at = _positions(buffer, begin, nnz, spare, genes, positions)
    return at >= 0 and _scaled(buffer, at, nnz, wide, target, table, values)


@njit
def _selected(nnz, column, target, positions, values):  # type: ignore[no-untyped-def]
    """Keep the genes with a `column`, in place, and scale their counts; returns how many are left.

    A column of -2 is that of a gene that counts for the sum of a cell and is not kept.
    """
    n, total = 0, 0.0
    for k in range(nnz):
        place = column[positions[k]]
        if place != -1:
            total += values[k]
        if place >= 0:
            positions[n], values[n] = place, values[k]
            n += 1
    if target > 0:
        scale = target / total if total > 0 else 0.0
        for k in range(n):
            values[k] = np.log1p(values[k] * scale)
    return n


@njit
def count_kept(start, stop, buffer, begins, ends, nnz, wide, order, genes, column, width, kept, bad):  # type: ignore[no-untyped-def]
    """Number of non-zeros of each row among the kept genes (`column` >= 0), into kept[start:stop]."""
    positions = np.empty(width, dtype=np.int32)
    for i in range(start, stop):
        row = order[i]
        spare = ends[row] - begins[row] - 2 * nnz[row] - 4 * wide[row]
        if spare < 0 or nnz[row] > width or _positions(buffer, begins[row], nnz[row], spare, genes, positions) < 0:
            bad[0] = row
            return
        n = 0
        for k in range(nnz[row]):
            n += column[positions[k]] >= 0
        kept[i] = n


@njit
def decode_sparse(  # type: ignore[no-untyped-def]
    start, stop, buffer, begins, ends, nnz, wide, order, genes, column, width, target, indptr, indices, values, bad
):
    """Rows `order[start:stop]` of a window as CSR.

    target: sum of a cell before the logarithm; 0 gives the counts as they are. column: new position of each gene, -1 or
    -2 (see `rows.gene_columns`), empty where all genes are kept. width: length of the longest row. bad[0] becomes the
    row of a broken record.
    """
    table = np.empty(_TABLE, dtype=np.float32)
    scratch = np.empty(width if len(column) else 0, dtype=np.int32)
    amounts = np.empty(len(scratch), dtype=values.dtype)
    for i in range(start, stop):
        row = order[i]
        n, at = nnz[row], indptr[i]
        if len(column) == 0:
            places, found = indices[at : indptr[i + 1]], values[at : indptr[i + 1]]
            whole = _record(buffer, begins[row], ends[row], n, wide[row], genes, target, table, places, found)
        else:
            whole = _record(buffer, begins[row], ends[row], n, wide[row], genes, 0.0, table, scratch, amounts)
        if not whole:
            bad[0] = row
            return
        if len(column):
            n = _selected(n, column, target, scratch, amounts)
            indices[at : at + n] = scratch[:n]
            values[at : at + n] = amounts[:n]


@njit
def decode_dense(  # type: ignore[no-untyped-def]
    start, stop, buffer, begins, ends, nnz, wide, order, genes, column, width, target, values, bad
):
    """Rows `order[start:stop]` of a window as dense rows of `values`; as `decode_sparse` otherwise."""
    table = np.empty(_TABLE, dtype=np.float32)
    scratch = np.empty(width, dtype=np.int32)
    amounts = np.empty(width, dtype=np.float32)
    for i in range(start, stop):
        row = order[i]
        n = nnz[row]
        own = 0.0 if len(column) else target
        if not _record(buffer, begins[row], ends[row], n, wide[row], genes, own, table, scratch, amounts):
            bad[0] = row
            return
        if len(column):
            n = _selected(n, column, target, scratch, amounts)
        out = values[i]
        out[:] = 0
        for k in range(n):
            out[scratch[k]] = amounts[k]
