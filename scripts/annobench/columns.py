"""Parquet tables as columns of numpy.

pyarrow imports pandas as soon as it converts from or to numpy, and hundreds of short jobs would pay for that. Here the
arrays are built from plain buffers and lists instead; the files are ordinary parquet.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from annobench.files import atomic, damaged

NOT_GIVEN = "unknown"  # what an obs column holds where the source says nothing

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray


def read_columns(path: str | Path, columns: Sequence[str] | None = None) -> dict[str, "NDArray[Any]"]:
    """Columns of a parquet file: text as object arrays of str, numbers as they are (a missing one as NaN).

    Raises DataError where the file is damaged.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:  # read_table would import pandas as well
            table = file.read(columns=list(columns) if columns is not None else None)
    except (pa.ArrowInvalid, OSError) as error:
        if not Path(path).is_file():
            raise
        raise damaged(path, error) from error
    return {name: _to_numpy(table.column(name)) for name in table.column_names}


def write_columns(path: str | Path, columns: Mapping[str, Any]) -> None:
    """Write columns of equal length to a parquet file, atomically; None instead of values gives a column of nulls."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    length = max((len(values) for values in columns.values() if values is not None), default=0)
    arrays = [pa.nulls(length, pa.float64()) if values is None else _to_arrow(values) for values in columns.values()]
    table = pa.Table.from_arrays(arrays, list(columns))
    with atomic(path) as temporary:
        pq.write_table(table, temporary)


def _to_numpy(column: "pa.ChunkedArray") -> "NDArray[Any]":
    import pyarrow as pa

    values = column.to_pylist()
    if pa.types.is_floating(column.type):
        return np.array(values, dtype=np.float64)
    if pa.types.is_integer(column.type) or pa.types.is_boolean(column.type):
        return np.array(values, dtype=bool if pa.types.is_boolean(column.type) else np.int64)
    found = np.empty(len(values), dtype=object)
    found[:] = values
    return found


def _to_arrow(values: Any) -> "pa.Array":
    """int64, float64 or text."""
    import pyarrow as pa

    array = np.asarray(values)
    if array.dtype.kind in "iub":
        return pa.Array.from_buffers(
            pa.int64(), len(array), [None, pa.py_buffer(np.ascontiguousarray(array, np.int64))]
        )
    if array.dtype.kind == "f":
        return pa.Array.from_buffers(
            pa.float64(), len(array), [None, pa.py_buffer(np.ascontiguousarray(array, np.float64))]
        )
    encoded = [str(value).encode() for value in array]
    offsets = np.zeros(len(encoded) + 1, dtype=np.int32)
    np.cumsum([len(text) for text in encoded], out=offsets[1:])
    return pa.Array.from_buffers(
        pa.string(), len(encoded), [None, pa.py_buffer(offsets), pa.py_buffer(b"".join(encoded))]
    )
