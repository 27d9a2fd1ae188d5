"""Reads the result of SingleR as R writes it: `write.csv(as.data.frame(result), "singler.csv")`."""

from pathlib import Path

from annobench.core.tables import Wanted, read_table
from annobench.methods.shared.imports import ImportedPredictions, score_pairs

FILES = ("{path}",)


def read(
    path: Path,
    *,
    pruned: bool = False,
    cell_id: str = "index",
    label: str | None = None,
    confidence: str | None = "delta.next",
    delimiter: str | None = None,
) -> ImportedPredictions:
    """Read labels of SingleR.

    Parameters
    ----------
    path
        The file: CSV, TSV or Parquet.
    pruned
        Read `pruned.labels`, in which a label that SingleR does not trust is NA: such a cell is `unknown`.
    cell_id
        Column of the cell ids; `index` for row names.
    label
        Column of the labels, where it is another one.
    confidence
        Column of the confidence: the difference between the best score and the next one; null for none.
    delimiter
        What separates the columns of a text file; by default a comma in .csv, and a tab in the others.
    """
    labels = [label or ("pruned.labels" if pruned else "labels")]
    pairs = score_pairs(labels, (), confidence)
    wanted = Wanted(ids=cell_id, texts=labels, numbers=[number for number, _ in pairs], complete=pairs)
    return ImportedPredictions.of(read_table(path, wanted, delimiter), labels, (), confidence)
