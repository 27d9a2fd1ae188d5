"""Cells of a file found by their ids: which are wanted, which are missing, which are listed twice."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from annobench.core.errors import DataError
from annobench.core.parquet import positions, take
from annobench.fit.method import Notes

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

SHOWN = 10  # examples that messages and run records name


class Listed:
    """Cells that a file lists, one row each; a base of what readers return.

    Attributes
    ----------
    file
        Name of the file, for messages.
    cell_ids
        (n,) Arrow text.
    rows
        (n,) where the cells are in the file.
    unit
        What `rows` counts: `line` or `row`.
    """

    file: str
    cell_ids: "pa.Array"
    rows: "NDArray[np.int64]"
    unit: str

    def place(self, row: int) -> str:
        """Where a cell is, to begin a message with."""
        return f"{self.file}, {self.unit} {self.rows[row]}"

    def text(self, row: int) -> str:
        """Id of a cell."""
        return str(self.cell_ids[row].as_py())


@dataclass(frozen=True)
class ListedCells(Listed):
    """Nothing but the cells."""

    file: str
    cell_ids: "pa.Array"
    rows: "NDArray[np.int64]"
    unit: str = "row"


def prefixed(ids: "pa.Array", prefix: str) -> "pa.Array":
    """Ids with a text before each."""
    if not prefix:
        return ids
    import pyarrow as pa
    import pyarrow.compute as pc

    before, none = (pa.scalar(text, pa.large_string()) for text in (prefix, ""))
    return pc.binary_join_element_wise(before, ids, none)


class Matched(NamedTuple):
    """Wanted cells among the cells of a file.

    Parameters
    ----------
    row
        (n,) row of every wanted cell, -1 where the file does not have it.
    surplus
        Rows of cells that are not wanted, rising.
    absent, more
        The first ten cells that are missing, and that are surplus.
    """

    row: "NDArray[np.intp]"
    surplus: "NDArray[np.intp]"
    absent: list[str]
    more: list[str]

    @property
    def missing(self) -> int:
        """Number of wanted cells that the file does not have."""
        return int((self.row < 0).sum())

    def notes(self) -> Notes:
        """For run records."""
        return {
            "cells_joined": len(self.row) - self.missing,
            "cells_missing": self.missing,
            "missing": tuple(self.absent),
            "cells_surplus": len(self.surplus),
            "surplus": tuple(self.more),
        }


def matched(
    given: Listed,
    cells: "NDArray[np.object_]",
    *,
    missing: str,
    surplus: str = "ignore",
    what: str = "test cell",
) -> Matched:
    """Find cells by their ids.

    Parameters
    ----------
    given
        The cells of a file.
    cells
        (n,) ids of the wanted cells, every one different.
    missing
        Wanted cells that are not in the file are refused if this is `error`.
    surplus
        Cells of the file that are not wanted are refused if this is `error`.
    what
        What the wanted cells are, for messages.

    Raises
    ------
    DataError
        Where a cell is listed twice, where no cell is wanted, and where missing or surplus cells are an error.
    """
    import pyarrow as pa

    n, wanted = len(given.cell_ids), pa.array(cells, pa.large_string())
    row = positions(wanted, given.cell_ids)
    other = np.ones(n, dtype=bool)
    other[row[row >= 0]] = False
    surplus_rows, absent_rows = np.flatnonzero(other), np.flatnonzero(row < 0)
    _check_unique(given, surplus_rows)
    absent = take(wanted, absent_rows[:SHOWN]).to_pylist()
    more = take(given.cell_ids, surplus_rows[:SHOWN]).to_pylist()
    if len(absent_rows) == len(wanted):
        raise DataError(
            f"{given.file}: none of its {n} cells (such as '{given.text(0)}') is among the {len(wanted)} {what}s "
            f"(such as '{absent[0]}'); cells are joined by id: see `cell_id` and `prefix`"
        )
    if len(absent_rows) and missing == "error":
        raise DataError(
            f"{given.file}: {len(absent_rows)} of {len(wanted)} {what}s are missing "
            f"({_some(absent, len(absent_rows))}), and `missing` is error"
        )
    if len(surplus_rows) and surplus == "error":
        raise DataError(
            f"{given.place(int(surplus_rows[0]))}: cell '{more[0]}' is not a {what}; {len(surplus_rows)} of {n} "
            f"cells are not ({_some(more, len(surplus_rows))}), and `surplus` is error"
        )
    return Matched(row, surplus_rows, absent, more)


def _check_unique(given: Listed, surplus: "NDArray[np.intp]") -> None:
    """Raise DataError where a cell is listed twice; only a row that is no test cell's first one can repeat another."""
    if not len(surplus):
        return
    texts = take(given.cell_ids, surplus)
    alike = np.flatnonzero(positions(given.cell_ids, texts) >= 0)
    first = alike[positions(texts, take(given.cell_ids, alike), whole=True)]
    again = np.flatnonzero(first != surplus)
    if len(again):
        i = int(again[0])
        row = int(surplus[i])
        raise DataError(
            f"{given.place(row)}: cell '{given.text(row)}' is listed twice, first in {given.unit} "
            f"{given.rows[int(first[i])]}; expected one {given.unit} per cell"
        )


def _some(cells: Sequence[str], number: int) -> str:
    return ", ".join(cells) + (", ..." if number > len(cells) else "")
