"""The order in which cells are visited: random, and yet sequential enough for a disk.

An atlas lies on disk study after study, donor after donor. Blocks of a few neighbouring cells are drawn at random until
they fill a window that fits into memory, and the cells of a window are shuffled. With batches of B cells, blocks of b
and windows of W, the variance of the composition of a batch is 1 + B * b / W times that of batches drawn cell by cell
(measured in benchmarks/shuffle_quality.py); `layout` keeps it at 1.5 or below. If all cells fit into one window, the
order is a permutation of all of them, and the variance is not inflated.

Everything follows from the seed and the number of the epoch, whatever the number of threads.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

BLOCK = 16  # cells that are read together: with two bytes a value about 60 KB, which a disk reads as fast as more
INFLATION = 1.5  # at most, of the variance of a batch's composition


@dataclass(frozen=True)
class Layout:
    """Numbers of cells that are read together (`block`) and shuffled together (`window`)."""

    block: int
    window: int


def layout(n: int, batch: int, fitting: int) -> Layout:
    """Blocks and windows for `n` cells of which `fitting` fit into a window.

    Blocks shrink if the window is small. Raises ValueError where even single cells would be shuffled badly.
    """
    if fitting >= n:
        return Layout(BLOCK, max(n, 1))
    window = max(fitting // batch, 1) * batch
    block = min(BLOCK, int((INFLATION - 1) * window / batch))
    if block < 1:
        raise ValueError(
            f"{fitting} cells fit into the memory of a window, batches of {batch} need {2 * batch} to be shuffled; "
            "raise memory_mb or make batches smaller"
        )
    return Layout(block, window)


def batch_sizes(n: int, batch: int, drop_last: bool) -> "NDArray[np.int64]":
    """Sizes of the batches of `n` cells. A last batch of one cell is joined to the one before it."""
    sizes = np.full(n // batch, batch, dtype=np.int64)
    rest = n % batch
    if rest == 1 and len(sizes) and not drop_last:
        sizes[-1] += 1
    elif rest and not (drop_last and len(sizes)):
        sizes = np.append(sizes, rest)
    return sizes


def drawn(weights: "NDArray[np.float64]", draws: int, rng: np.random.Generator) -> "NDArray[np.int64]":
    """Positions drawn with replacement, each with a chance in proportion to its weight.

    One draw from each of `draws` equal slices of the cumulative weight (stratified resampling; Kitagawa, Journal of
    Computational and Graphical Statistics 1996): the number of times that a cell is drawn differs from its expectation
    by less than two.

    Parameters
    ----------
    weights
        (n,).
    draws
        Number of draws.
    rng
        Random stream.

    Returns
    -------
    Rising positions (draws,).

    Raises
    ------
    ValueError
        For weights that are negative, not finite, or all zero.
    """
    total = np.cumsum(weights, dtype=np.float64)
    if not len(total) or not np.isfinite(total[-1]) or total[-1] <= 0 or (weights < 0).any():
        raise ValueError("weights must be finite, not negative, and not all zero")
    points = (np.arange(draws) + rng.random(draws)) * (total[-1] / draws)
    positions = np.searchsorted(total, points, side="right")
    return np.minimum(positions, np.flatnonzero(weights)[-1]).astype(np.int64)  # rounding may point beyond the last


def windows(
    n: int, plan: Layout, rng: np.random.Generator | None, share: tuple[int, int] = (0, 1)
) -> "Iterator[NDArray[np.int64]]":
    """Numbers 0..n-1 window by window, in the order in which they are visited.

    Parameters
    ----------
    n
        Number of cells.
    plan
        Sizes of blocks and windows.
    rng
        Random stream; None for the order of the cells.
    share
        (rank, world); every rank gets n // world of them, none of which another rank gets.
    """
    rank, world = share
    phase = int(rng.integers(plan.block)) if rng is not None else 0  # different neighbours in every epoch
    starts = np.arange(phase - plan.block if phase else 0, n, plan.block)
    stops = np.minimum(starts + plan.block, n)
    starts = np.maximum(starts, 0)
    order = np.arange(len(starts)) if rng is None else rng.permutation(len(starts))
    ends = np.cumsum((stops - starts)[order])
    begin, end = (0, n) if world == 1 else (n // world * rank, n // world * (rank + 1))
    bounds = [*range(begin, end, plan.window), end]
    if len(bounds) > 2 and bounds[-1] - bounds[-2] == 1:
        del bounds[-2]  # a single last cell belongs to the batch before it
    for start, stop in pairwise(bounds):
        first, last = np.searchsorted(ends, [start, stop - 1], side="right")
        blocks = order[first : last + 1]
        sizes = stops[blocks] - starts[blocks]
        # the entries of these blocks, one after the other
        entries = np.repeat(starts[blocks] - (np.cumsum(sizes) - sizes), sizes) + np.arange(sizes.sum())
        skipped = start - int(ends[first] - sizes[0])
        entries = entries[skipped : skipped + stop - start]
        yield entries if rng is None else rng.permutation(entries)
