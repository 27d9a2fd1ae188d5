"""Text files of rows and columns as people write them: UTF-8, any delimiter, line ends and quotes, or gzip.

Two readers give the same columns. `regular_columns` lets pyarrow parse a file whose every line is one row and whose
quotes enclose whole fields: a million rows in a fraction of a second. `careful_columns` reads any file line by line,
and says in which line it is wrong. No threads are started.
"""

import csv
import gzip
import io
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from annobench.core.errors import ConfigError, DataError
from annobench.core.missing import NOTHING
from annobench.core.records import (
    DELIMITERS,
    INDEX,
    Records,
    column_positions,
    ending,
    header_of,
    read_text,
    separator,
    split_number,
)

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

    Columns = Mapping[str, pa.ChunkedArray | pa.Array]

__all__ = ["DELIMITERS", "INDEX", "TextFile", "careful_columns", "column_positions", "regular_columns"]

_BLOCK = 1 << 17  # bytes that are looked at together: more do not fit into the cache
_PARSED = 1 << 20  # bytes that pyarrow parses together
_HEAD = 1 << 16  # bytes that tell the separator
_SPELLINGS = sorted(
    {
        "".join(letters)
        for text in NOTHING
        if len(text) < 5
        for letters in product(*((c.lower(), c.upper()) for c in text))
    }
)
_QUOTE, _LF, _CR = b'"\n\r'
_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True)
class TextFile:
    """A text file, how it is packed, and what separates its columns (None: as its content tells)."""

    path: Path
    packed: bool
    stated: str | None

    @classmethod
    def of(cls, path: Path, delimiter: str | None = None) -> "TextFile":
        """A file whose name ends as those of text tables do; raises DataError for any other."""
        kind = ending(path)
        if kind not in DELIMITERS:
            known = ", ".join([*DELIMITERS, ".parquet"])
            raise DataError(f"{path.name}: ends in '{kind}', expected one of {known} (text also with .gz)")
        if delimiter is not None and len(delimiter) != 1:
            raise ConfigError(f"options.delimiter is '{delimiter}', expected one character")
        return cls(path, path.suffix == ".gz", delimiter)

    def records(self) -> Records:
        """All rows, read line by line. Raises DataError where there are none, or one does not fit."""
        name = self.path.name
        text = read_text(self.path)
        found = Records.of(text, name, self.stated, kind=ending(self.path))
        if next(iter(found), None) is None:
            raise DataError(f"{name}: holds no rows, expected a header and one row per cell")
        return found

    def column_names(self) -> list[str]:
        """Names of the columns; `index` for row names. Of a regular file only the beginning is read."""
        try:
            with gzip.open(self.path) if self.packed else open(self.path, "rb") as handle:
                names = _first_lines(self, self.stated or _separator(self, handle), handle)
        except (DataError, OSError, EOFError, zlib.error, csv.Error, UnicodeDecodeError):
            names = None
        return self.records().names if names is None else names


# any file


def careful_columns(file: TextFile, wanted: Sequence[str]) -> "tuple[Columns, NDArray[np.int64], str]":
    """Columns as text, by name; the line at which every row ends; and what separates fields.

    Raises DataError with the line.
    """
    import pyarrow as pa

    records = file.records()
    take = column_positions(records.name, records.names, wanted)
    columns: dict[str, list[str]] = {column: [] for column in take}
    lines: list[int] = []
    for line, fields in records:
        lines.append(line)
        for column, position in take.items():
            columns[column].append(fields[position])
    texts = {column: pa.array(values, pa.large_string()) for column, values in columns.items()}
    return texts, np.array(lines, dtype=np.int64), records.delimiter


# regular files


def regular_columns(file: TextFile, wanted: Mapping[str, Literal["id", "text", "number"]]) -> "Columns | None":
    """Columns by name: ids as text, texts as a dictionary, numbers as float64 with nulls; row i is in line i + 2.

    None for a file that is not regular, and for one in which something is wrong: `careful_columns` says what.
    """
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.csv as pa_csv

    if file.stated is not None and (ord(file.stated) >= 128 or file.stated in '"\r\n\0'):
        return None
    try:
        content = gzip.decompress(file.path.read_bytes()) if file.packed else None
        with open(file.path, "rb") if content is None else io.BytesIO(content) as handle:
            delimiter = file.stated or _separator(file, handle)
            names = _first_lines(file, delimiter, handle)
            lines = None if names is None else _regular_lines(handle, ord(delimiter))
        if names is None or lines is None:
            return None
        take = column_positions(file.path.name, names, list(wanted))
    except (DataError, OSError, EOFError, zlib.error, csv.Error, UnicodeDecodeError):
        return None
    kinds = {"id": pa.large_string(), "text": pa.dictionary(pa.int32(), pa.string()), "number": pa.float64()}
    try:
        table = pa_csv.read_csv(
            str(file.path) if content is None else pa.BufferReader(content),
            read_options=pa_csv.ReadOptions(
                use_threads=False, block_size=_PARSED, skip_rows=1, column_names=list(map(str, range(len(names))))
            ),
            parse_options=pa_csv.ParseOptions(delimiter=delimiter),
            convert_options=pa_csv.ConvertOptions(
                check_utf8=False,
                column_types={str(take[name]): kinds[kind] for name, kind in wanted.items()},
                include_columns=[str(take[name]) for name in wanted],
                null_values=_SPELLINGS,
            ),
        )
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return None
    columns = {name: table.column(str(take[name])) for name in wanted}
    odd = any(pc.any(pc.is_nan(columns[name])).as_py() for name, kind in wanted.items() if kind == "number")
    odd = odd or ("id" not in wanted.values() and _holds_empty_row(columns))
    return None if odd or table.num_rows != lines else columns


def _holds_empty_row(columns: "Columns") -> bool:
    """Whether a row has nothing in any column: all of it may be empty, and then it is none."""
    import pyarrow as pa
    import pyarrow.compute as pc

    empty = None
    for column in columns.values():
        text = pa.types.is_dictionary(column.type)
        none = (
            pc.equal(pc.utf8_length(pc.utf8_trim_whitespace(column.cast(pa.string()))), 0)
            if text
            else pc.is_null(column)
        )
        empty = none if empty is None else pc.and_(empty, none)
    return bool(pc.any(empty).as_py())


def _separator(file: TextFile, handle: io.BufferedIOBase) -> str:
    """What separates the columns of a file in UTF-8; it is then at its beginning."""
    head = handle.read(4 * _HEAD)
    handle.seek(0)
    if len(head) == 4 * _HEAD:
        head = head[: head.rfind(b"\n") + 1]
    text = head.removeprefix(_BOM).decode()
    return separator(text[:_HEAD], DELIMITERS[ending(file.path)], whole=len(head) < 4 * _HEAD and len(text) <= _HEAD)


def _first_lines(file: TextFile, delimiter: str, handle: io.BufferedIOBase) -> list[str] | None:
    """Names of the columns, from the first two lines; the file is then at its second line. None where one is odd."""
    header = handle.readline()
    second = handle.tell()
    lines = [line.decode().rstrip("\r\n") for line in (header.removeprefix(_BOM), handle.readline())]
    handle.seek(second)
    if (
        not all(lines)
        or lines[0].strip('"').lower().startswith("sep=")
        or "\0" in lines[0]
        or any(line.count('"') % 2 or "\r" in line for line in lines)
    ):
        return None
    first, row = csv.reader(lines, delimiter=delimiter, strict=True)
    if len(row) == len(first) + 1 and split_number(row):
        return None  # row names, or decimal commas
    if len(row) not in (len(first), len(first) + 1) or not any(map(str.strip, first)) or not row[-1].strip():
        return None
    return header_of(file.path.name, first, [row], delimiter, quoted=True)


def _regular_lines(handle: io.BufferedIOBase, delimiter: int) -> int | None:
    """Number of lines of the rest of a file; None where a line may not be one row, or where quotes are odd."""
    buffer = bytearray(_BLOCK)
    data = np.frombuffer(buffer, np.uint8)
    lines = filled = 0
    while count := handle.readinto(memoryview(buffer)[filled:]):
        filled += count
        cut = buffer.rfind(b"\n", 0, filled) + 1
        if filled == len(buffer) and not cut:
            return None  # a line of more than a block
        if not cut:
            continue
        if not _is_regular(data[:cut], delimiter):
            return None
        lines += int(np.count_nonzero(data[:cut] == _LF))
        buffer[: filled - cut] = buffer[cut:filled]
        filled -= cut
    if filled:
        return lines + 1 if _is_regular(data[:filled], delimiter) else None
    return lines - _blank_at_end(handle)


def _blank_at_end(handle: io.BufferedIOBase) -> int:
    """Number of blank lines with which a file ends."""
    handle.seek(0, io.SEEK_END)
    handle.seek(max(0, handle.tell() - 1024))
    end = handle.read().replace(b"\r", b"")
    return len(end) - len(end.rstrip(b"\n")) - 1


def _is_regular(data: "NDArray[np.uint8]", delimiter: int) -> bool:
    """Whether quotes enclose whole fields of one line each, and there are no other control characters than line ends.

    Raises UnicodeDecodeError for bytes that are not UTF-8.
    """
    if data.min() == 0 or (np.count_nonzero(data == _CR) and not _ends_with_both(data)):
        return False
    if data.max() >= 128:
        data.tobytes().decode()
    is_quote = data == _QUOTE
    if not is_quote.any():
        return True
    marks = np.flatnonzero(is_quote | (data == _LF))
    is_end = data[marks] == _LF
    quotes = marks[~is_end]
    if (np.cumsum(~is_end)[is_end] % 2).any() or len(quotes) % 2:  # a line ends within quotes
        return False
    left, right = quotes[::2], quotes[1::2] + 1
    before = data[np.maximum(left - 1, 0)]
    after = data[np.minimum(right, len(data) - 1)]
    begins = (before == delimiter) | (before == _LF) | (left == 0)
    ends = (after == delimiter) | (after == _LF) | (after == _CR) | (right == len(data))
    return bool(begins.all() and ends.all())


def _ends_with_both(data: "NDArray[np.uint8]") -> bool:
    """Whether every carriage return is followed by a line feed."""
    returns = np.flatnonzero(data == _CR)
    return bool(returns[-1] + 1 < len(data) and (data[returns + 1] == _LF).all())
