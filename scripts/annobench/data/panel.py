"""Gene panels: published lists of genes, fetched and read into the columns feature_id and feature_name."""

from pathlib import Path
from typing import TYPE_CHECKING

from annobench.cells.genes import strip_version
from annobench.core.errors import DataError, nearest
from annobench.core.files import atomic
from annobench.core.missing import is_missing
from annobench.core.progress import Report, say, silent
from annobench.core.records import Records, plain
from annobench.core.scratch import scratch_folder
from annobench.data.fetch import fetch_dataset
from annobench.data.spec import PanelColumns, PanelSpec

if TYPE_CHECKING:
    import pandas as pd


def fetch_panel(
    name: str, panel: PanelSpec, genes: Path, record: Path, *, lock_file: Path, report: Report = silent
) -> None:
    """Fetch a panel and write its genes as CSV: feature_id (empty where not known), feature_name.

    Raises DataError or DownloadError.
    """
    with scratch_folder() as folder:
        fetch_dataset(name, panel.source, folder, record, lock_file=lock_file, report=report)
        file = next(path for path in folder.iterdir())
        table = read_panel(file, panel.columns)
    with atomic(genes) as temporary:
        table.to_csv(temporary, index=False)


def _rows(file: Path) -> dict[str, list[str]]:
    """Columns of the table; short rows end in empty values."""
    try:
        records = Records.read(file, optional=True)
        rows = [[plain(field) for field in fields] for _, fields in records]
        if not records.names:
            raise DataError("it is empty")
    except DataError as error:
        raise DataError(f"{file.name}: not a readable table of genes: {error}") from error
    return {name: ["" if is_missing(row[i]) else row[i] for row in rows] for i, name in enumerate(records.names)}


def read_panel(file: Path, columns: PanelColumns) -> "pd.DataFrame":
    """The genes of a CSV or TSV file (also .gz); a gene that is listed twice is taken once."""
    import pandas as pd

    table = pd.DataFrame(_rows(file), dtype=object)
    for key, column in (("name", columns.name), ("id", columns.id)):
        if column and column not in table:
            raise DataError(
                f"{file.name}: columns.{key}: there is no column '{column}'{nearest(column, table.columns)}"
            )
    names = table[columns.name].str.strip()
    ids = [strip_version(value.strip()) for value in table[columns.id]] if columns.id else [""] * len(table)
    if columns.id and not any(ids):
        raise DataError(
            f"{file.name}: columns.id: nothing in '{columns.id}' is an Ensembl id (first value: "
            f"'{table[columns.id].iloc[0] if len(table) else ''}'); use null where there are none"
        )
    genes = pd.DataFrame({"feature_id": ids, "feature_name": names})
    named = (genes["feature_id"] != "") | (genes["feature_name"] != "")
    if not named.all():
        say(f"{file.name}: {int((~named).sum())} of {len(genes)} rows name no gene and are left out")
    genes = genes[named]
    key = genes["feature_id"].where(genes["feature_id"] != "", genes["feature_name"])
    if genes.empty:
        raise DataError(f"{file.name}: lists no gene")
    return genes[~key.duplicated()].reset_index(drop=True)
