"""Published values, as they are drawn beside ours: facts with their source, and how they are known."""

from collections.abc import Sequence
from io import StringIO
from pathlib import Path

import pandas as pd

from annobench.core.errors import DataError

COLUMNS = ["dataset", "set", "label_set", "model", "loss", "metric", "level", "group", "value", "low", "high", "kind"]
COLUMNS += ["source"]
ALLOWED = {
    "set": ("id", "ood"),
    "label_set": ("164", "80"),
    "level": ("overall", "class"),
    "kind": ("printed", "digitised", "inferred"),
}
NUMBERS = ["value", "low", "high"]


def published_values(paths: Sequence[str]) -> pd.DataFrame:
    """All rows of tab-separated files with these columns; without files, no rows.

    dataset: the dataset of config/datasets that the values are of. set: in or out of distribution. label_set: number of
    classes that a mean is over. loss `hce-ce` stands for the difference of the two. value, or low and high where only
    a range is known (with a value they bound it). kind: `printed` in a text or table, `digitised` from a figure,
    `inferred` from other numbers. Raises DataError for a malformed file.
    """
    tables = [_read(path) for path in paths]
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=COLUMNS)


def _read(path: str) -> pd.DataFrame:
    lines = Path(path).read_text(encoding="utf-8").splitlines(keepends=True)
    text = StringIO("".join(line for line in lines if not line.startswith("#")))  # a source may hold a #
    table = pd.read_csv(text, sep="\t", dtype=str, keep_default_na=False)
    if list(table.columns) != COLUMNS:
        raise DataError(f"{path}: expected the columns {', '.join(COLUMNS)}, found {', '.join(table.columns)}")
    for column, allowed in ALLOWED.items():
        wrong = table.loc[~table[column].isin(allowed), column]
        if len(wrong):
            raise DataError(
                f"{path}: {column}: expected one of {', '.join(allowed)}, found '{wrong.iloc[0]}' in row "
                f"{wrong.index[0] + 1}"
            )
    for column in NUMBERS:
        numbers = pd.to_numeric(table[column].where(table[column] != ""), errors="coerce")
        wrong = table.loc[numbers.isna() & (table[column] != ""), column]
        if len(wrong):
            raise DataError(f"{path}: {column}: '{wrong.iloc[0]}' in row {wrong.index[0] + 1} is no number")
        table[column] = numbers
    empty = table[table["value"].isna() & (table["low"].isna() | table["high"].isna())]
    if len(empty):
        raise DataError(f"{path}: row {empty.index[0] + 1} has neither a value nor both of low and high")
    return table
