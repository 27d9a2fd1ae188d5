"""Builds the tables of a study and writes them as CSV."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from annobench.config.tables import table_facts
from annobench.core.errors import DataError
from annobench.core.files import atomic
from annobench.tables.shared.columns import matches
from annobench.tables.shared.context import TableContext


def write_tables(context: TableContext, outputs: Mapping[str, str | Path]) -> None:
    """Build tables from what lies under results/ and write each into its file.

    Parameters
    ----------
    context
        Fits, scores and audits of the study. Fits without files are listed as missing.
    outputs
        Name of each table -> file.
    """
    for name, path in outputs.items():
        write_csv(path, context.table(name), list(table_facts(name).columns))


def write_csv(path: str | Path, table: pd.DataFrame, columns: Sequence[str]) -> None:
    """Write a table, numbers with 6 significant digits; raises DataError for other columns than the declared ones."""
    if not matches(list(table.columns), columns):
        raise DataError(f"{path}: was declared with the columns {', '.join(columns)}, built with {', '.join(table)}")
    with atomic(path) as temporary:
        table.to_csv(temporary, index=False, float_format="%.6g")
