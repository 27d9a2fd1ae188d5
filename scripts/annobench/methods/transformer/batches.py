"""Tokens of cells, and batches of them."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from annobench.methods.transformer.packing import Packing

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

    def _joined(
        self, rows: "NDArray[np.integer]"
    ) -> "tuple[NDArray[np.int64], NDArray[np.integer], NDArray[np.number]]":
        """Lengths, ids and values of some of the cells, one after another."""
        cells = np.asarray(rows, dtype=np.int64) if self.places is None else self.places[rows]
        starts, lengths = self.offsets[cells], self.offsets[cells + 1] - self.offsets[cells]
        where = np.arange(lengths.sum()) + np.repeat(starts - (np.cumsum(lengths) - lengths), lengths)
        return lengths.astype(np.int64), self.ids[where], self.values[where]

    def sha256(self) -> str:
        """Hash of the tokens of all cells, in order."""
        digest = hashlib.sha256()
        for one in self._joined(np.arange(len(self))):
            digest.update(np.ascontiguousarray(one).tobytes())
        return digest.hexdigest()

    def packed(self, rows: "NDArray[np.integer]", device: str = "cpu") -> "Batch":
        """Some of the cells one after another; cheapest where their lengths rise or fall."""
        lengths, own_ids, own_values = self._joined(rows)
        begins = np.cumsum(lengths) - lengths
        ids, values = own_ids.astype(np.int64), own_values.astype(np.float32)
        if self.first is not None:
            values[begins] = self.first
        return Batch(
            torch.from_numpy(ids[None]).to(device),
            torch.from_numpy(values[None]).to(device),
            Packing.of(lengths, device),
        )

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
    """Cells as an encoder takes them: genes, values, and where cells are.

    Parameters
    ----------
    genes, values
        (cells, length), or (1, tokens) where they are packed.
    mask
        bool (cells, length), false for padding; None where there is none; or how they are packed.
    """

    genes: Tensor
    values: Tensor
    mask: Tensor | Packing | None

    def __len__(self) -> int:
        return len(self.mask) if isinstance(self.mask, Packing) else len(self.genes)

    def double(self) -> "Batch":
        """For a network in double precision."""
        return replace(self, values=self.values.double())


def pieces(lengths: "NDArray[np.integer]", budget: int) -> "Iterator[NDArray[np.int64]]":
    """Cells in groups that are computed at once.

    Parameters
    ----------
    lengths
        (n,) tokens of every cell.
    budget
        Most tokens of a group; a longer cell is a group of its own.

    Yields
    ------
    Places in `lengths`; every cell once, the longest first, so that a lack of memory shows at once.
    """
    order = np.argsort(-lengths, kind="stable")
    sums = np.concatenate([[0], np.cumsum(lengths[order].astype(np.int64))])
    start = 0
    while start < len(order):
        stop = max(int(np.searchsorted(sums, sums[start] + budget, side="right")) - 1, start + 1)
        yield order[start:stop]
        start = stop
