"""What Azimuth and its crosswalk write: levels of a metadata table, and Cell Ontology ids of labels."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from annobench.core.errors import DataError, nearest
from annobench.core.parquet import Categorical
from annobench.core.tables import Wanted, read_table
from annobench.ontology.ids import canonical as as_id

_PREFIX, _SCORE = "predicted.", ".score"


def levels_of(columns: Sequence[str], chosen: Sequence[str], file: str) -> list[tuple[str, str | None]]:
    """Columns of the label and of the score of every level, the finest first.

    Parameters
    ----------
    columns
        Names of the columns of the metadata.
    chosen
        Columns of labels, the finest first. If empty, all `predicted.<level>` that have a `predicted.<level>.score`:
        Azimuth writes the coarsest first.
    file
        Name of the file, for messages.
    """
    if chosen:
        for name in chosen:
            if name not in columns:
                raise DataError(f"{file}: there is no column '{name}'{nearest(name, filter(None, columns))}")
        return [(name, name + _SCORE if name + _SCORE in columns else None) for name in chosen]
    found = [name for name in columns if name.startswith(_PREFIX) and name + _SCORE in columns]
    if not found:
        raise DataError(
            f"{file}: there is no column '{_PREFIX}<level>' with a '{_PREFIX}<level>{_SCORE}'; name the columns in "
            f"`levels`{nearest(_PREFIX, filter(None, columns))}"
        )
    return [(name, name + _SCORE) for name in reversed(found)]


@dataclass(frozen=True)
class Crosswalk:
    """Cell Ontology ids of the labels of Azimuth.

    Parameters
    ----------
    file
        Name of the file, for messages.
    column
        Its column of the labels of Azimuth.
    ids
        Id of every label, as the file writes it.
    names
        Name of the term of every label; empty where the file does not give it.
    doubled
        Labels that have two ids, and where the file says so.
    """

    file: str
    column: str
    ids: Mapping[str, str]
    names: Mapping[str, str]
    doubled: Mapping[str, str]

    @classmethod
    def load(cls, path: Path, *, label_column: str, id_column: str, name_column: str | None = None) -> "Crosswalk":
        """Read a crosswalk: CSV, TSV or Parquet, by the names of its columns."""
        texts = [label_column, id_column, *([name_column] if name_column else [])]
        table = read_table(path, Wanted(texts=texts, what="label"))
        labels, given = (table.texts[name].to_text() for name in texts[:2])
        terms = table.texts[name_column].to_text() if name_column else labels
        ids: dict[str, str] = {}
        rows: dict[str, int] = {}
        doubled: dict[str, str] = {}
        for row, (label, label_id) in enumerate(zip(labels, given, strict=True)):
            if not label or not label_id:
                continue
            if as_id(ids.setdefault(label, label_id)) != as_id(label_id):
                doubled.setdefault(
                    label,
                    f"{table.place(row)}: label '{label}' has the id '{label_id}', but '{ids[label]}' in {table.unit} "
                    f"{table.rows[rows[label]]}; keep one row",
                )
            rows.setdefault(label, row)
        names = {label: terms[row] for label, row in rows.items() if name_column and terms[row]}
        return cls(path.name, label_column, ids, names, doubled)

    def check(self, labels: Iterable[str]) -> None:
        """Raise DataError where one of some labels has two ids."""
        for label in labels:
            if label in self.doubled:
                raise DataError(self.doubled[label])

    def lacking(self, levels: Sequence[Categorical]) -> dict[str, int]:
        """Labels without an id, and the number of cells that have them at one level or several."""
        counts: dict[str, int] = {}
        for level in levels:
            for label, n in level.counts().items():
                if label and label not in self.ids:
                    counts[label] = counts.get(label, 0) + n
        return counts
