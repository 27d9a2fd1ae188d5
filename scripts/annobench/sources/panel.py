"""Gene panels: a published list of genes, brought here and read into the columns that everything else uses."""

import gzip
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from annobench.errors import DataError, nearest
from annobench.files import atomic
from annobench.prepare.genes import strip_version
from annobench.sources.download import Report
from annobench.sources.fetch import fetch_dataset


def fetch_panel(
    name: str, panel: dict[str, Any], genes: Path, record: Path, *, lock_file: Path, report: Report = lambda text: None
) -> None:
    """Fetch a panel (`source`, `columns`) and write its genes as CSV: feature_id (empty where not known), feature_name.

    Raises DataError or DownloadError.
    """
    with TemporaryDirectory(prefix="annobench-panel-") as folder:
        fetch_dataset(name, panel["source"], Path(folder), record, lock_file=lock_file, report=report)
        file = next(path for path in Path(folder).iterdir())
        table = read_panel(file, panel["columns"])
    with atomic(genes) as temporary:
        table.to_csv(temporary, index=False)


def read_panel(file: Path, columns: dict[str, Any]) -> Any:
    """The genes of a CSV or TSV file (also .gz), a pandas table; a gene that stands twice is taken once."""
    import pandas as pd

    try:
        table = pd.read_csv(file, sep=_separator(file), dtype=str, keep_default_na=False)
    except (OSError, ValueError, UnicodeDecodeError, EOFError) as error:
        raise DataError(f"{file.name}: not a readable table of genes: {error}") from error
    for key in ("name", "id"):
        if columns[key] and columns[key] not in table:
            raise DataError(
                f"{file.name}: columns.{key}: there is no column '{columns[key]}'{nearest(columns[key], table.columns)}"
            )
    names = table[columns["name"]].str.strip()
    ids = [strip_version(value.strip()) for value in table[columns["id"]]] if columns["id"] else [""] * len(table)
    if columns["id"] and not any(ids):
        raise DataError(
            f"{file.name}: columns.id: nothing in '{columns['id']}' is an Ensembl id (first value: "
            f"'{table[columns['id']].iloc[0] if len(table) else ''}'); use null where there are none"
        )
    found = pd.DataFrame({"feature_id": ids, "feature_name": names})
    found = found[(found["feature_id"] != "") | (found["feature_name"] != "")]
    key = found["feature_id"].where(found["feature_id"] != "", found["feature_name"])
    if found.empty:
        raise DataError(f"{file.name}: holds no gene")
    return found[~key.duplicated()].reset_index(drop=True)


def _separator(file: Path) -> str:
    """What the first line is divided by: tabs, semicolons, else commas (a list of one column has none)."""
    with gzip.open(file, "rt", encoding="utf-8") if file.suffix == ".gz" else open(file, encoding="utf-8") as handle:
        first = handle.readline()
    return next((mark for mark in ("\t", ";") if mark in first), ",")
