"""Published values that figures draw as references: facts with their source, and how they are known."""

from pathlib import Path

import pandas as pd

from annobench.core.errors import DataError
from annobench.core.records import Records, plain
from annobench.ontology.ids import canonical
from annobench.tables.shared.context import TableContext

COLUMNS = {
    "published_values": (
        "dataset",
        "set",
        "label_set",
        "model",
        "loss",
        "metric",
        "level",
        "group",
        "value",
        "low",
        "high",
        "kind",
        "source",
    )
}
MEANINGS = {
    "dataset": "Dataset of config/datasets that the value is of.",
    "set": "Test cells of the same release (`id`) or of a later one (`ood`).",
    "label_set": "Number of classes that a mean is over.",
    "model": "Model.",
    "loss": "Loss; `hce-ce` is the difference of the two.",
    "level": "`overall` or `class`.",
    "value": "The value; empty where only a range is known.",
    "low": "Lower bound of the value, or of the range.",
    "high": "Upper bound of the value, or of the range.",
    "kind": "`printed` in a text or table, `digitised` from a figure, or `inferred` from other numbers.",
    "source": "Where the value is published.",
}
_ALLOWED = {
    "set": ("id", "ood"),
    "label_set": ("164", "80"),
    "level": ("overall", "class"),
    "kind": ("printed", "digitised", "inferred"),
}
_NUMBERS = ("value", "low", "high")


def published_values(context: TableContext) -> pd.DataFrame:
    """Published values that figures draw as references: all rows of the files that the study names."""
    parts = [read_published_values(context.root / name) for name in context.spec.published_values]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=COLUMNS["published_values"])


def read_published_values(path: Path) -> pd.DataFrame:
    """Read a tab-separated file with these columns; raises DataError where it is malformed."""
    columns = COLUMNS["published_values"]
    records = Records.read(path, comment="#")
    table = pd.DataFrame(
        [[plain(field) for field in fields] for _, fields in records], columns=records.names, dtype=str
    )
    if list(table.columns) != list(columns):
        raise DataError(f"{path}: expected the columns {', '.join(columns)}, found {', '.join(table.columns)}")
    for column, allowed in _ALLOWED.items():
        wrong = table.loc[~table[column].isin(allowed), column]
        if len(wrong):
            raise DataError(
                f"{path}: {column}: expected one of {', '.join(allowed)}, found '{wrong.iloc[0]}' in row "
                f"{wrong.index[0] + 1}"
            )
    table["group"] = table["group"].map(canonical)
    for column in _NUMBERS:
        numbers = pd.to_numeric(table[column].where(table[column] != ""), errors="coerce")
        wrong = table.loc[numbers.isna() & (table[column] != ""), column]
        if len(wrong):
            raise DataError(f"{path}: {column}: '{wrong.iloc[0]}' in row {wrong.index[0] + 1} is not a number")
        table[column] = numbers
    empty = table[table["value"].isna() & (table["low"].isna() | table["high"].isna())]
    if len(empty):
        raise DataError(f"{path}: row {empty.index[0] + 1} has neither a value nor both of low and high")
    return table
