"""Feeds: batches for a network on a CPU or a GPU.

A CPU takes sparse batches, decoded by the loader. A GPU takes dense batches, which it decodes itself: the packed bytes
of all cells (two per non-zero, see `annobench.cells.store.codec`) stay in its memory if they fit; otherwise windows of
them pass through it, the next one uploading while one is used. Decoding is a few dozen PyTorch operations over all
non-zeros of a batch at once, on any device; the host knows all sizes beforehand and never waits for the device.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext
from itertools import groupby, pairwise
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from annobench.cells.store.rows import MemoryRows, PackedWindow, Rows, Window
from annobench.core.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from scipy.sparse import csr_matrix

    from annobench.cells.store.batch import Batch
    from annobench.cells.store.loader import Loader
    from annobench.methods.torch.inference import Feed

_CHUNK = 32_768  # cells brought to the device at once
_CHECKED = 2_048  # cells whose records are checked at once
_BATCHES = 40  # dense batches that must fit beside the resident cells; TabNet in eager mode needs the most
_TABLE = 64  # bytes per cell beside its record: its position, its class, its place in the order


def feed_of(loader: "Loader", device: str = "cpu", *, dtype: torch.dtype = torch.float32) -> "Feed":
    """The best feed of a loader for a device; `dtype` is that of dense batches.

    Where the rows fit the device (see `fits`), the loader should have an infinite `memory_mb`, so that every epoch is a
    permutation of all cells.
    """
    rows = loader.rows
    if torch.device(device).type == "cpu":
        return SparseFeed(loader)
    if not loader.resident:
        return StreamedFeed(loader, device, dtype)
    if not fits(rows, int(loader.sizes.max(initial=0)), device):
        return HostFeed(loader, device, dtype)
    cells = MatrixOnDevice(rows.matrix, device) if isinstance(rows, MemoryRows) else Records.of(rows, device)
    return ResidentFeed(loader, cells, dtype)


def fits(rows: Rows, batch: int, device: str) -> bool:
    """Whether the cells fit the free memory of a GPU, beside the work on batches of `batch` cells."""
    if torch.device(device).type == "cpu":
        return False
    need = (8 * rows.matrix.nnz if isinstance(rows, MemoryRows) else packed_bytes(rows)) + _TABLE * rows.n
    free, whole = torch.cuda.mem_get_info(device)
    return bool(need + _BATCHES * 4 * batch * rows.genes + whole // 20 <= free)


def packed_bytes(rows: Rows) -> int:
    """Bytes of the records of all cells."""
    if rows.nbytes:
        return rows.nbytes
    window = _packed(rows.window(np.arange(rows.n)))
    return int((window.records["ends"] - window.records["begins"]).sum())


class _LoaderFeed:
    """Base of the feeds of a loader; see `annobench.methods.torch.inference.Feed`."""

    def __init__(self, loader: "Loader") -> None:
        self.loader = loader
        self.cells = int(loader.sizes.sum())

    def __len__(self) -> int:
        return len(self.loader)


class SparseFeed(_LoaderFeed):
    """Sparse batches on the CPU."""

    def epoch(self, number: int = 0, start: int = 0) -> "Iterator[tuple[Batch, Tensor]]":
        """See Feed."""
        for batch in self.loader.epoch(number, start):
            yield batch, torch.from_numpy(batch.codes)


class HostFeed(_LoaderFeed):
    """Dense batches made by the host, for a matrix that does not fit a GPU."""

    def __init__(self, loader: "Loader", device: str, dtype: torch.dtype = torch.float32) -> None:
        super().__init__(loader)
        self._device, self._dtype = device, dtype

    def epoch(self, number: int = 0, start: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
        """See Feed."""
        for batch in self.loader.dense_epoch(number, start):
            cells = torch.from_numpy(batch.values).to(self._device).to(self._dtype)
            yield cells, torch.from_numpy(batch.codes).to(self._device)


class ResidentFeed(_LoaderFeed):
    """Dense batches of cells on the device; the order of the next epoch is drawn during the current one."""

    def __init__(self, loader: "Loader", cells: "Records | MatrixOnDevice", dtype: torch.dtype = torch.float32) -> None:
        super().__init__(loader)
        self._on_device, self._dtype = cells, dtype
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="annobench-order")
        self._ahead: dict[int, Future[NDArray[np.int64]]] = {}

    def epoch(self, number: int = 0, start: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
        """See Feed."""
        order = self._ahead.pop(number).result() if number in self._ahead else self._order(number)
        if self.loader.shuffle:  # validation and prediction have one epoch
            self._ahead = {number + 1: self._thread.submit(self._order, number + 1)}
        bounds = np.concatenate([[0], np.cumsum(self.loader.sizes)]).tolist()
        sizes = self._on_device.sizes(order, bounds)
        codes = torch.from_numpy(self.loader.codes_of(order)).to(self._on_device.device)
        places = torch.from_numpy(order).to(self._on_device.device)
        for (begin, end), size in list(zip(pairwise(bounds), sizes, strict=True))[start:]:
            yield self._on_device.dense(places[begin:end], size, self._dtype), codes[begin:end]

    def _order(self, number: int) -> "NDArray[np.int64]":
        """Positions of the cells in the order of an epoch."""
        return np.concatenate(list(self.loader.visits(number)))


class StreamedFeed(_LoaderFeed):
    """Dense batches of cells that pass through the device window by window."""

    def __init__(self, loader: "Loader", device: str, dtype: torch.dtype = torch.float32) -> None:
        super().__init__(loader)
        self._device, self._dtype = torch.device(device), dtype
        if self._device.type == "cuda":  # the uploading thread does not inherit the current device
            self._device = torch.device("cuda", torch.cuda.current_device())

    def epoch(self, number: int = 0, start: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
        """See Feed."""
        windows = groupby(self.loader.pieces(number, start), key=lambda piece: id(piece[0]))
        main = torch.cuda.current_stream() if self._device.type == "cuda" else None
        with ThreadPoolExecutor(1, thread_name_prefix="annobench-upload") as thread:
            ahead = thread.submit(self._upload, windows, main)
            while (uploaded := ahead.result()) is not None:
                cells, batches, ready = uploaded
                ahead = thread.submit(self._upload, windows, main)
                if main is not None and ready is not None:
                    main.wait_event(ready)
                for order, size, codes in batches:
                    yield cells.dense(order, size, self._dtype), codes

    def _upload(
        self,
        windows: "Iterator[tuple[int, Iterator[tuple[Window, NDArray[np.int64], NDArray[np.int64]]]]]",
        main: "torch.cuda.Stream | None",
    ) -> "tuple[Records, list[tuple[Tensor, tuple[int, ...], Tensor]], torch.cuda.Event | None] | None":
        """Upload the next window and the order of its cells; on a GPU in a stream beside `main`."""
        pieces = next((list(group) for _, group in windows), None)
        if pieces is None:
            return None
        stream = None if main is None else torch.cuda.Stream(self._device)  # type: ignore[no-untyped-call]
        with nullcontext() if stream is None else torch.cuda.stream(stream):
            cells = Records(_packed(pieces[0][0]), self._device)
            order = np.concatenate([inside for _, inside, _ in pieces])
            codes = self.loader.codes_of(np.concatenate([rows for *_, rows in pieces]))
            bounds = np.cumsum([0, *(len(inside) for _, inside, _ in pieces)]).tolist()
            places, targets = to_device(order, self._device), to_device(codes, self._device)
            batches = [
                (places[begin:end], size, targets[begin:end])
                for (begin, end), size in zip(pairwise(bounds), cells.sizes(order, bounds), strict=True)
            ]
            if main is None:
                return cells, batches, None
            for tensor in (places, targets, *cells.tensors()):
                tensor.record_stream(main)  # the allocator must not reuse them while `main` may read them
            return cells, batches, torch.cuda.current_stream().record_event()


def to_device(values: "NDArray[np.generic]", device: torch.device | str) -> Tensor:
    """An array on a device, by way of pinned memory where that is faster."""
    tensor = torch.from_numpy(values)
    if torch.device(device).type != "cuda":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)


def spans(begins: Tensor, lengths: Tensor, total: int) -> tuple[Tensor, Tensor]:
    """Ranges of integers, one after the other.

    Parameters
    ----------
    begins, lengths
        int64 (n,): the first number and the length of every range.
    total
        Sum of the lengths.

    Returns
    -------
    row, numbers
        int64 (total,) each: the range of every number, and the numbers.
    """
    numbers = torch.arange(len(lengths), device=lengths.device)
    row = torch.repeat_interleave(numbers, lengths, output_size=total)
    shift = begins - (lengths.cumsum(0) - lengths)
    return row, torch.arange(total, device=lengths.device) + shift[row]


class MatrixOnDevice:
    """A CSR matrix of values on a device."""

    def __init__(self, matrix: "csr_matrix", device: torch.device | str) -> None:
        self.device = torch.device(device)
        self._genes = matrix.shape[1]
        self._lengths = np.diff(matrix.indptr).astype(np.int64)
        self._starts = to_device(matrix.indptr[:-1].astype(np.int64), device)
        self._nnz = to_device(self._lengths, device)
        self._indices = to_device(matrix.indices.astype(np.int32), device)
        self._values = to_device(matrix.data.astype(np.float32), device)

    def sizes(self, order: "NDArray[np.int64]", bounds: Sequence[int]) -> "list[tuple[int, ...]]":
        """Sizes that `dense` needs for each batch order[bounds[i]:bounds[i + 1]]: its non-zeros."""
        return [(total,) for total in _sums(self._lengths[order], bounds)]

    def dense(self, order: Tensor, size: tuple[int, ...], dtype: torch.dtype = torch.float32) -> Tensor:
        """Dense rows of cells, (len(order), genes)."""
        row, place = spans(self._starts[order], self._nnz[order], size[0])
        out = torch.zeros(len(order) * self._genes, dtype=dtype, device=self.device)
        out[row * self._genes + self._indices[place]] = self._values[place].to(dtype)
        return out.view(-1, self._genes)


class Records:
    """Packed records on a device, decoded there to log1p of counts per target.

    Parameters
    ----------
    window
        The first records; `append` adds more of the same kind.
    device
        Where they are kept.
    cells, size
        Number and bytes of all records that will be added; by default those of the window.

    Raises
    ------
    DataError
        A record is damaged.
    """

    def __init__(
        self, window: PackedWindow, device: torch.device | str, cells: int | None = None, size: int | None = None
    ) -> None:
        self.device = torch.device(device)
        self._genes, self._target = window.genes, window.target
        column = window.column if len(window.column) else np.arange(self._genes, dtype=np.int32)
        self.genes = int((column >= 0).sum())
        self._column = to_device(column.astype(np.int64), device)
        begins, ends = window.records["begins"], window.records["ends"]
        size = int((ends - begins).sum()) if size is None else size
        cells = len(begins) if cells is None else cells
        self._buffer = torch.empty(size, dtype=torch.uint8, device=self.device)
        self._table = torch.empty((4, cells), dtype=torch.int64, device=self.device)  # begin, gap bytes, nnz, wide
        self._sizes = np.empty((2, cells), dtype=np.int64)  # gap bytes and wide counts, for the host
        self._used = self._n = 0
        self.append(window)

    @classmethod
    def of(cls, rows: Rows, device: torch.device | str) -> "Records":
        """All cells of rows, uploaded chunk by chunk."""
        chunks = [np.arange(at, min(at + _CHUNK, rows.n)) for at in range(0, rows.n, _CHUNK)]
        records = cls(_packed(rows.window(chunks[0])), device, rows.n, packed_bytes(rows))
        for chunk in chunks[1:]:
            records.append(_packed(rows.window(chunk)))
        return records

    def append(self, window: PackedWindow) -> None:
        """Upload the records of a window after those already there, and check them."""
        begins, ends, nnz, wide = (window.records[key] for key in ("begins", "ends", "nnz", "wide"))
        if not len(begins):
            return
        if (begins[1:] != ends[:-1]).any():
            raise ValueError("records must be adjacent")
        gaps = ends - begins - nnz - 4 * wide
        cells = slice(self._n, self._n + len(begins))
        table = np.stack([begins - begins[0] + self._used, gaps, nnz, wide])
        stop = self._used + int(ends[-1] - begins[0])
        self._buffer[self._used : stop] = to_device(window.buffer[begins[0] : ends[-1]], self.device)
        self._table[:, cells] = to_device(table, self.device)
        self._sizes[:, cells] = table[[1, 3]]
        self._used, self._n = stop, cells.stop
        self._check(window, cells.start, gaps - nnz)

    def _check(self, window: PackedWindow, first: int, spare: "NDArray[np.int64]") -> None:
        """Raise DataError for the first damaged record, from `first` on."""
        damaged = spare < 0
        for at in range(0, len(spare) if not damaged.any() else 0, _CHECKED):
            order = np.arange(at, min(at + _CHECKED, len(spare)))
            size = self.sizes(order + first, [0, len(order)])[0]
            gene, here, count, row, ends = self._counts(to_device(order + first, self.device), size[0])
            counted = torch.zeros((2, len(order)), dtype=torch.int64, device=self.device)
            counted[0].scatter_add_(0, row, here.long())
            counted[1].scatter_add_(0, row, (here & (count == 255)).long())
            last = torch.where(ends > 0, gene[(ends - 1).clamp_min(0)] if len(gene) else ends, -1)
            nnz, wide = self._table[2:, first + at : first + at + len(order)]
            good = (counted[0] == nnz) & (counted[1] == wide) & (last < self._genes)
            damaged[order] = ~good.cpu().numpy()
        if damaged.any():
            cell = int(np.flatnonzero(damaged)[0])
            raise DataError(f"{window.name(cell)}: its bytes are not a record of {self._genes} genes; make it again")

    def tensors(self) -> tuple[Tensor, ...]:
        """All tensors on the device."""
        return self._buffer, self._table, self._column

    def sizes(self, order: "NDArray[np.int64]", bounds: Sequence[int]) -> list[tuple[int, ...]]:
        """Sizes that `dense` needs for each batch order[bounds[i]:bounds[i + 1]]: gap bytes and wide counts."""
        return list(zip(*(_sums(values[order], bounds) for values in self._sizes), strict=True))

    def _counts(self, order: Tensor, size: int) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """For every gap byte: its gene, whether it holds a non-zero, its count byte and row; and the end of each row.

        A gap of 254 or less skips this many genes and holds the next; 255 skips this many and holds none. So every byte
        advances by min(gap + 1, 255), and a running sum over all bytes yields the genes.
        """
        begin, gaps, *_ = self._table[:, order]
        row, address = spans(begin, gaps, size)
        gap = self._buffer[address].long()
        here = gap != 255
        ends = gaps.cumsum(0)
        gene = _running((gap + 1).clamp_max(255), ends - gaps, row) - 1
        rank = _running(here.long(), ends - gaps, row) - 1
        # the limit matters for damaged records only
        count = self._buffer[((begin + gaps)[row] + rank).clamp_max(self._used - 1)].long()
        return gene, here, count, row, ends

    def dense(self, order: Tensor, size: tuple[int, ...], dtype: torch.dtype = torch.float32) -> Tensor:
        """Dense rows of log1p values, (len(order), genes)."""
        gene, here, count, row, ends = self._counts(order, size[0])
        count = torch.where(here, count, 0)
        if size[1]:
            wide = (count == 255).cumsum(0)  # the k-th wide count goes where this becomes k
            numbers = torch.arange(1, size[1] + 1, device=self.device)
            count[torch.searchsorted(wide, numbers)] = self._wide(order, size[1])
        column = self._column[gene]
        count = torch.where(column == -1, 0, count)  # a gene outside the panel adds nothing to the sum
        sums = torch.nn.functional.pad(count.cumsum(0), (1, 0))
        total = sums[ends] - sums[ends - self._table[1, order]]
        scale = (self._target / total.clamp_min(1).double()).float()
        value = torch.log1p(count.float() * scale[row]).to(dtype)
        given = here & (column >= 0)
        out = torch.zeros(len(order) * self.genes + 1, dtype=dtype, device=self.device)  # the last is a bin
        out[torch.where(given, row * self.genes + column, len(out) - 1)] = value
        return out[:-1].view(-1, self.genes)

    def _wide(self, order: Tensor, size: int) -> Tensor:
        """Wide counts of some cells, int64 (size,)."""
        begin, gaps, nnz, wide = self._table[:, order]
        row, number = spans(torch.zeros_like(wide), wide, size)
        address = (begin + gaps + nnz)[row] + 4 * number
        counts = torch.zeros_like(address)
        for byte in range(4):
            counts += self._buffer[address + byte].long() << 8 * byte
        return counts


def _packed(window: Window) -> PackedWindow:
    """The window; raises TypeError where its records are not packed."""
    if not isinstance(window, PackedWindow):
        raise TypeError(f"expected packed records, got {type(window).__name__}")
    return window


def _running(steps: Tensor, first: Tensor, row: Tensor) -> Tensor:
    """Running sum of steps, int64 (total,), that starts again with every row; `first` (n,) is where each starts."""
    sums = torch.nn.functional.pad(steps.cumsum(0), (1, 0))
    return sums[1:] - sums[first][row]


def _sums(values: "NDArray[np.int64]", bounds: Sequence[int]) -> list[int]:
    """Sums of values[bounds[i]:bounds[i + 1]] for every i."""
    running = np.concatenate([[0], np.cumsum(values)])
    return np.diff(running[list(bounds)]).tolist()
