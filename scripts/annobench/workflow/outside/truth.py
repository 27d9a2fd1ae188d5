"""The true labels: what the column of the user holds, and which other columns of obs are of use."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from annobench.config.entities import config_file
from annobench.core.errors import ConfigError, DataError, nearest
from annobench.core.paths import ROOT
from annobench.core.records import Records, plain
from annobench.ontology import UNKNOWN, Ontology
from annobench.ontology.ids import is_id
from annobench.ontology.labels import COLUMNS

_ROLES = {
    "donor": ("donor_id", "donor", "individual", "patient", "subject"),
    "study": ("dataset_id", "study"),
    "assay": ("assay",),
    "tissue": ("tissue",),
    "disease": ("disease",),
}


@dataclass(frozen=True)
class TrueCells:
    """An h5ad file with true labels.

    Parameters
    ----------
    file
        The file.
    cells
        Number of cells.
    texts
        The different labels.
    columns
        Role of a column (`donor`, `study`, `assay`, `tissue`, `disease`) -> its name in obs.
    """

    file: Path
    cells: int
    texts: tuple[str, ...]
    columns: dict[str, str]


def read_true_cells(file: Path, label: str, groups: Sequence[str]) -> TrueCells:
    """Look at an h5ad file; raises DataError where it is not one, or lacks a column."""
    import h5py

    from annobench.score.compat.cas_runs import read_truth

    if not file.is_file():
        raise DataError(f"there is no file '{file}' with the true labels; name it, or its folder, by CELLS=")
    truth = read_truth(file, label)
    with h5py.File(file) as handle:
        known = [str(name) for name in handle["obs"].attrs["column-order"]]
    for group in groups:
        if group not in known:
            raise DataError(f"{file}: GROUPS: obs has no column '{group}'{nearest(group, known)}")
        if group == label:
            raise DataError(f"{file}: GROUPS: '{group}' holds the true labels; leave it out")
    columns = {role: next((name for name in names if name in known), "") for role, names in _ROLES.items()}
    texts = tuple(text for text in truth.label.counts() if text != "nan")
    return TrueCells(file, len(truth.label), texts, {role: name for role, name in columns.items() if name})


def are_ids(texts: Sequence[str]) -> bool:
    """Whether labels are Cell Ontology ids: most of those that say anything."""
    said = [text for text in texts if text.lower() != UNKNOWN]
    return sum(map(is_id, said)) * 2 > len(said)


def table_of_names(texts: Sequence[str], ontology: Ontology, where: str) -> dict[str, str]:
    """Label -> id of the Cell Ontology term of that name, `unknown` where there is none.

    Raises DataError where no label is a name.
    """
    found = {text: ontology.find(text) or UNKNOWN for text in texts}
    if texts and set(found.values()) == {UNKNOWN}:
        raise DataError(
            f"{where}: none of the labels (such as {', '.join(map(repr, texts[:3]))}) is an id or a name of Cell "
            f"Ontology {ontology.release}; name a table of these labels and their ids by LABELS= or, of "
            "predicted labels, by CROSSWALK="
        )
    return found


def read_label_table(named: str, ontology: Ontology, option: str) -> dict[str, str]:
    """A table of labels and ids: a name in config/labels, or a CSV or TSV file; ids that are not live are `unknown`.

    Of a file, ids are in the column that has most of them, and labels in a column with a usual name, else in the first.
    """
    path = config_file("labels", f"{named}.tsv", ROOT)
    path = path if path.is_file() else Path(named).expanduser()
    if not path.is_file():
        known = [one.stem for one in (ROOT / "config" / "labels").glob("*.tsv")]
        raise ConfigError(f"{option}: there is no file '{named}', and no table of that name{nearest(named, known)}")
    records = Records.read(path, optional=True)
    header, rows = records.names, [[plain(field) for field in fields] for _, fields in records]
    ids = [sum(is_id(row[i]) for row in rows) for i in range(len(header))]
    if not rows or not max(ids):
        raise DataError(
            f"{path}: no column holds Cell Ontology ids, expected a header, labels and ids such as CL:0000084"
        )
    at_id = ids.index(max(ids))
    usual = ("original", "tool_cell_label", "label", "annotation_label", "azimuth_label", "name", "cell_type")
    at_label = next((i for i, name in enumerate(header) if name.strip().lower() in usual and i != at_id), -1)
    at_label = at_label if at_label >= 0 else next(i for i in range(len(header)) if i != at_id)
    print(f"{option}: labels in column '{header[at_label]}', ids in '{header[at_id]}' of {path.name}")
    return {row[at_label]: ontology.resolve(row[at_id]) or UNKNOWN for row in rows}


def write_label_table(path: Path, table: dict[str, str]) -> None:
    """Write a table as config/labels has them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", encoding="utf-8", newline="") as handle:
        writer = csv.writer(handle, delimiter="\t", lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows([original, label_id, ""] for original, label_id in table.items())
