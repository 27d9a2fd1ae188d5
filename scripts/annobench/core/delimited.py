"""Text files of rows and columns as people write them: UTF-8, any delimiter, line ends and quotes, or gzip.

Two readers give the same columns. `regular_columns` lets pyarrow parse a file whose every line is one row and whose
quotes enclose whole fields: a million rows in a fraction of a second. `careful_columns` reads any file line by line,
and says in which line it is wrong. No threads are started.
"""

import csv
import gzip
import io
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, product
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TextIO

import numpy as np

from annobench.core.errors import ConfigError, DataError, nearest

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

    Columns = Mapping[str, pa.ChunkedArray | pa.Array]

INDEX = "index"  # the column of row names, which R and pandas write without a name
NO_VALUE = {"", "na", "n/a", "nan", "<na>", "null", "none"}  # in lower case
DELIMITERS = {".csv": ",", ".tsv": "\t", ".tab": "\t", ".txt": "\t"}
_BLOCK = 1 << 17  # bytes that are looked at together: more do not fit into the cache
_PARSED = 1 << 20  # bytes that pyarrow parses together
_SPELLINGS = sorted(
    {"".join(letters) for text in NO_VALUE for letters in product(*((c.lower(), c.upper()) for c in text))}
)
_QUOTE, _LF, _CR = b'"\n\r'
_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True)
class TextFile:
    """A text file, how it is packed, and what separates its columns."""

    path: Path
    packed: bool
    delimiter: str

    @classmethod
    def of(cls, path: Path, delimiter: str | None = None) -> "TextFile":
        """Told from the ending of the name; a comma separates columns of .csv, a tab those of the others."""
        packed = path.suffix == ".gz"
        kind = Path(path.stem).suffix if packed else path.suffix
        if kind not in DELIMITERS:
            known = ", ".join([*DELIMITERS, ".parquet"])
            raise DataError(f"{path.name}: ends in '{kind}', expected one of {known} (text also with .gz)")
        separator = delimiter or DELIMITERS[kind]
        if len(separator) != 1:
            raise ConfigError(f"options.delimiter is '{separator}', expected one character")
        return cls(path, packed, separator)

    def column_names(self) -> list[str]:
        """Names of the columns; `index` for row names."""
        return _begin(self)[0]


# any file


def careful_columns(file: TextFile, wanted: Sequence[str]) -> "tuple[Columns, NDArray[np.int64]]":
    """Columns as text, by name, and the line at which every row ends. Raises DataError with the line."""
    import pyarrow as pa

    name = file.path.name
    header, records = _begin(file)
    take = column_positions(name, header, wanted)
    columns: dict[str, list[str]] = {column: [] for column in take}
    lines: list[int] = []
    for line, fields in records:
        if len(fields) != len(header):
            raise DataError(
                f"{name}, line {line}: has {len(fields)} fields, expected {len(header)}; is a text with a delimiter "
                "not quoted, or the file cut off?"
            )
        lines.append(line)
        for column, position in take.items():
            columns[column].append(fields[position])
    texts = {column: pa.array(values, pa.large_string()) for column, values in columns.items()}
    return texts, np.array(lines, dtype=np.int64)


def _begin(file: TextFile) -> tuple[list[str], Iterator[tuple[int, list[str]]]]:
    """Names of the columns, and the records below the header."""
    records = _records(file)
    _, header = next(records, (0, []))
    first = next(records, None)
    if first is None:
        raise DataError(f"{file.path.name}: holds no rows, expected a header and one row per cell")
    return _names(file, header, len(first[1])), chain([first], records)


def _names(file: TextFile, header: Sequence[str], fields: int) -> list[str]:
    """Names of the columns of a file whose first row has so many fields."""
    names = [name.strip() for name in header]
    if fields == len(names) + 1:  # R's write.table names no column for the row names
        names = ["", *names]
    if names and not names[0] and INDEX not in names:
        names[0] = INDEX
    other = next((mark for mark in (";", "\t", ",") if mark != file.delimiter and mark in names[0]), None)
    if len(names) == 1 and other:
        shown = {"\t": "tab", ";": "';'", ",": "','"}
        raise DataError(
            f"{file.path.name}: the header has one column, and a {shown[other]} in it; expected columns separated by "
            f"{shown.get(file.delimiter, repr(file.delimiter))}; set options.delimiter"
        )
    return names


def _records(file: TextFile) -> Iterator[tuple[int, list[str]]]:
    """Line numbers and fields of the records that are not empty."""
    name = file.path.name
    try:
        with _opened(file) as handle:
            reader = csv.reader(handle, delimiter=file.delimiter, strict=True)
            line = 0
            try:
                for fields in reader:
                    line = reader.line_num
                    if fields:
                        yield line, fields
            except csv.Error as error:
                raise DataError(f"{name}, line {reader.line_num}: {error}; is a quote missing?") from error
            except UnicodeDecodeError as error:
                raise DataError(
                    f"{name}: is not UTF-8 text (after line {line}: {error.reason}); save it as UTF-8"
                ) from error
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise DataError(f"{name}: is not a whole gzip file ({error}); make it again") from error


def _opened(file: TextFile) -> TextIO:
    if file.packed:
        return gzip.open(file.path, "rt", encoding="utf-8-sig", newline="")
    return open(file.path, encoding="utf-8-sig", newline="")


def column_positions(file: str, names: Sequence[str], wanted: Sequence[str]) -> dict[str, int]:
    """Where the wanted columns are among the names of all columns of a file."""
    for name in wanted:
        if name not in names:
            raise DataError(f"{file}: there is no column '{name}'{nearest(name, filter(None, names))}")
        if names.count(name) > 1:
            raise DataError(f"{file}: column '{name}' is listed twice in the header; rename one")
    return {name: names.index(name) for name in wanted}


# regular files


def regular_columns(file: TextFile, wanted: Mapping[str, Literal["id", "text", "number"]]) -> "Columns | None":
    """Columns by name: ids as text, texts as a dictionary, numbers as float64 with nulls; row i is in line i + 2.

    None for a file that is not regular, and for one in which something is wrong: `careful_columns` says what.
    """
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.csv as pa_csv

    if ord(file.delimiter) >= 128 or file.delimiter in '"\r\n\0':
        return None
    try:
        content = gzip.decompress(file.path.read_bytes()) if file.packed else None
        with open(file.path, "rb") if content is None else io.BytesIO(content) as handle:
            names = _first_lines(file, handle)
            lines = None if names is None else _regular_lines(handle, ord(file.delimiter))
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
            parse_options=pa_csv.ParseOptions(delimiter=file.delimiter),
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
    return None if odd or table.num_rows != lines else columns


def _first_lines(file: TextFile, handle: io.BufferedIOBase) -> list[str] | None:
    """Names of the columns, from the first two lines; the file is then at its second line. None where one is odd."""
    header = handle.readline()
    second = handle.tell()
    lines = [line.decode().rstrip("\r\n") for line in (header.removeprefix(_BOM), handle.readline())]
    handle.seek(second)
    if not all(lines) or any(line.count('"') % 2 or "\r" in line for line in lines):
        return None
    first, row = csv.reader(lines, delimiter=file.delimiter, strict=True)
    return _names(file, first, len(row))


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
