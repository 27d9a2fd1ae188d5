"""Tokens of cells, and batches of them that hold little padding."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class TokenTable:
    """Tokens of cells: those of cell i are `ids[offsets[i]:offsets[i + 1]]`, and the first of them stands for the cell.

    Parameters
    ----------
    offsets
        int64 (cells of the dataset + 1,).
    ids
        Integers (tokens,), ids of the vocabulary.
    values
        (tokens,), float32, or integers where they are bins or counts.
    places
        int64 (n,), which cells of the dataset these are, in order; None for all.
    first
        Value of the first token of every cell, where `values` cannot hold it; None where it can.
    """

    offsets: "NDArray[np.int64]"
    ids: "NDArray[np.integer]"
    values: "NDArray[np.number]"
    places: "NDArray[np.int64] | None" = None
    first: float | None = None

    def __len__(self) -> int:
        return len(self.offsets) - 1 if self.places is None else len(self.places)

    def rows(self, rows: "NDArray[np.integer]") -> "TokenTable":
        """Some of the cells; nothing is copied but their places."""
        return replace(self, places=np.asarray(rows, dtype=np.int64) if self.places is None else self.places[rows])

    def lengths(self) -> "NDArray[np.int64]":
        """Tokens of every cell, (n,)."""
        if self.places is not None:  # of these alone: the dataset may have millions
            return self.offsets[self.places + 1] - self.offsets[self.places]
        lengths: NDArray[np.int64] = np.diff(self.offsets)
        return lengths

    def batch(self, rows: "NDArray[np.integer]", pad: int, device: str = "cpu") -> "Batch":
        """Some of the cells side by side, padded to the longest of them."""
        cells = np.asarray(rows, dtype=np.int64) if self.places is None else self.places[rows]
        starts, lengths = self.offsets[cells], self.offsets[cells + 1] - self.offsets[cells]
        steps = np.arange(lengths.max())
        mask = steps < lengths[:, None]
        where = (starts[:, None] + np.minimum(steps, lengths[:, None] - 1)).astype(np.int64)
        ids = np.where(mask, self.ids[where], pad).astype(np.int64)
        values = self.values[where].astype(np.float32)
        if self.first is not None:
            values[:, 0] = self.first
        return Batch(
            torch.from_numpy(ids).to(device),
            torch.from_numpy(values).to(device),
            None if mask.all() else torch.from_numpy(mask).to(device),
        )


@dataclass(frozen=True)
class Batch:
    """Cells as a Backbone takes them: genes, values, and a mask where there is padding."""

    genes: Tensor
    values: Tensor
    mask: Tensor | None

    def __len__(self) -> int:
        return len(self.genes)

    def double(self) -> "Batch":
        """For a network in double precision."""
        return replace(self, values=self.values.double())


def pieces(lengths: "NDArray[np.integer]", budget: int, *, waste: float = 0.1) -> "Iterator[NDArray[np.int64]]":
    """Cells in groups of similar length.

    Parameters
    ----------
    lengths
        (n,) tokens of every cell.
    budget
        Most tokens of a group, padding included; a longer cell is a group of its own.
    waste
        A group that is at least an eighth of the budget ends where more than this share of it would be padding.

    Yields
    ------
    Places in `lengths`; every cell once, the longest first, so that a lack of memory shows at once.
    """
    order = np.argsort(-lengths, kind="stable")
    start, sorted_lengths = 0, lengths[order].astype(np.int64)
    sums = np.concatenate([[0], np.cumsum(sorted_lengths)])
    while start < len(order):
        longest = max(int(sorted_lengths[start]), 1)
        ends = np.arange(start + 1, min(start + max(budget // longest, 1), len(order)) + 1)
        padded = (ends - start) * longest
        full = (sums[ends] - sums[start] >= (1 - waste) * padded) | (padded < budget // 8)
        stop = int(ends[len(full) - 1 if full.all() else max(int(np.argmin(full)) - 1, 0)])
        yield order[start:stop]
        start = stop
