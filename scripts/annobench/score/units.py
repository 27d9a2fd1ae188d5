"""Units: what intervals and tests resample."""

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from annobench.core.counts import summed
from annobench.core.parquet import NOT_GIVEN, Categorical, crc32
from annobench.score.truths import Truths

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

MAX_BLOCKS = 2000
PLURALS = {"donor": "donors", "study": "studies", "cell": "cells", "block": "blocks of cells"}
OF_CELLS = ("cell", "block")  # kinds of units that are no sampled biological unit


@dataclass(frozen=True)
class Units:
    """The unit of every scored cell.

    Parameters
    ----------
    kind
        `donor`, `study`, `cell` or `block` (of cells).
    of_cells
        (n,) name of the unit of each cell.
    """

    kind: str
    of_cells: Categorical

    @classmethod
    def one(cls, cells: int) -> "Units":
        """All cells in one unit, where nothing is resampled."""
        return cls("cell", Categorical(np.zeros(cells, dtype=np.int32), ["all"]))

    @cached_property
    def names(self) -> list[str]:
        """Units with cells, sorted."""
        return list(self.of_cells.counts())

    @cached_property
    def codes(self) -> "NDArray[np.int32]":
        """(n,) positions in `names`."""
        return self.of_cells.recode(self.names)

    @cached_property
    def cells(self) -> "Array":
        """Cells of every unit, (units,)."""
        return np.bincount(self.codes, minlength=len(self.names)).astype(np.float64)

    def sum(self, values: "Array") -> "Array":
        """Sum of a value of every cell, (n,) -> (units,)."""
        return summed(self.codes, values, len(self.names))

    def sum_by(self, columns: "NDArray[np.intp]", size: int, values: "Array") -> "Array":
        """Sum of a value of every cell by unit and a column that each cell is of, (units, size)."""
        places = self.codes.astype(np.int64) * size + columns
        return summed(places, values, len(self.names) * size).reshape(-1, size)


def resampling_units(truths: Truths, min_units: int) -> Units:
    """Donors where the test cells have at least `min_units` of them, else studies, else cells or blocks of cells.

    Cells of a dataset with more than 2,000 cells are joined to 2,000 blocks by a hash of their id: the same blocks for
    every method.
    """
    for column in ("donor", "study"):
        names = set(truths.columns[column].counts())
        if NOT_GIVEN not in names and len(names) >= min_units:
            return Units(column, truths.columns[column])
    if truths.cells <= MAX_BLOCKS:
        return Units("cell", Categorical.of([str(place) for place in truths.places.tolist()]))
    blocks = (crc32(truths.ids) % MAX_BLOCKS).astype(np.int32)
    return Units("block", Categorical(blocks, [str(block) for block in range(MAX_BLOCKS)]))
