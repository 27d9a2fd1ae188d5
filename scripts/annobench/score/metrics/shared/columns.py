"""Cells by a column of obs, such as their batch, for families of embeddings."""

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from annobench.cells.neighbours import Neighbours, nearest_neighbours
from annobench.core.parquet import NOT_GIVEN
from annobench.score.evidence import Evidence

if TYPE_CHECKING:
    from numpy.typing import NDArray


class CellsWith(NamedTuple):
    """Cells whose value in a column is given.

    Parameters
    ----------
    cells
        (m,) their positions.
    codes
        (m,) numbers of their values, from 0 on; every number occurs.
    names
        The values.
    neighbours
        Neighbours of these cells among them.
    """

    cells: "NDArray[np.intp]"
    codes: "NDArray[np.intp]"
    names: list[str]
    neighbours: Neighbours


def cells_with(evidence: Evidence, role: str, *, values: int = 2) -> CellsWith | None:
    """The cells with a value in the column `batch` or `order`; None, and a line in the log, for too few values.

    Cells whose value is not given are left out, and counted in the log.
    """
    return evidence.once(f"cells_with_{role}", lambda: _found(evidence, role, values))


def _found(evidence: Evidence, role: str, values: int) -> CellsWith | None:
    column = evidence.column(role)
    given = np.array([name != NOT_GIVEN for name in column.names] + [False])[column.codes]
    cells = np.flatnonzero(given)
    if len(cells) < len(given):
        print(f"{role}: {len(given) - len(cells)} of {len(given)} cells have no value, and are left out", flush=True)
    used, codes = np.unique(column.codes[cells], return_inverse=True)
    if len(used) < values:
        names = ", ".join(column.names[i] for i in used) or "none"
        print(f"{role}: the cells have one value only ({names}), {values} are needed; no score of it", flush=True)
        return None
    whole = len(cells) == len(given)
    neighbours = evidence.neighbours if whole else nearest_neighbours(evidence.embedding[cells])
    return CellsWith(cells, codes, [column.names[i] for i in used], neighbours)
