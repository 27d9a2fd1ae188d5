"""Shuffled batches of cells, from memory or from disk, which is read in the background."""

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from annobench.cells.store.batch import Batch, DenseBatch
from annobench.cells.store.buffers import Buffers
from annobench.cells.store.order import Layout, batch_sizes, drawn, layout, windows
from annobench.cells.store.rows import Rows, Window

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Visit: TypeAlias = tuple[Window, NDArray[np.int64], NDArray[np.int64]]  # window, places in it, rows
    Ahead: TypeAlias = tuple[Window | None, NDArray[np.int64], NDArray[np.int64]]  # without a window where skipped

MEMORY_MB = 800  # with Python, two dense batches of 2,048 cells and the network a process stays under 1.5 GiB


class Loader:
    """Batches of cells in an order that follows from a seed.

    The order does not depend on `threads` or timing, so that an epoch can be resumed at any batch; it does depend on
    `memory_mb` and `batch_size`.

    Parameters
    ----------
    rows
        The cells, n of them.
    codes
        Class numbers, (n,); None where there are none.
    batch_size
        Cells of a batch.
    seed
        Of the order.
    shuffle
        Whether to shuffle; otherwise the cells come in their own order.
    weights
        (n,), the chance of each cell to be drawn, with replacement; or `balanced`: every class of `codes` equally
        often. An epoch has as many draws as there are cells.
    drop_last
        Leave out a last batch that is not full.
    threads
        For decoding.
    memory_mb
        Memory (MB) for the bytes of cells. If all fit, they are read once and every epoch is a permutation of all
        cells; otherwise they are read window by window, one ahead (see `annobench.cells.store.order`).
    rank, world
        The share of this process among several.

    Attributes
    ----------
    resident
        Whether all cells are kept in memory.
    sizes
        Sizes of the batches of an epoch.

    Raises
    ------
    ValueError
        For settings that do not go together.
    """

    def __init__(
        self,
        rows: Rows,
        codes: "NDArray[np.integer] | None" = None,
        *,
        batch_size: int,
        seed: int = 0,
        shuffle: bool = True,
        weights: "NDArray[np.number] | str | None" = None,
        drop_last: bool = False,
        threads: int = 1,
        memory_mb: float = MEMORY_MB,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        if batch_size < 1:
            raise ValueError(f"batch_size is {batch_size}, expected at least 1")
        if codes is not None and len(codes) != rows.n:
            raise ValueError(f"{len(codes)} codes for {rows.n} cells")
        if isinstance(weights, str):
            weights = _balanced(weights, codes)
        if weights is not None and len(weights) != rows.n:
            raise ValueError(f"{len(weights)} weights for {rows.n} cells")
        if weights is not None and not shuffle:
            raise ValueError("weights need shuffle")
        self.rows, self.threads = rows, threads
        self._codes = None if codes is None else np.asarray(codes)
        self._weights = None if weights is None else np.asarray(weights, dtype=np.float64)
        self._seed, self.shuffle, self._share = seed, shuffle, (rank, world)
        self.resident = rows.nbytes <= memory_mb * 1e6
        if self.resident:
            self.layout = Layout(1, max(rows.n, 1))
        else:  # two windows: one is used while the next one is read
            fitting = int(memory_mb * 1e6 / 2 / (rows.nbytes / rows.n))
            in_order = Layout(1, max(fitting // batch_size, 1) * batch_size)
            self.layout = layout(rows.n, batch_size, fitting) if shuffle else in_order
        self.sizes = batch_sizes(rows.n // world, batch_size, drop_last)
        self._everything: Window | None = None
        self._buffers = Buffers()

    def __len__(self) -> int:
        return len(self.sizes)

    def epoch(self, number: int = 0, start: int = 0) -> Iterator[Batch]:
        """The batches of an epoch as CSR rows, from batch `start` on."""
        for window, order, rows in self.pieces(number, start):
            indptr, indices, values = window.sparse(order, self.threads, self._buffers)
            del window  # free a used window before the next but one is read
            yield Batch(indptr, indices, values, self.codes_of(rows), rows, self.rows.genes)
            del indices, values  # otherwise they would still be referenced when the next ones are taken

    def dense_epoch(self, number: int = 0, start: int = 0) -> Iterator[DenseBatch]:
        """The batches of an epoch as dense rows."""
        for window, order, rows in self.pieces(number, start):
            values = self._buffers.take((len(order), self.rows.genes), np.float32)
            window.dense(order, self.threads, values)
            del window
            yield DenseBatch(values, self.codes_of(rows), rows)
            del values  # otherwise it would still be referenced when the next one is taken

    def codes_of(self, rows: "NDArray[np.int64]") -> "NDArray[np.int64]":
        """Class numbers of cells."""
        return np.full(len(rows), -1) if self._codes is None else self._codes[rows].astype(np.int64)

    def visits(self, number: int) -> Iterator["NDArray[np.int64]"]:
        """Positions of cells window by window, in the order in which they are visited."""
        if not self.shuffle:
            yield from windows(self.rows.n, self.layout, None, self._share)
            return
        rng = np.random.default_rng([self._seed, number])
        entries = None if self._weights is None else drawn(self._weights, self.rows.n, rng)
        for visits in windows(self.rows.n, self.layout, rng, self._share):
            yield visits if entries is None else entries[visits]

    def pieces(self, number: int, start: int) -> "Iterator[Visit]":
        """For each batch from `start` on: its window, the positions in it, the positions among all rows."""
        ends = np.cumsum(self.sizes)
        batch, seen = start, 0
        windows = self._windows(number, int(ends[start - 1]) if start else 0)
        while (ahead := next(windows, None)) is not None:
            window, inside, visits = ahead
            while batch < len(ends) and ends[batch] - seen <= len(visits):
                piece = slice(int(ends[batch] - self.sizes[batch] - seen), int(ends[batch] - seen))
                assert window is not None  # windows before the first batch are all that is skipped
                yield window, inside[piece], visits[piece]
                batch += 1
            seen += len(visits)
            del window, ahead  # its memory is that of the next but one

    def _windows(self, number: int, skip: int) -> "Iterator[Ahead]":
        """Every window with the cells that are visited in it; the next one is read while one is used.

        Windows that end before entry `skip` are not read.
        """
        if self.resident:
            if self._everything is None:
                self._everything = self.rows.window(np.arange(self.rows.n))
            for visits in self.visits(number):
                yield self._everything, visits, visits
            return
        coming, seen = self.visits(number), 0
        with ThreadPoolExecutor(1, thread_name_prefix="annobench-reader") as reader:

            def ahead() -> "Future[Ahead] | None":
                nonlocal seen
                following = next(coming, None)
                if following is None:
                    return None
                seen += len(following)
                return reader.submit(self._read, following, seen <= skip)

            waiting = ahead()
            while waiting is not None:
                window = waiting.result()
                waiting = ahead()
                yield window
                del window

    def _read(self, visits: "NDArray[np.int64]", skipped: bool) -> "Ahead":
        if skipped:
            return None, visits, visits
        positions, inside = np.unique(visits, return_inverse=True)  # a cell that was drawn twice is read once
        return self.rows.window(positions), inside, visits


def _balanced(weights: str, codes: "NDArray[np.integer] | None") -> "NDArray[np.float64]":
    """Weights (n,) with which every class that has cells is drawn equally often. Raises ValueError."""
    if weights != "balanced" or codes is None:
        raise ValueError(f"weights is '{weights}', expected numbers, or balanced together with codes")
    _, of_cell, counts = np.unique(codes, return_inverse=True, return_counts=True)
    return 1 / counts[of_cell]
