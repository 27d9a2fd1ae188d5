"""First layer for sparse cells on the CPU: float32 products that touch only the non-zeros.

The output of a cell is a sum of rows of the weights, each times the value of one non-zero; the gradient of a gene's
weights is a sum of rows of the output's gradient. What a non-zero costs is the row that it reads: 656 bytes at 164
outputs, which must come from a cache near the core. So the non-zeros are first sorted into bands of adjacent genes
(`Bands`, one pass over them), and both products go band by band, with the rows of a band copied into a small table:

- forward, the table holds weights, and the sums of a cell stay in vector registers;
- backward, it holds the sums, and the gradient of a cell stays in vector registers.

Every element is summed in one order, with any number of threads and any size of the bands: an output in the order of
the genes, a gradient in the order of the cells.
"""

# the kernels are typed by numba
# mypy: disallow-untyped-defs=False, disallow-untyped-calls=False

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.core import cgutils
from numba.core.registry import cpu_target
from numba.extending import intrinsic
from torch import Tensor, nn

from annobench.cells.store.batch import Batch
from annobench.core import threads
from annobench.core.jit import njit
from annobench.methods.torch.autograd import Saved

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

LANES = 16  # float32 in a vector; LLVM splits it where the machine's vectors are shorter
TABLE = 98_304  # bytes of a table: a part of a level-2 cache of 512 kB that two threads share with what they read
_BITS = 9  # of a position in a band, which thus has at most 512 genes
CHUNK = 64  # the fewest cells that are worth a thread
# columns whose sums fit the vector registers: 16 of 32 with AVX-512, 12 of 16 with AVX2, 24 of 32 with NEON
_WIDEST = 256 if "+avx512f" in cpu_target.target_context.codegen().magic_tuple()[2] else 96


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
    bands: "Bands"


class _Product(torch.autograd.Function):
    """`csr_matmul` with its gradients, for which the non-zeros are sorted once."""

    @staticmethod
    def forward(ctx: _OfBatch, batch: Batch, weight: Tensor, bias: Tensor) -> Tensor:
        ctx.bands = Bands.of(batch, weight.shape[-1])
        return ctx.bands.matmul(weight, bias)

    @staticmethod
    def backward(ctx: _OfBatch, *gradients: Tensor) -> tuple[None, Tensor | None, Tensor | None]:
        (gradient,) = gradients
        _, weight, bias = ctx.needs_input_grad
        return None, ctx.bands.grad(gradient) if weight else None, gradient.sum(dim=0) if bias else None


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
    return Bands.of(batch, weight.shape[-1]).matmul(weight, bias)


def csr_grad(batch: Batch, gradient: Tensor) -> Tensor:
    """Gradient of the weights of `csr_matmul`: transposed cells times the gradient of their outputs, (n, k).

    Returns float32 (genes, k). Raises ValueError like `csr_matmul`.
    """
    return Bands.of(batch, gradient.shape[-1]).grad(gradient)


@dataclass(frozen=True)
class Bands:
    """The non-zeros of a batch sorted by band of genes, then cell, then gene.

    Attributes
    ----------
    n, genes
        Cells and genes of the batch.
    order
        (genes,), those of the bands in increasing order; last come those that no cell has, which are in no band.
    bounds
        (bands + 1,), where each band begins in `order`.
    starts
        (bands, n + 1), where the non-zeros of each cell begin in each band.
    positions
        (nnz,), place of each non-zero's gene in its band.
    values
        (nnz,).
    """

    n: int
    genes: int
    order: "NDArray[np.int32]"
    bounds: "NDArray[np.int64]"
    starts: "NDArray[np.int64]"
    positions: "NDArray[np.uint16]"
    values: "NDArray[np.float32]"

    @classmethod
    def of(cls, batch: Batch, columns: int) -> "Bands":
        """Sort a batch for products with that many columns. Raises ValueError like `csr_matmul`."""
        _refuse_rows(batch)
        n, count = batch.n, torch.get_num_threads()
        chunk = max(-(-n // count), CHUNK)
        chunks = -(-n // chunk)
        wrong, counts = np.empty(n, np.bool_), np.empty((chunks, batch.genes), np.int32)
        threads.run(_count, chunks, count, chunk, batch.indptr, batch.indices, wrong, counts)
        _refuse_columns(batch, wrong)
        row = 4 * max((_padded(part.stop - part.start) for part in _parts(columns)), default=LANES)
        order, bounds, where, free = _plan(counts, min(max(TABLE // row, 1), 1 << _BITS))
        starts = np.empty((len(bounds) - 1, n + 1), np.int64)
        nnz = int(batch.indptr[-1] - batch.indptr[0])
        positions, values = np.empty(nnz, np.uint16), np.empty(nnz, np.float32)
        cells = batch.indptr, batch.indices, batch.values
        threads.run(_sort, chunks, count, chunk, *cells, where, free, starts, positions, values)
        return cls(n, batch.genes, order, bounds, starts, positions, values)

    def matmul(self, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        """As `csr_matmul`."""
        self._refuse_unfit(weight, "weight", self.genes)
        k = weight.shape[1]
        out = torch.zeros(self.n, k) if bias is None else bias.detach().repeat(self.n, 1)
        self._run(_forward_kernel, self.n, weight.detach().contiguous(), out)
        return out

    def grad(self, gradient: Tensor) -> Tensor:
        """As `csr_grad`."""
        self._refuse_unfit(gradient, "gradient", self.n)
        out = torch.empty(self.genes, gradient.shape[1])
        self._run(_gradient_kernel, len(self.values), gradient.detach().contiguous(), out)
        return out

    def _run(self, kernel: "Callable[[int], Callable[..., None]]", n: int, table: Tensor, sums: Tensor) -> None:
        """Run a kernel on ranges of 0..n for every part of the columns."""
        for part in _parts(table.shape[1]):
            threads.run(
                kernel(part.stop - part.start),
                n,
                torch.get_num_threads(),
                part.start,
                self.order,
                self.bounds,
                self.starts,
                self.positions,
                self.values,
                table.numpy(),
                sums.numpy(),
            )

    def _refuse_unfit(self, table: Tensor, name: str, rows: int) -> None:
        if table.ndim != 2 or len(table) != rows or table.dtype != torch.float32 or table.device.type != "cpu":
            raise ValueError(
                f"{name} is {table.dtype} {tuple(table.shape)} on {table.device}, expected float32 ({rows}, outputs) "
                f"on the CPU for {self.n} cells x {self.genes} genes"
            )


def _refuse_rows(batch: Batch) -> None:
    """Refuse row bounds with which the kernels, which do not check them, would leave their memory."""
    indptr, n = batch.indptr, batch.n
    if len(indptr) != n + 1 or indptr[0] < 0 or indptr[-1] > min(len(batch.indices), len(batch.values)):
        raise ValueError(f"indptr does not fit {n} cells and {len(batch.indices)} non-zeros")
    if (indptr[1:] < indptr[:-1]).any():
        raise ValueError("indptr decreases")


def _refuse_columns(batch: Batch, wrong: "NDArray[np.bool_]") -> None:
    """Refuse rows in which columns were found to be wrong."""
    if wrong.any():
        row = int(wrong.argmax())
        raise ValueError(
            f"columns of row {row} of the batch do not increase from 0 to at most {batch.genes - 1}: "
            f"{batch.indices[batch.indptr[row] : batch.indptr[row + 1]]}"
        )


def _parts(columns: int) -> list[slice]:
    """Columns in as few ranges as fit the registers, of about equal width."""
    count = -(-columns // _WIDEST)
    width = _padded(-(-columns // count)) if count else 0
    return [slice(start, min(start + width, columns)) for start in range(0, columns, width or 1)]


def _padded(columns: int) -> int:
    """Columns rounded up to whole vectors."""
    return -(-columns // LANES) * LANES


def _intrinsic(scatter: bool) -> "Callable[..., None]":
    """Code for the non-zeros `start` to `stop` of one cell, in `columns` columns (known at compile time).

    With vector = rows[row, column : column + columns] and p over these non-zeros, it is

    - vector += values[p] * table[positions[p]], or
    - table[positions[p]] += values[p] * vector, where `scatter`.

    Tables are float32 with adjacent columns. Written in LLVM's language because no loop of numba keeps the vector in
    registers (it would run half as fast).
    """

    @intrinsic(prefer_literal=True)
    def code(typing, rows, row, column, table, positions, values, start, stop, columns):
        place = types.int64
        signature = types.void(rows, place, place, table, positions, values, place, place, columns)
        spans = _spans(columns.literal_value)

        def build(context, builder, signature, arguments):
            rows, table, positions, values = (
                context.make_array(signature.args[i])(context, builder, arguments[i]) for i in (0, 3, 4, 5)
            )
            start, stop = arguments[6:8]
            word, byte = ir.IntType(32), ir.IntType(8).as_pointer()

            def pieces(array, row, column):
                """Pointers to the vectors of a row from a column on."""
                offset = builder.mul(row, builder.extract_value(array.strides, 0))
                first = builder.gep(builder.bitcast(array.data, byte), [offset])
                first = builder.gep(builder.bitcast(first, ir.FloatType().as_pointer()), [column])
                return [
                    builder.bitcast(
                        builder.gep(first, [word(begin)]), ir.VectorType(ir.FloatType(), width).as_pointer()
                    )
                    for begin, width in spans
                ]

            targets = pieces(rows, *arguments[1:3])
            vector = [cgutils.alloca_once_value(builder, builder.load(target, align=4)) for target in targets]
            place = cgutils.alloca_once_value(builder, start)
            test, add, end = (builder.append_basic_block(name) for name in ("test", "add", "end"))
            builder.branch(test)
            with builder.goto_block(test):
                p = builder.load(place)
                builder.cbranch(builder.icmp_signed("<", p, stop), add, end)
            with builder.goto_block(add):
                position = builder.zext(builder.load(builder.gep(positions.data, [p])), p.type)
                value = builder.load(builder.gep(values.data, [p]))
                for (_, width), held, piece in zip(spans, vector, pieces(table, position, word(0)), strict=True):
                    blank = ir.Constant(held.type.pointee, ir.Undefined)
                    lanes = ir.Constant(ir.VectorType(word, width), [0] * width)
                    spread = builder.shuffle_vector(builder.insert_element(blank, value, word(0)), blank, lanes)
                    read = builder.load(piece, align=4)
                    factor, total, target = (
                        (builder.load(held), read, piece) if scatter else (read, builder.load(held), held)
                    )
                    product = builder.fmul(spread, factor, flags=("contract",))
                    builder.store(builder.fadd(total, product, flags=("contract",)), target, align=4)
                builder.store(builder.add(p, p.type(1)), place)
                builder.branch(test)
            builder.position_at_end(end)
            if not scatter:
                for held, target in zip(vector, targets, strict=True):
                    builder.store(builder.load(held), target, align=4)
            return context.get_dummy_value()

        return signature, build

    return code


def _spans(columns: int) -> list[tuple[int, int]]:
    """Columns in vectors of LANES, LANES / 2, ..., 1: where each begins, and its width."""
    spans, begin, width = [], 0, LANES
    while begin < columns:
        if width <= columns - begin:
            spans.append((begin, width))
            begin += width
        else:
            width //= 2
    return spans


_gather, _scatter = _intrinsic(False), _intrinsic(True)

_ROWS = types.float32[:, ::1]
_CELLS = (types.int64[::1], types.int32[::1], types.float32[::1])  # indptr, indices, values
_STARTS = types.int64[:, ::1]
_SORTED = (types.int32[::1], types.int64[::1], _STARTS, types.uint16[::1], types.float32[::1])  # fields of Bands


@functools.cache
def _forward_kernel(columns: int) -> "Callable[..., None]":
    """Sums of weights for a range of cells, band by band."""
    width = _padded(columns)

    @njit(types.void(types.int64, types.int64, types.int64, *_SORTED, _ROWS, _ROWS))
    def kernel(first, last, column, order, bounds, starts, positions, values, weight, out):
        table = _table(bounds, width)
        for band in range(len(starts)):
            genes = order[bounds[band] : bounds[band + 1]]
            for i in range(len(genes)):
                row, source = table[i], weight[genes[i], column : column + columns]
                for j in range(columns):
                    row[j] = source[j]
            start = starts[band]
            for cell in range(first, last):
                if start[cell] < start[cell + 1]:
                    _gather(out, cell, column, table, positions, values, start[cell], start[cell + 1], columns)

    return kernel


@functools.cache
def _gradient_kernel(columns: int) -> "Callable[..., None]":
    """Sums of output gradients for the bands whose first non-zero is in a range: ranges are of about equal work.

    The range that begins with 0 also takes the genes that no cell has.
    """
    width = _padded(columns)

    @njit(types.void(types.int64, types.int64, types.int64, *_SORTED, _ROWS, _ROWS))
    def kernel(first, last, column, order, bounds, starts, positions, values, gradient, out):
        table = _table(bounds, width)
        if first == 0:
            for gene in order[bounds[-1] :]:
                out[gene, column : column + columns] = 0
        for band in range(len(starts)):
            start = starts[band]
            if start[0] < first or start[0] >= last:
                continue
            genes = order[bounds[band] : bounds[band + 1]]
            table[: len(genes)] = 0
            for cell in range(len(gradient)):
                if start[cell] < start[cell + 1]:
                    _scatter(gradient, cell, column, table, positions, values, start[cell], start[cell + 1], columns)
            for i in range(len(genes)):
                row, target = table[i], out[genes[i], column : column + columns]
                for j in range(columns):
                    target[j] = row[j]

    return kernel


@njit
def _table(bounds, width):
    """Memory for the rows of any band, which begins with a line of the cache as every row does: width is in LANES."""
    most = 0
    for band in range(len(bounds) - 1):
        most = max(most, bounds[band + 1] - bounds[band])
    memory = np.empty(most * width + LANES, np.float32)
    skip = -(memory.ctypes.data // 4) % LANES
    return memory[skip : skip + most * width].reshape(most, width)


@njit
def _count(first, last, chunk, indptr, indices, wrong, counts):
    """counts[c, gene]: how many cells of chunk c have a gene; wrong[row]: whether its columns do not increase.

    Rows whose columns are not within 0..genes - 1 are wrong, too; wrong rows are not counted.
    """
    genes = counts.shape[1]
    for number in range(first, last):
        count = counts[number]
        count[:] = 0
        for row in range(number * chunk, min((number + 1) * chunk, len(wrong))):
            columns = indices[indptr[row] : indptr[row + 1]]
            bad = False
            for i in range(len(columns) - 1):
                bad |= columns[i + 1] <= columns[i]
            if len(columns) > 0:
                bad |= (columns[0] < 0) | (columns[-1] >= genes)
            wrong[row] = bad
            if not bad:
                for gene in columns:
                    count[np.uint32(gene)] += 1


@njit
def _plan(counts, size):
    """Divide the genes that any cell has into bands of at most `size` adjacent ones.

    Returns `order` and `bounds` of Bands; for every gene its band and position there, in one number; and for every
    chunk of cells and band, where the chunk's first non-zero goes.
    """
    chunks, genes = counts.shape
    order, where = np.empty(genes, np.int32), np.empty(genes, np.uint32)
    bounds = np.zeros(genes + 1, np.int64)
    total = np.zeros(genes, np.int64)
    for chunk in range(chunks):
        total += counts[chunk]
    n, band = 0, 0
    for gene in np.flatnonzero(total > 0):
        if n - bounds[band] == size:
            band += 1
            bounds[band] = n
        where[gene] = band << _BITS | n - bounds[band]
        order[n] = gene
        n += 1
    band += 1
    bounds[band] = n
    order[n:] = np.flatnonzero(total == 0)
    free = np.zeros((chunks, band), np.uint64)
    place = 0
    for b in range(band):
        for chunk in range(chunks):
            free[chunk, b] = place
            for gene in order[bounds[b] : bounds[b + 1]]:
                place += counts[chunk, gene]
    return order, bounds[: band + 1].copy(), where, free


@njit(
    types.void(
        types.int64,
        types.int64,
        types.int64,
        *_CELLS,
        types.uint32[::1],
        types.uint64[:, ::1],
        _STARTS,
        types.uint16[::1],
        types.float32[::1],
    )
)
def _sort(first, last, chunk, indptr, indices, values, where, free, starts, positions, sorted_values):
    """Write the non-zeros of chunks of cells to their places; free[chunk, band] is the next place, and moves on.

    Unsigned because numba would test every signed index for being negative.
    """
    cells = len(indptr) - 1
    for number in range(first, last):
        place = free[number]
        stop = min((number + 1) * chunk, cells)
        for cell in range(number * chunk, stop):
            starts[:, cell] = place.view(np.int64)
            for i in range(indptr[cell], indptr[cell + 1]):
                code = where[np.uint32(indices[np.uint64(i)])]
                band = np.uint64(code >> np.uint32(_BITS))
                slot = place[band]
                place[band] = slot + np.uint64(1)
                positions[slot] = code & np.uint32((1 << _BITS) - 1)
                sorted_values[slot] = values[np.uint64(i)]
        if stop == cells:
            starts[:, cells] = place.view(np.int64)
