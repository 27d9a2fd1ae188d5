"""Cells one after another, without padding: only attention looks at cells, and there groups of like length are padded.

What works on single tokens (linear maps, norms, dropout, adapters) then runs once for a batch of cells of any lengths.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

if TYPE_CHECKING:
    from numpy.typing import NDArray

_WASTE, _WASTE_GPU = 4_096, 1 << 20  # pairs of tokens that may be padding in a group, rather than one more call
_MULTIPLE = 16  # kernels of attention are slower with lengths between the multiples of their blocks


@dataclass(frozen=True)
class Group:
    """Consecutive cells of a batch whose attention is computed in one call.

    Parameters
    ----------
    cells, tokens
        How many.
    places
        int64 (cells, longest), the token of the group in every place, anyone where there is padding; None where all
        cells have this length.
    kept
        int64 (tokens,), the places that are no padding, of all places in order.
    mask
        bool (cells, longest), which places these are.
    """

    cells: int
    tokens: int
    places: Tensor | None = None
    kept: Tensor | None = None
    mask: Tensor | None = None

    def padded(self, values: Tensor) -> Tensor:
        """(tokens, width) as (cells, longest, width)."""
        if self.places is None:
            return values.view(self.cells, -1, values.shape[-1])
        return functional.embedding(self.places, values)

    def packed(self, values: Tensor) -> Tensor:
        """(cells, longest, width) as (tokens, width)."""
        flat = values.flatten(0, 1)
        return flat if self.kept is None else functional.embedding(self.kept, flat)


@dataclass(frozen=True)
class Packing:
    """Where the cells of a batch lie.

    Parameters
    ----------
    starts
        int64 (cells,), first token of every cell.
    owners
        int64 (tokens,), cell of every token.
    groups
        That make up the batch.
    """

    starts: Tensor
    owners: Tensor
    groups: tuple[Group, ...]

    def __len__(self) -> int:
        return len(self.starts)

    def tokens(self, values: Tensor) -> tuple[Tensor, ...]:
        """(1, tokens, width) as (tokens of the group, width) of every group."""
        return torch.split(values.squeeze(0), [group.tokens for group in self.groups])

    def cells(self, values: Tensor) -> tuple[Tensor, ...]:
        """(…, cells, width) as (…, cells of the group, width) of every group."""
        return torch.split(values, [group.cells for group in self.groups], dim=-2)

    @classmethod
    def of(cls, lengths: "NDArray[np.int64]", device: str = "cpu", *, waste: int | None = None) -> "Packing":
        """Of cells one after another; groups hold little padding where neighbours are alike.

        Parameters
        ----------
        lengths
            (cells,) their tokens.
        device
            `cpu` or `cuda`.
        waste
            Most pairs of tokens of a group that are padding, but for what fills it up to a good length; None for what
            suits the device.
        """
        if waste is None:
            waste = _WASTE if torch.device(device).type == "cpu" else _WASTE_GPU
        ends = np.cumsum(lengths)
        starts = ends - lengths
        made = []
        for first, last in _groups(lengths, waste):
            own, cells, tokens = lengths[first:last], last - first, int(ends[last - 1] - starts[first])
            if cells == 1 or ((own == own[0]).all() and own[0] % _MULTIPLE == 0):
                made.append(Group(cells, tokens))
                continue
            steps = np.arange(-(-int(own.max()) // _MULTIPLE) * _MULTIPLE)
            mask = steps < own[:, None]
            places = (starts[first:last] - starts[first])[:, None] + np.where(mask, steps, 0)
            kept = np.flatnonzero(mask)
            made.append(Group(cells, tokens, *(torch.from_numpy(one).to(device) for one in (places, kept, mask))))
        owners = np.repeat(np.arange(len(lengths)), lengths)
        return cls(torch.from_numpy(starts).to(device), torch.from_numpy(owners).to(device), tuple(made))


def _groups(lengths: "NDArray[np.int64]", most: int) -> Iterator[tuple[int, int]]:
    """First and last (exclusive) cell of every group, in which at most so many pairs of tokens are padding."""
    first, wasted, longest = 0, 0, 0
    for i, length in enumerate(lengths.tolist()):
        if length > longest and i > first:  # all before it would be padded to it
            grown = wasted + (i - first) * (length**2 - longest**2)
        else:
            grown = wasted + max(longest, length) ** 2 - length**2
        if i > first and grown > most:
            yield first, i
            first, wasted, longest = i, 0, length
        else:
            wasted, longest = grown if i > first else 0, max(longest, length)
    yield first, len(lengths)
