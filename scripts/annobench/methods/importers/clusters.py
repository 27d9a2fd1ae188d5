"""Reads answers for clusters of cells, such as those of a language model, and gives every cell that of its cluster."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from annobench.cells.obs_columns import read_obs
from annobench.core.errors import DataError
from annobench.core.parquet import Categorical
from annobench.core.tables import Table, Wanted, read_table
from annobench.methods.shared.imports import ImportedPredictions, listed, located, most

if TYPE_CHECKING:
    from numpy.typing import NDArray

FILES = ("{path}", "{cells}")


def read(
    path: Path,
    *,
    cells: str,
    cells_id: str = "index",
    cells_cluster: str = "cluster",
    cluster: str = "cluster",
    label: str = "label",
    ranks: Sequence[str] = (),
    confidence: str | None = None,
    delimiter: str | None = None,
) -> ImportedPredictions:
    """Read answers for clusters.

    Parameters
    ----------
    path
        Table of the answers, one row per cluster: CSV, TSV or Parquet.
    cells
        File that says in which cluster a cell is: an h5ad file, whose obs is read, or a table with one row per cell.
    cells_id
        Column of the cell ids in `cells`; `index` for row names.
    cells_cluster
        Column of the clusters in `cells`.
    cluster
        Column of the clusters in the table of the answers.
    label
        Column of the answers.
    ranks
        Columns of further answers, best first.
    confidence
        Column of the confidence of the answers.
    delimiter
        What separates the columns of text files; by default a comma in .csv, and a tab in the others.

    Raises
    ------
    DataError
        Where a cluster is answered twice, and where no cluster of the cells has an answer.
    """
    labels = [label, *ranks]
    numbers = [] if confidence is None else [confidence]
    wanted = Wanted(
        texts=[cluster, *labels], numbers=numbers, complete=[(name, label) for name in numbers], what="cluster"
    )
    answers = read_table(path, wanted, delimiter)
    rows = _rows_by_cluster(answers, cluster)
    place = located(cells)
    columns = Wanted(ids=cells_id, texts=[cells_cluster])
    table = read_obs(place, columns) if place.suffix == ".h5ad" else read_table(place, columns, delimiter)
    clusters = table.texts[cells_cluster]
    row_of = np.array([_found(rows, name) for name in clusters.names])
    counts = clusters.counts()
    without = {name: n for name, n in counts.items() if _found(rows, name) < 0}
    if len(without) == len(counts):
        raise DataError(
            f"{path.name}: has no answer for any cluster of {table.file}, column '{cells_cluster}' (such as "
            f"'{next(iter(without))}'); its clusters are {listed(rows)}"
        )
    row = row_of[clusters.codes]
    asked = {name for name in rows if rows[name] in {_found(rows, one) for one in counts}}
    return ImportedPredictions(
        table.file,
        table.ids,
        [_of_cells(answers.texts[name], row) for name in labels],
        None,
        None if confidence is None else np.append(answers.numbers[confidence], np.nan)[row],
        table.rows,
        table.unit,
        notes={
            "clusters": len(counts),
            "clusters_without_answer": len(without),
            "without_answer": most(without),
            "answers_without_cells": len(rows) - len(asked),
        },
    )


def _rows_by_cluster(answers: Table, column: str) -> dict[str, int]:
    """The row of the answer for every cluster."""
    clusters = answers.texts[column]
    twice = [name for name, n in Counter(clusters.counts()).items() if n > 1]
    if twice or "" in clusters.counts():
        name = twice[0] if twice else ""
        row = int(np.flatnonzero(clusters == name)[-1])
        problem = f"cluster '{name}' is answered twice" if name else "the cluster is missing"
        raise DataError(f"{answers.place(row)}, column '{column}': {problem}; expected one row per cluster")
    return {clusters.names[code]: row for row, code in enumerate(clusters.codes.tolist())}


def _found(rows: dict[str, int], name: str) -> int:
    """Row of the answer for a cluster, -1 where there is none. Beside missing values pandas writes cluster 3 as 3.0."""
    if not name:
        return -1
    return rows.get(name, rows.get(name.removesuffix(".0"), rows.get(f"{name}.0", -1)))


def _of_cells(answers: Categorical, row: "NDArray[np.int64]") -> Categorical:
    """Answers of cells, from the row of each; empty for row -1."""
    named = Categorical.of([*answers.names, ""])
    return Categorical(named.codes[np.append(answers.codes, np.int32(-1))[row]], named.names)
