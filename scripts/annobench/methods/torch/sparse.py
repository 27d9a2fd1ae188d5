"""First layer for sparse cells on the CPU: float32 products that touch only the non-zeros.

Both products add rows of a dense table, each times the value of one non-zero: the output of a cell is a sum of rows of
the weights; the gradient of a gene's weights is a sum of rows of the output's gradient. One such sum (`_add_rows`)
keeps its accumulators in vector registers, so that a non-zero costs one read of a row, and the bandwidth of the level-2
cache is the limit. The work is therefore cut into blocks whose tables fit into this cache: bands of genes in the
forward pass, and tiles of cells in the backward pass, within which the non-zeros are first sorted by gene (a counting
sort).

Every element is summed in the order of its row or column, with any number of threads.
"""

# the kernels are typed by numba
# mypy: disallow-untyped-defs=False, disallow-untyped-calls=False

import functools
from typing import TYPE_CHECKING

import llvmlite.binding  # type: ignore[import-untyped]
import numpy as np
import torch
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from torch import Tensor, nn

from annobench.cells.store.batch import Batch
from annobench.core import threads
from annobench.core.jit import njit
from annobench.methods.torch.autograd import Saved

if TYPE_CHECKING:
    from collections.abc import Callable

LANES = 16  # float32 in a vector; LLVM splits it where the machine's vectors are shorter
BAND = 512  # genes whose weights (at 164 outputs 336 kB) stay in a level-2 cache
TILE = 512  # cells whose output gradients do
# columns whose accumulators fit the vector registers: 16 of 32 with AVX-512, 12 of 16 with AVX2, 24 of 32 with NEON
_WIDEST = 256 if llvmlite.binding.get_host_cpu_features().get("avx512f") else 96


class SparseLinear(nn.Module):
    """An affine map for sparse or dense cells, whose weight is stored gene-major, (genes, outputs).

    Takes a Batch (on the CPU, in float32, by the kernels of this module) or a dense tensor (n, genes); returns (n,
    outputs). Initialised like nn.Linear, from PyTorch's generator.
    """

    def __init__(self, genes: int, outputs: int) -> None:
        super().__init__()
        bound = genes**-0.5  # kaiming uniform with a = sqrt(5), as nn.Linear
        self.weight = nn.Parameter(torch.empty(genes, outputs).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(outputs).uniform_(-bound, bound))

    def forward(self, cells: Batch | Tensor) -> Tensor:
        """Outputs of cells, (n, outputs)."""
        if isinstance(cells, Tensor):
            return torch.addmm(self.bias, cells, self.weight)
        return _Product.apply(cells, self.weight, self.bias)

    def extra_repr(self) -> str:
        """Shown when the network is printed."""
        return f"genes={self.weight.shape[0]}, outputs={self.weight.shape[1]}"


class _OfBatch(Saved):
    batch: Batch


class _Product(torch.autograd.Function):
    """`csr_matmul` with its gradients."""

    @staticmethod
    def forward(ctx: _OfBatch, batch: Batch, weight: Tensor, bias: Tensor) -> Tensor:
        ctx.batch = batch
        return csr_matmul(batch, weight, bias)

    @staticmethod
    def backward(ctx: _OfBatch, *gradients: Tensor) -> tuple[None, Tensor | None, Tensor | None]:
        (gradient,) = gradients
        _, weight, bias = ctx.needs_input_grad
        return None, csr_grad(ctx.batch, gradient) if weight else None, gradient.sum(dim=0) if bias else None


def csr_matmul(batch: Batch, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Product of sparse cells and weights, in float32 on the CPU.

    Parameters
    ----------
    batch
        Cells, (n, genes).
    weight
        float32 (genes, k).
    bias
        float32 (k,), added to every cell.

    Returns
    -------
    Tensor
        float32 (n, k).

    Raises
    ------
    ValueError
        The weights do not fit the batch, or column numbers of the batch do not increase or are out of range.
    """
    _refuse_unfit(batch, weight, "weight", batch.genes)
    _refuse_columns(batch)
    k = weight.shape[1]
    out = torch.zeros(batch.n, k) if bias is None else bias.detach().repeat(batch.n, 1)
    table, sums = weight.detach().contiguous().numpy(), out.numpy()
    for part in _parts(k):
        kernel = _forward_kernel(part.stop - part.start)
        threads.run(
            kernel,
            batch.n,
            torch.get_num_threads(),
            batch.indptr,
            batch.indices,
            batch.values,
            table[:, part],
            sums[:, part],
        )
    return out


def csr_grad(batch: Batch, gradient: Tensor) -> Tensor:
    """Gradient of the weights of `csr_matmul`: transposed cells times the gradient of their outputs, (n, k).

    Returns float32 (genes, k). Raises ValueError like `csr_matmul`.
    """
    _refuse_unfit(batch, gradient, "gradient", batch.n)
    _refuse_columns(batch)
    k, count = gradient.shape[1], torch.get_num_threads()
    tiles = -(-batch.n // TILE)
    starts = np.empty((tiles, batch.genes + 1), dtype=np.int32)
    threads.run(_count, tiles, count, batch.indptr, batch.indices, starts)
    out = torch.empty(batch.genes, k)
    table, sums = gradient.detach().contiguous().numpy(), out.numpy()
    for part in _parts(k):
        threads.run(
            _gradient_kernel(part.stop - part.start),
            batch.genes,
            count,
            batch.indptr,
            batch.indices,
            batch.values,
            starts,
            table[:, part],
            sums[:, part],
            grain=LANES,
        )
    return out


def _refuse_unfit(batch: Batch, table: Tensor, name: str, rows: int) -> None:
    if table.ndim != 2 or len(table) != rows or table.dtype != torch.float32 or table.device.type != "cpu":
        raise ValueError(
            f"{name} is {table.dtype} {tuple(table.shape)} on {table.device}, expected float32 ({rows}, outputs) on "
            f"the CPU for {batch.n} cells x {batch.genes} genes"
        )


def _refuse_columns(batch: Batch) -> None:
    """Refuse a batch with which the kernels, which do not check bounds, would leave their memory."""
    indptr, n = batch.indptr, batch.n
    if len(indptr) != n + 1 or indptr[0] < 0 or indptr[-1] > min(len(batch.indices), len(batch.values)):
        raise ValueError(f"indptr does not fit {n} cells and {len(batch.indices)} non-zeros")
    if (indptr[1:] < indptr[:-1]).any():
        raise ValueError("indptr decreases")
    wrong = np.empty(n, dtype=np.bool_)
    threads.run(_check, n, torch.get_num_threads(), indptr, batch.indices, batch.genes, wrong)
    if wrong.any():
        row = int(wrong.argmax())
        raise ValueError(
            f"columns of row {row} of the batch do not increase from 0 to at most {batch.genes - 1}: "
            f"{batch.indices[indptr[row] : indptr[row + 1]]}"
        )


def _parts(columns: int) -> list[slice]:
    """Columns in as few ranges as fit the registers, of about equal width."""
    count = -(-columns // _WIDEST)
    width = -(-columns // (count * LANES)) * LANES if count else 0
    return [slice(start, min(start + width, columns)) for start in range(0, columns, width or 1)]


@intrinsic(prefer_literal=True)
def _add_rows(typing, out, row, table, positions, values, start, limit, stop, columns):
    """out[row, :columns] += values[p] * table[positions[p], :columns] for p from `start`.

    Ends at `stop`, or before the first position that is not below `limit`, and returns this p. Tables are float32 with
    adjacent columns, positions are int32 and not negative; `columns` is known at compile time. Written in LLVM's
    language because no loop of numba keeps the sums of a row in registers (it would run half as fast).
    """
    place = types.int64
    signature = place(out, place, table, positions, values, place, place, place, columns)
    spans = [(c, min(LANES, columns.literal_value - c)) for c in range(0, columns.literal_value, LANES)]
    word = ir.IntType(32)

    def code(context, builder, signature, arguments):
        out, table, positions, values = (
            context.make_array(signature.args[i])(context, builder, arguments[i]) for i in (0, 2, 3, 4)
        )
        start, limit, stop = arguments[5:8]

        def pieces(array, row):
            """Pointers to the vectors of a row."""
            offset = builder.mul(row, builder.extract_value(array.strides, 0))
            first = builder.gep(builder.bitcast(array.data, ir.IntType(8).as_pointer()), [offset])
            return [
                builder.bitcast(
                    builder.gep(first, [word(4 * column)]), ir.VectorType(ir.FloatType(), width).as_pointer()
                )
                for column, width in spans
            ]

        targets = pieces(out, arguments[1])
        sums = [cgutils.alloca_once(builder, target.type.pointee) for target in targets]
        for total, target in zip(sums, targets, strict=True):
            builder.store(builder.load(target, align=4), total)
        place = cgutils.alloca_once_value(builder, start)
        test, inside, add, end = (builder.append_basic_block(name) for name in ("test", "inside", "add", "end"))
        builder.branch(test)
        with builder.goto_block(test):
            p = builder.load(place)
            builder.cbranch(builder.icmp_signed("<", p, stop), inside, end)
        with builder.goto_block(inside):
            position = builder.zext(builder.load(builder.gep(positions.data, [p])), p.type)
            builder.cbranch(builder.icmp_signed("<", position, limit), add, end)
        with builder.goto_block(add):
            value = builder.load(builder.gep(values.data, [p]))
            for (_, width), total, piece in zip(spans, sums, pieces(table, position), strict=True):
                blank = ir.Constant(total.type.pointee, ir.Undefined)
                lanes = ir.Constant(ir.VectorType(word, width), [0] * width)
                spread = builder.shuffle_vector(builder.insert_element(blank, value, word(0)), blank, lanes)
                product = builder.fmul(spread, builder.load(piece, align=4), flags=("contract",))
                builder.store(builder.fadd(builder.load(total), product, flags=("contract",)), total)
            builder.store(builder.add(p, p.type(1)), place)
            builder.branch(test)
        builder.position_at_end(end)
        for total, target in zip(sums, targets, strict=True):
            builder.store(builder.load(total), target, align=4)
        return builder.load(place)

    return signature, code


_ROWS = types.Array(types.float32, 2, "A")  # float32 rows that need not be adjacent
_CELLS = (types.int64[::1], types.int32[::1], types.float32[::1])  # indptr, indices, values


@functools.cache
def _forward_kernel(columns: int) -> "Callable[..., None]":
    """Sums of weights for a range of cells, band by band of the genes."""

    @njit(types.void(types.int64, types.int64, *_CELLS, _ROWS, _ROWS))
    def kernel(first, last, indptr, indices, values, weight, out):
        place = indptr[first:last].copy()
        for limit in range(BAND, len(weight) + BAND, BAND):
            for cell in range(first, last):
                place[cell - first] = _add_rows(  # type: ignore[call-arg]
                    out, cell, weight, indices, values, place[cell - first], limit, indptr[cell + 1], columns
                )

    return kernel


@functools.cache
def _gradient_kernel(columns: int) -> "Callable[..., None]":
    """Sums of output gradients for a range of genes: band by band of the genes, within it tile by tile of the cells."""

    @njit(
        types.void(types.int64, types.int64, *_CELLS, types.int32[:, ::1], _ROWS, _ROWS),
    )
    def kernel(first, last, indptr, indices, values, starts, gradient, out):
        cells = len(indptr) - 1
        place = _first_places(indptr, indices, first)
        room = _largest_block(starts, first, last)
        owner, factor = np.empty(room, np.int32), np.empty(room, np.float32)
        free = np.empty(BAND, np.uint32)
        for band in range(first, last, BAND):
            limit = min(band + BAND, last)
            out[band:limit] = 0
            for tile in range(len(starts)):
                start = starts[tile, band : limit + 1] - starts[tile, band]
                free[: limit - band] = start[:-1]
                _sort(
                    range(tile * TILE, min((tile + 1) * TILE, cells)),
                    band,
                    limit,
                    indptr,
                    indices,
                    values,
                    place,
                    free,
                    owner,
                    factor,
                )
                for gene in range(limit - band):
                    if start[gene] < start[gene + 1]:
                        _add_rows(  # type: ignore[call-arg]
                            out, band + gene, gradient, owner, factor, start[gene], cells, start[gene + 1], columns
                        )

    return kernel


@njit
def _check(first, last, indptr, indices, genes, wrong):
    """wrong[row]: whether its columns do not increase within 0..genes - 1."""
    for row in range(first, last):
        columns = indices[indptr[row] : indptr[row + 1]]
        bad = False
        for i in range(len(columns) - 1):
            bad |= columns[i + 1] <= columns[i]
        if len(columns) > 0:
            bad |= (columns[0] < 0) | (columns[-1] >= genes)
        wrong[row] = bad


@njit
def _count(first, last, indptr, indices, starts):
    """starts[tile, gene]: how many non-zeros of a tile of cells belong to genes before this one."""
    cells = len(indptr) - 1
    for tile in range(first, last):
        start = starts[tile]
        start[:] = 0
        for column in indices[indptr[tile * TILE] : indptr[min((tile + 1) * TILE, cells)]]:
            start[np.uint32(column) + np.uint32(1)] += 1
        total = 0
        for gene in range(len(start)):
            total += start[gene]
            start[gene] = total


@njit
def _first_places(indptr, indices, gene):
    """For each cell the place of its first non-zero at or after a gene."""
    places = indptr[:-1].copy()
    if gene > 0:
        for cell in range(len(places)):
            places[cell] += np.searchsorted(indices[indptr[cell] : indptr[cell + 1]], gene)
    return places


@njit
def _largest_block(starts, first, last):
    """The most non-zeros in a band and tile."""
    most = 0
    for band in range(first, last, BAND):
        for tile in range(len(starts)):
            most = max(most, starts[tile, min(band + BAND, last)] - starts[tile, band])
    return most


@njit
def _sort(tile, band, limit, indptr, indices, values, place, free, owner, factor):
    """Write the non-zeros of a tile of cells and a band of genes into `owner` and `factor`, sorted by gene, then cell.

    free[gene - band] is the next free slot of a gene; place[cell] moves to the cell's first non-zero after the band.
    Unsigned because numba would test every signed index for being negative.
    """
    for cell in tile:
        columns = indices[place[cell] : indptr[cell + 1]]
        value = values[place[cell] : indptr[cell + 1]]
        i = 0
        while i < len(columns) and columns[i] < limit:
            gene = np.uint32(columns[i] - band)
            slot = free[gene]
            free[gene] = slot + np.uint32(1)
            owner[slot] = cell
            factor[slot] = value[i]
            i += 1
        place[cell] += i
