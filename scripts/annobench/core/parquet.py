"""Parquet tables as columns of numpy.

pyarrow imports pandas as soon as it converts from or to numpy, which would cost hundreds of short jobs their time. Here
arrays are built from plain buffers and lists; the files are ordinary parquet. No threads are started: a job uses only
the core that it requested.

A column of few distinct texts is best read as `Categorical`, and a column of ids as Arrow text: neither makes a Python
object for every row.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import numpy as np

from annobench.core.errors import DataError
from annobench.core.files import atomic, damaged

NOT_GIVEN = "unknown"  # value of an obs column that the source does not give
ROW_GROUP = 1 << 17  # rows that are written, and can be read, together
_AT_ONCE = 1 << 17  # texts that are looked up in one hash table
_GROUPS = 1 << 5  # of texts, beyond that
_WORD = 8  # last bytes of a text, which say its group

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq
    from numpy.typing import NDArray

    Column: TypeAlias = "Categorical | NDArray[np.generic]"


T = TypeVar("T", bound=np.generic)


@dataclass(frozen=True, eq=False)
class Categorical:
    """Categorical column: integer codes (n,) into a list of distinct categories; -1 where a value is missing."""

    codes: "NDArray[np.int32]"
    names: list[str]

    @classmethod
    def of(cls, values: "Sequence[str] | NDArray[np.generic]") -> "Categorical":
        """From texts; categories are in the order of their first occurrence."""
        flat = values.tolist() if isinstance(values, np.ndarray) else list(values)
        code = {name: i for i, name in enumerate(dict.fromkeys(flat))}
        return cls(np.fromiter(map(code.__getitem__, flat), np.int32, len(flat)), list(code))

    def __len__(self) -> int:
        return len(self.codes)

    def __getitem__(self, rows: "slice | NDArray[np.integer] | NDArray[np.bool_]") -> "Categorical":
        """Some of the rows, with all categories."""
        return Categorical(self.codes[rows], self.names)

    def __eq__(self, name: object) -> "NDArray[np.bool_]":  # type: ignore[override]
        """Which rows hold a category, (n,)."""
        return self.codes == (self.names.index(str(name)) if name in self.names else -2)

    def renamed(self, change: Callable[[str], str]) -> "Categorical":
        """Rename the categories; those that become equal are merged."""
        changed = Categorical.of([change(name) for name in self.names])
        return Categorical(np.append(changed.codes, np.int32(-1))[self.codes], changed.names)

    def recode(self, names: Sequence[str]) -> "NDArray[np.int32]":
        """Codes into other categories, (n,); -1 for a value that is not among them."""
        at = {name: i for i, name in enumerate(names)}
        return np.array([*(at.get(name, -1) for name in self.names), -1], dtype=np.int32)[self.codes]

    def counts(self) -> dict[str, int]:
        """Number of rows of each category that occurs, sorted by name."""
        number = np.bincount(self.codes[self.codes >= 0], minlength=len(self.names)).tolist()
        return {name: n for name, n in sorted(zip(self.names, number, strict=True)) if n}

    def crosstab(self, others: "Categorical") -> dict[str, set[str]]:
        """For each category the categories of another column in the same rows; no value may be missing."""
        pairs: dict[str, set[str]] = {}
        for pair in np.unique(self.codes.astype(np.int64) * len(others.names) + others.codes).tolist():
            pairs.setdefault(self.names[pair // len(others.names)], set()).add(others.names[pair % len(others.names)])
        return pairs

    def to_text(self) -> "NDArray[np.object_]":
        """The values as text, (n,) object; None where missing. Rows with the same text share one object."""
        table = np.empty(len(self.names) + 1, dtype=object)
        table[: len(self.names)] = self.names
        return table[self.codes]


def read_columns(
    path: str | Path,
    columns: Sequence[str] | None = None,
    *,
    categorical: Sequence[str] = (),
    texts: Sequence[str] = (),
    rows: "NDArray[np.bool_] | None" = None,
) -> dict[str, Any]:
    """Read columns of a parquet file.

    Parameters
    ----------
    path
        The file.
    columns
        Which columns; all by default.
    categorical
        Text columns that are returned as `Categorical`.
    texts
        Text columns that are returned as an Arrow array.
    rows
        Mask of the rows to read. Memory stays at one row group beyond what is returned.

    Returns
    -------
    Arrays by name: text as object arrays of str, numbers in their type (a missing number as NaN).

    Raises
    ------
    DataError
        Where the file is damaged, or has another number of rows than `rows`.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path, read_dictionary=list(categorical)) as file:  # read_table would import pandas
            wanted = list(columns) if columns is not None else None
            if rows is None:
                table = file.read(columns=wanted, use_threads=False)
            elif len(rows) != file.metadata.num_rows:
                raise DataError(f"{path}: has {file.metadata.num_rows} rows, expected {len(rows)}")
            else:
                table = pa.concat_tables(_kept(file, wanted, rows))
    except (pa.ArrowInvalid, OSError) as error:
        if not Path(path).is_file():
            raise
        raise damaged(path, error) from error
    arrays: dict[str, Any] = {}
    for name in table.column_names:
        column = table.column(name)
        arrays[name] = (
            to_categorical(column) if name in categorical else _one(column) if name in texts else to_numpy(column)
        )
    return arrays


def column_names(path: str | Path) -> list[str]:
    """Names of the columns of a parquet file. Raises DataError where the file is damaged."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return list(pq.read_schema(path).names)
    except (pa.ArrowInvalid, OSError) as error:
        if not Path(path).is_file():
            raise
        raise damaged(path, error) from error


def _kept(file: "pq.ParquetFile", columns: list[str] | None, rows: "NDArray[np.bool_]") -> "Iterator[pa.Table]":
    import pyarrow as pa

    start = 0
    yield file.read_row_groups([], columns=columns, use_threads=False)
    for group in range(file.metadata.num_row_groups):
        size = file.metadata.row_group(group).num_rows
        mask = rows[start : start + size]
        start += size
        if mask.any():
            bits = pa.py_buffer(np.packbits(mask, bitorder="little").tobytes())
            part = file.read_row_group(group, columns=columns, use_threads=False)
            yield part.filter(pa.Array.from_buffers(pa.bool_(), size, [None, bits]))


def write_columns(path: str | Path, columns: "Mapping[str, Column | Sequence[object] | None]") -> None:
    """Write columns of equal length to a parquet file, atomically; None as values gives a column of nulls."""
    with atomic(path) as temporary, ColumnWriter(temporary) as writer:
        writer.write(columns)


class ColumnWriter:
    """Writes a parquet file part by part; every part has the same columns. Not atomic by itself.

    A `Categorical` is written from its codes; readers see text like any other.
    """

    def __init__(self, path: str | Path) -> None:
        self._path = path
        self._writer: Any = None

    def write(self, columns: "Mapping[str, Column | Sequence[object] | None]") -> None:
        """Append rows."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        length = max((len(values) for values in columns.values() if values is not None), default=0)
        arrays = [pa.nulls(length, pa.float64()) if values is None else to_arrow(values) for values in columns.values()]
        table = pa.Table.from_arrays(arrays, list(columns))
        if self._writer is None:
            # with Arrow's own schema in the file, other readers would see a Categorical as categories
            self._writer = pq.ParquetWriter(self._path, table.schema, store_schema=False)
        self._writer.write_table(table, row_group_size=ROW_GROUP)

    def close(self) -> None:
        """Finish the file."""
        if self._writer is not None:
            self._writer.close()

    def __enter__(self) -> "ColumnWriter":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def positions(wanted: "pa.Array", given: "pa.Array", *, whole: bool = False) -> "NDArray[np.int64]":
    """Position of each wanted text among the given ones, (wanted,); -1 if it is not there, the first of several.

    `whole` says that texts which are given twice matter also where both arrays are equal.
    """
    if not whole and wanted.equals(given):  # usually everything is in the order of the split
        return np.arange(len(wanted))
    if min(len(wanted), len(given)) > _AT_ONCE and (groups := _groups(wanted, given)):
        return _grouped_positions(wanted, given, *groups)
    return _index_in(wanted, given)


def _index_in(wanted: "pa.Array", given: "pa.Array") -> "NDArray[np.int64]":
    import pyarrow.compute as pc

    places = pc.index_in(wanted, value_set=given)
    return np.where(_valid(places), _buffer(places, np.dtype(np.int32)), -1).astype(np.int64)


def _grouped_positions(
    wanted: "pa.Array", given: "pa.Array", wanted_groups: "NDArray[np.uint8]", given_groups: "NDArray[np.uint8]"
) -> "NDArray[np.int64]":
    """As `positions`, group by group: a hash table of all texts would not fit into the cache."""
    found = np.full(len(wanted), -1, dtype=np.int64)
    rows, others = (np.argsort(groups, kind="stable") for groups in (wanted_groups, given_groups))
    ends, other_ends = (np.cumsum(np.bincount(g, minlength=_GROUPS)) for g in (wanted_groups, given_groups))
    texts, other_texts = take(wanted, rows), take(given, others)
    start = other_start = 0
    for end, other_end in zip(ends.tolist(), other_ends.tolist(), strict=True):
        places = _index_in(texts[start:end], other_texts[other_start:other_end])
        there = np.flatnonzero(places >= 0)
        found[rows[start:end][there]] = others[other_start:other_end][places[there]]
        start, other_start = end, other_end
    return found


def _groups(*several: "pa.Array") -> "list[NDArray[np.uint8]]":
    """A group for every text of some arrays, equal for equal texts; empty where a text is too short to tell."""
    import pyarrow as pa

    found = []
    for texts in several:
        if texts.type != pa.large_string() or texts.null_count:
            return []
        ends = np.frombuffer(texts.buffers()[1], dtype=np.int64)[texts.offset : texts.offset + len(texts) + 1]
        if np.diff(ends).min() < _WORD:
            return []
        data = texts.buffers()[2]
        words = np.ndarray((data.size - _WORD + 1,), np.dtype("<u8"), data, strides=(1,))  # one begins at every byte
        mixed = words[ends[1:] - _WORD] * np.uint64(0x9E3779B97F4A7C15)  # Fibonacci hashing: the upper bits are spread
        found.append((mixed >> np.uint64(64 - _GROUPS.bit_length() + 1)).astype(np.uint8))
    return found


def take(texts: "pa.Array", rows: "NDArray[np.intp]") -> "pa.Array":
    """The texts of some rows."""
    import pyarrow as pa

    indices = pa.py_buffer(np.ascontiguousarray(rows, np.int64))
    return texts.take(pa.Array.from_buffers(pa.int64(), len(rows), [None, indices]))


def crc32(texts: "pa.Array") -> "NDArray[np.uint32]":
    """zlib.crc32 of every text in UTF-8, (n,): computed for all texts at once, byte by byte."""
    table = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        table = np.where(table & 1, (table >> 1) ^ np.uint32(0xEDB88320), table >> 1)
    ends = np.frombuffer(texts.buffers()[1], dtype=np.int64)[texts.offset : texts.offset + len(texts) + 1]
    data = np.frombuffer(texts.buffers()[2] or b"", dtype=np.uint8)
    start, size = ends[:-1], np.diff(ends)
    digests = np.full(len(texts), 0xFFFFFFFF, dtype=np.uint32)
    for place in range(int(size.max(initial=0))):
        longer = slice(None) if place < size.min() else np.flatnonzero(size > place)
        now = digests[longer]
        digests[longer] = table[(now ^ data[start[longer] + place]) & 0xFF] ^ (now >> 8)
    return ~digests


def _one(column: "pa.ChunkedArray") -> "pa.Array":
    """A text column as one Arrow array, of a type that holds more than 2 GB: the ids of 40 million cells."""
    import pyarrow as pa

    chunks = column.cast(pa.large_string()).chunks
    return pa.concat_arrays(chunks) if chunks else _text([])


def to_categorical(column: "pa.ChunkedArray | pa.Array") -> Categorical:
    """An Arrow column as categories, which are texts where the column holds text."""
    import pyarrow as pa

    if isinstance(column, pa.Array):
        column = pa.chunked_array([column])
    if not pa.types.is_dictionary(column.type):
        column = column.dictionary_encode()
    elif column.type.index_type != pa.int32() or pa.types.is_string_view(column.type.value_type):
        kind = pa.string() if pa.types.is_string_view(column.type.value_type) else column.type.value_type
        parts = [
            pa.DictionaryArray.from_arrays(chunk.indices.cast(pa.int32()), chunk.dictionary.cast(kind))
            for chunk in column.chunks
        ]
        column = pa.chunked_array(parts, pa.dictionary(pa.int32(), kind))
    chunks = column.unify_dictionaries().chunks
    names = chunks[0].dictionary.to_pylist() if chunks else []
    codes = [np.where(_valid(c), _buffer(c.indices, np.dtype(np.int32)), np.int32(-1)) for c in chunks]
    return Categorical(np.concatenate(codes) if codes else np.empty(0, dtype=np.int32), names)


def to_numpy(column: "pa.ChunkedArray") -> "NDArray[np.generic]":
    """An Arrow column as an array: text as objects, numbers in their type, a missing number as NaN."""
    import pyarrow as pa

    kind = column.type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_dictionary(kind):
        return to_categorical(column).to_text()
    if kind in (pa.float64(), pa.int64()):
        dtype = np.dtype(np.float64 if kind == pa.float64() else np.int64)
        parts = [_buffer(chunk, dtype) for chunk in column.chunks]
        if column.null_count and kind == pa.float64():
            parts = [np.where(_valid(chunk), part, np.nan) for chunk, part in zip(column.chunks, parts, strict=True)]
        if not column.null_count or kind == pa.float64():
            return np.concatenate(parts) if parts else np.empty(0, dtype=dtype)
    values = column.to_pylist()
    if pa.types.is_floating(kind) or (pa.types.is_integer(kind) and column.null_count):
        return np.array([np.nan if value is None else value for value in values], dtype=np.float64)
    if pa.types.is_integer(kind) or pa.types.is_boolean(kind):
        return np.array(values, dtype=bool if pa.types.is_boolean(kind) else np.int64)
    objects = np.empty(len(values), dtype=object)
    objects[:] = values
    return objects


def _buffer(array: "pa.Array", dtype: "np.dtype[T]") -> "NDArray[T]":
    """The numbers of an Arrow array without copying; arbitrary where a value is missing."""
    data = array.buffers()[1]
    if data is None:
        return np.zeros(len(array), dtype=dtype)
    return np.frombuffer(data, dtype=dtype, count=len(array), offset=array.offset * dtype.itemsize)


def _valid(array: "pa.Array") -> "NDArray[np.bool_]":
    """Where an Arrow array has a value."""
    bits = array.buffers()[0]
    if array.null_count == 0 or bits is None:
        return np.ones(len(array), dtype=bool)
    flags = np.unpackbits(np.frombuffer(bits, dtype=np.uint8), bitorder="little", count=array.offset + len(array))
    return flags[array.offset :].astype(bool)


def to_arrow(values: "Column | Sequence[object] | pa.Array") -> "pa.Array":
    """Values as an Arrow array: int64, float64 or text; a Categorical as a dictionary, an Arrow array unchanged."""
    import pyarrow as pa

    if isinstance(values, pa.Array):
        return values
    if isinstance(values, Categorical):
        codes = np.ascontiguousarray(values.codes, np.int32)
        missing = codes < 0
        bits = pa.py_buffer(np.packbits(~missing, bitorder="little").tobytes()) if missing.any() else None
        indices = pa.Array.from_buffers(pa.int32(), len(codes), [bits, pa.py_buffer(codes)])
        return pa.DictionaryArray.from_arrays(indices, _text(values.names))
    array = np.asarray(values)
    if array.dtype.kind in "iub":
        return pa.Array.from_buffers(
            pa.int64(), len(array), [None, pa.py_buffer(np.ascontiguousarray(array, np.int64))]
        )
    if array.dtype.kind == "f":
        return pa.Array.from_buffers(
            pa.float64(), len(array), [None, pa.py_buffer(np.ascontiguousarray(array, np.float64))]
        )
    return _text(values if array.dtype.kind == "U" else array)  # numpy cuts zeros off the end of a text


def _text(values: Iterable[object]) -> "pa.Array":
    import pyarrow as pa

    encoded = [str(value).encode() for value in values]
    offsets = np.zeros(len(encoded) + 1, dtype=np.int64)
    np.cumsum([len(text) for text in encoded], out=offsets[1:])
    return pa.Array.from_buffers(
        pa.large_string(), len(encoded), [None, pa.py_buffer(offsets), pa.py_buffer(b"".join(encoded))]
    )
