"""Predictions made elsewhere: what a reader finds in a file, its labels as Cell Ontology ids, joined by cell id."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from annobench.core.errors import DataError
from annobench.core.parquet import Categorical, positions, to_arrow
from annobench.fit.method import Notes
from annobench.fit.predictions import Predictions
from annobench.ontology import UNKNOWN

if TYPE_CHECKING:
    from numpy.typing import NDArray

SHOWN = 10  # examples that messages and run records name


@dataclass(frozen=True)
class ImportedPredictions:
    """What a reader finds in a file: labels as they are written there, one row per cell.

    Parameters
    ----------
    file
        Name of the file, for messages.
    cell_ids
        (n,) text, every one different.
    labels
        (n, k) text, best first; empty where a cell has no label of a rank.
    scores
        (n, k) numbers, NaN where there is no label; or None.
    confidence
        (n,) numbers, NaN where there is no first label; or None.
    rows
        (n,) where the cells stand in the file.
    unit
        What `rows` counts: `line` or `row`.
    """

    file: str
    cell_ids: "NDArray[np.object_]"
    labels: "NDArray[np.object_]"
    scores: "NDArray[np.float64] | None"
    confidence: "NDArray[np.float64] | None"
    rows: "NDArray[np.int64]"
    unit: str = "line"

    def prefixed(self, prefix: str) -> "ImportedPredictions":
        """The same with a text before every cell id."""
        if not prefix:
            return self
        return replace(self, cell_ids=np.array([prefix + cell for cell in self.cell_ids], dtype=object))

    def place(self, row: int) -> str:
        """Where a cell stands, to begin a message with."""
        return f"{self.file}, {self.unit} {self.rows[row]}"


@dataclass(frozen=True)
class Labels:
    """How the labels of a file become Cell Ontology ids.

    Parameters
    ----------
    find
        Gives the id of a label, None where there is none. The label `unknown` needs no id.
    what
        What the labels should be, for messages.
    unmapped
        What happens with labels without an id: `unknown`, or `error`.
    """

    find: Callable[[str], str | None]
    what: str
    unmapped: str

    def _id(self, text: str) -> str | None:
        if text.lower() == UNKNOWN:
            return UNKNOWN
        return self.find(text) if text else None

    def ids(self, given: ImportedPredictions) -> "tuple[NDArray[np.object_], Notes]":
        """Ids of all labels, (n, k), and what run records say of them.

        A rank without a label is `unknown`, and so is one that repeats the id of a better rank. Raises DataError for a
        label without an id where these are an error, and where no label has one.
        """
        coded = Categorical.of(given.labels.ravel())
        found = [self._id(text) for text in coded.names]
        ids = np.array([UNKNOWN if label is None else label for label in found] or [UNKNOWN], dtype=object)
        codes = coded.codes.reshape(given.labels.shape)
        first = Categorical(codes[:, 0], coded.names).counts()
        lacking = {text: n for text, n in first.items() if found[coded.names.index(text)] is None}
        if lacking and set(found) <= {None, UNKNOWN}:
            raise DataError(
                f"{given.file}: none of the labels is {self.what} (such as '{next(iter(lacking))}'); say in "
                "`labels` what they are, or map them by a `label_table`"
            )
        if lacking and self.unmapped == "error":
            text = next(iter(lacking))
            row = int(np.flatnonzero(codes[:, 0] == coded.names.index(text))[0])
            raise DataError(
                f"{given.place(row)}: label '{text}' is not {self.what}; {len(lacking)} labels of "
                f"{sum(lacking.values())} cells are not, and `unmapped` is error"
            )
        result: NDArray[np.object_] = ids[codes]
        for rank in range(1, result.shape[1]):
            result[(result[:, :rank] == result[:, [rank]]).any(axis=1), rank] = UNKNOWN
        most = dict(Counter({text or "(empty)": n for text, n in lacking.items()}).most_common(SHOWN))
        return result, {"cells_unmapped": sum(lacking.values()), "labels_unmapped": len(lacking), "unmapped": most}


def joined(
    given: ImportedPredictions, labels: "NDArray[np.object_]", wanted: Sequence[str], *, missing: str, surplus: str
) -> tuple[Predictions, Notes]:
    """Predictions of the wanted cells, joined by id, and what run records say of missing and surplus cells.

    Parameters
    ----------
    given
        What a reader found.
    labels
        Its labels as ids, (n, k).
    wanted
        Ids of the test cells.
    missing
        What happens with test cells that are not in the file: `unknown` (with the lowest confidence and scores), or
        `error`.
    surplus
        What happens with cells of the file that are not test cells: `ignore`, or `error`.

    Raises
    ------
    DataError
        Where no cell is a test cell, and where missing or surplus cells are an error.
    """
    _check_scores(given)
    cells = np.array(wanted, dtype=object)
    row = positions(to_arrow(cells), to_arrow(given.cell_ids))
    absent = cells[row < 0]
    other = np.ones(len(given.cell_ids), dtype=bool)
    other[row[row >= 0]] = False
    more = given.cell_ids[other]
    if len(absent) == len(cells):
        raise DataError(
            f"{given.file}: none of its {len(given.cell_ids)} cells (such as '{given.cell_ids[0]}') is among the "
            f"{len(cells)} test cells (such as '{cells[0]}'); cells are joined by id: see `cell_id` and `prefix`"
        )
    if len(absent) and missing == "error":
        raise DataError(
            f"{given.file}: {len(absent)} of {len(cells)} test cells are missing ({_some(absent)}), and `missing` is "
            "error"
        )
    if len(more) and surplus == "error":
        at = int(np.flatnonzero(other)[0])
        raise DataError(
            f"{given.place(at)}: cell '{more[0]}' is not a test cell; {len(more)} of {len(given.cell_ids)} cells are "
            f"not ({_some(more)}), and `surplus` is error"
        )
    filled = np.where(row < 0, len(given.cell_ids), row)
    notes: Notes = {
        "cells_joined": len(cells) - len(absent),
        "cells_missing": len(absent),
        "missing": tuple(absent[:SHOWN]),
        "cells_surplus": len(more),
        "surplus": tuple(more[:SHOWN]),
    }
    nothing = np.full((1, labels.shape[1]), UNKNOWN, dtype=object)
    found = Predictions(cells, np.vstack([labels, nothing])[filled])
    if given.scores is not None:
        found.scores = _without_gaps(given.scores)[filled]
    if given.confidence is not None:
        found.confidence = _without_gaps(given.confidence)[filled]
    return found, notes


def _check_scores(given: ImportedPredictions) -> None:
    """Raise DataError where the score of a rank is larger than that of a better rank."""
    if given.scores is None:
        return
    rising = np.diff(given.scores, axis=1) > 0
    if rising.any():
        row, rank = (int(place[0]) for place in np.nonzero(rising))
        first, second = given.scores[row, rank : rank + 2]
        raise DataError(
            f"{given.place(row)}: the score of rank {rank + 2} ({second:g}) is larger than that of rank {rank + 1} "
            f"({first:g}); name the columns of `ranks` and `scores` best first"
        )


def _without_gaps(values: "NDArray[np.float64]") -> "NDArray[np.float64]":
    """Numbers of all cells, and a last row for a cell that is not there: 0, or the lowest value below, where none is.

    A rank without a score has the score of the rank before it, so that scores fall.
    """
    lowest = min(0.0, float(np.nanmin(values, initial=0.0)))
    found = np.concatenate([values, np.full((1, *values.shape[1:]), lowest)])
    if found.ndim == 1:
        return np.where(np.isnan(found), lowest, found)
    found[:, 0] = np.where(np.isnan(found[:, 0]), lowest, found[:, 0])
    for rank in range(1, found.shape[1]):
        found[:, rank] = np.where(np.isnan(found[:, rank]), found[:, rank - 1], found[:, rank])
    return found


def _some(cells: "NDArray[np.object_]") -> str:
    return ", ".join(map(str, cells[:3])) + (", ..." if len(cells) > 3 else "")
