"""Reads the metadata table of Azimuth: the finest level is the first label, coarser ones follow."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from annobench.core.tables import Wanted, column_names, read_table
from annobench.fit.method import Notes
from annobench.methods.shared.azimuth import Crosswalk, levels_of
from annobench.methods.shared.imports import ImportedPredictions, located, most

FILES = ("{path}", "{crosswalk}")


def read(
    path: Path,
    *,
    crosswalk: str | None = None,
    label_column: str = "tool_cell_label",
    id_column: str = "cl_id",
    cell_id: str = "index",
    levels: Sequence[str] = (),
    delimiter: str | None = None,
) -> ImportedPredictions:
    """Read labels of Azimuth.

    The score of the first label is the confidence. Scores rise from fine to coarse levels, so those of further ranks
    are not kept.

    Parameters
    ----------
    path
        The metadata: CSV, TSV or Parquet.
    crosswalk
        Table of the Cell Ontology ids of labels, such as that of the Human Reference Atlas; null where `labels` or
        `label_table` of the method file say what the labels are.
    label_column
        Column of the labels of Azimuth in the crosswalk.
    id_column
        Column of the ids in the crosswalk.
    cell_id
        Column of the cell ids; `index` for row names.
    levels
        Columns of the labels, the finest first; by default all `predicted.<level>` that have a score.
    delimiter
        What separates the columns of text files; by default a comma in .csv, and a tab in the others.

    Raises
    ------
    DataError
        For what cannot be read, and for a label to which the crosswalk gives two ids.
    """
    chosen = levels_of(column_names(path, delimiter), levels, path.name)
    names, score = [name for name, _ in chosen], chosen[0][1]
    numbers = [] if score is None else [score]
    table = read_table(path, Wanted(ids=cell_id, texts=names, numbers=numbers), delimiter)
    given = ImportedPredictions.of(table, names, (), score)
    notes: Notes = {"levels": tuple(names), **given.without_score()}
    if crosswalk is None:
        return replace(given, notes=notes)
    walk = Crosswalk.load(located(crosswalk), label_column=label_column, id_column=id_column)
    walk.check(sorted({label for level in given.labels for label in level.counts()}))
    lacking = walk.lacking(given.labels)
    return replace(
        given,
        labels=[level.renamed(lambda label: walk.ids.get(label, label)) for level in given.labels],
        labels_are=f"in {walk.file}, column '{walk.column}', with an id of the ontology",
        notes={**notes, "labels_not_in_crosswalk": len(lacking), "not_in_crosswalk": most(lacking)},
    )
