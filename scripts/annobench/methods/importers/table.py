"""Reads a table of predictions, one row per cell: CSV, TSV or Parquet, by the names of its columns."""

from collections.abc import Sequence
from pathlib import Path

from annobench.core.tables import Wanted, read_table
from annobench.methods.shared.imports import ImportedPredictions, score_pairs

FILES = ("{path}",)


def read(
    path: Path,
    *,
    cell_id: str = "cell_id",
    label: str = "label",
    ranks: Sequence[str] = (),
    scores: Sequence[str] = (),
    confidence: str | None = None,
    delimiter: str | None = None,
) -> ImportedPredictions:
    """Read a table of predictions.

    Parameters
    ----------
    path
        The file; its ending says what it is: .csv, .tsv, .tab, .txt (these four also with .gz) or .parquet.
    cell_id
        Column of the cell ids; `index` for row names.
    label
        Column of the first label.
    ranks
        Columns of further labels, best first. A cell may have fewer labels.
    scores
        Columns of the scores: of the first label, then of each of `ranks`.
    confidence
        Column of the confidence, a number for every cell that has a label.
    delimiter
        What separates the columns of a text file; by default a comma in .csv, and a tab in the others.

    Raises
    ------
    DataError
        For what cannot be read, with the line.
    """
    labels = [label, *ranks]
    pairs = score_pairs(labels, scores, confidence)
    wanted = Wanted(ids=cell_id, texts=labels, numbers=[number for number, _ in pairs], complete=pairs)
    return ImportedPredictions.of(read_table(path, wanted, delimiter), labels, scores, confidence)
