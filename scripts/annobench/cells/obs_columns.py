"""Columns of the obs of an h5ad file, as a table; nothing else of the file is read."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from annobench.cells.elements import Frame
from annobench.cells.not_h5ad import not_h5ad
from annobench.core.delimited import INDEX, column_positions
from annobench.core.errors import DataError
from annobench.core.tables import Table, Wanted, table_of

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa


def obs_names(path: Path) -> list[str]:
    """Names of the columns of obs, `index` first: that of the row names."""
    return [INDEX, *(name for name in _frame(path, None).columns if name != INDEX)]


def read_obs(path: Path, wanted: Wanted) -> Table:
    """Read columns of obs; the column `index` is that of the row names.

    Raises DataError for a file that is not a readable h5ad file, and for a column that it does not have.
    """
    frame = _frame(path, wanted.columns)
    if len(frame) == 0:
        raise DataError(f"{path.name}: obs holds no rows, expected one per {wanted.what}")
    columns = {name: _arrow(frame.index if name == INDEX else frame[name]) for name in wanted.columns}
    return table_of(f"{path.name}: obs", columns, wanted, np.arange(1, len(frame) + 1), "row")


def _frame(path: Path, wanted: list[str] | None) -> "pd.DataFrame":
    """Some columns of obs, and its row names; where none are named all columns, without values."""
    import pandas as pd

    from annobench.cells.store.h5ad import opened_h5ad

    if not path.is_file():
        raise DataError(f"{path}: there is no such file")
    try:
        with opened_h5ad(path, ["obs"]) as file:
            obs = Frame(file["obs"], f"{path.name}: obs", file.get("uns"))
            if wanted is None:
                return pd.DataFrame(columns=obs.columns)
            column_positions(f"{path.name}: obs", [INDEX, *(n for n in obs.columns if n != INDEX)], wanted)
            return obs.table(columns=[name for name in wanted if name != INDEX])
    except (OSError, KeyError, RuntimeError) as error:
        raise not_h5ad(path, error) from error


def _arrow(values: "pd.Series | pd.Index") -> "pa.Array":
    """Values as an Arrow array; texts and numbers in one column become texts."""
    import pyarrow as pa

    try:
        return pa.array(values.array, from_pandas=True)
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        return pa.array([None if value is None or value != value else str(value) for value in values])
