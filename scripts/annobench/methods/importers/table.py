"""Reads a table of predictions, one row per cell: CSV, TSV or Parquet, by the names of its columns.

Text files are read as people write them (UTF-8 with or without a byte order mark, any line ends, quotes, compressed by
gzip), or refused with the line. The row names that R and pandas write, a first column without a name, are the column
`index`.
"""

import csv
import gzip
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TextIO, TypeAlias

import numpy as np

from annobench.core.errors import ConfigError, DataError, nearest
from annobench.core.parquet import Categorical
from annobench.methods.shared.imports import ImportedPredictions
from annobench.ontology import UNKNOWN

if TYPE_CHECKING:
    from numpy.typing import NDArray

INDEX = "index"
_DELIMITERS = {".csv": ",", ".tsv": "\t", ".tab": "\t", ".txt": "\t"}
_NO_VALUE = {"", "na", "n/a", "nan", "<na>", "null", "none"}
Value: TypeAlias = "str | int | float | None"


def read(
    path: Path,
    *,
    cell_id: str = "cell_id",
    label: str = "label",
    ranks: Sequence[str] = (),
    scores: Sequence[str] = (),
    confidence: str | None = None,
    delimiter: str | None = None,
) -> ImportedPredictions:
    """Read a table of predictions.

    Parameters
    ----------
    path
        The file; its ending says what it is: .csv, .tsv, .tab, .txt (these four also with .gz) or .parquet.
    cell_id
        Column of the cell ids; `index` for row names.
    label
        Column of the first label.
    ranks
        Columns of further labels, best first. A cell may have fewer labels.
    scores
        Columns of the scores: of the first label, then of each of `ranks`.
    confidence
        Column of the confidence, a number for every cell that has a label.
    delimiter
        What separates the columns of a text file; by default a comma in .csv, and a tab in the others.

    Raises
    ------
    DataError
        For what cannot be read, with the line.
    """
    names = [label, *ranks]
    if scores and len(scores) != len(names):
        raise ConfigError(
            f"options.scores names {len(scores)} columns, expected {len(names)}: one for `label` and each of `ranks`"
        )
    columns = [cell_id, *names, *scores, *([confidence] if confidence is not None else [])]
    table = _read_parquet(path, columns) if path.suffix == ".parquet" else _read_text(path, columns, delimiter)
    labels = np.column_stack([table.texts(name) for name in names])
    return ImportedPredictions(
        path.name,
        table.ids(cell_id),
        labels,
        np.column_stack([table.numbers(name, labels[:, i]) for i, name in enumerate(scores)]) if scores else None,
        None if confidence is None else table.numbers(confidence, labels[:, 0]),
        table.rows,
        table.unit,
    )


@dataclass(frozen=True)
class _Table:
    """Columns of a file: name -> values; `rows` says where they stand, in units of `unit`."""

    file: str
    columns: dict[str, list[Value]]
    rows: "NDArray[np.int64]"
    unit: str

    def _at(self, i: int, column: str) -> str:
        return f"{self.file}, {self.unit} {self.rows[i]}, column '{column}'"

    def ids(self, column: str) -> "NDArray[np.object_]":
        """Ids of the cells; raises DataError where one is missing, not text or a whole number, or listed twice."""
        values = self.columns[column]
        first: dict[str, int] = {}
        for i, value in enumerate(values):
            if isinstance(value, float) or value is None or (isinstance(value, str) and not value.strip()):
                raise DataError(f"{self._at(i, column)}: '{'' if value is None else value}' is not a cell id")
            before = first.setdefault(str(value), i)
            if before != i:
                raise DataError(
                    f"{self._at(i, column)}: cell '{value}' is listed twice, first in {self.unit} "
                    f"{self.rows[before]}; expected one {self.unit} per cell"
                )
        return np.array(list(first), dtype=object)

    def texts(self, column: str) -> "NDArray[np.object_]":
        """Labels; empty where there is none. Equal ones are one object."""
        shared: dict[Value, str] = {}
        for value in set(self.columns[column]):
            text = "" if value is None else str(value).strip()
            shared[value] = "" if text.lower() in _NO_VALUE else text
        found = np.empty(len(self.rows), dtype=object)
        found[:] = [shared[value] for value in self.columns[column]]
        return found

    def numbers(self, column: str, labels: "NDArray[np.object_]") -> "NDArray[np.float64]":
        """Numbers; NaN where there is no label or an unknown one. Raises DataError for what is not a number."""
        values = self.columns[column]
        try:
            found = np.array(values, dtype=object).astype(np.float64)
        except (TypeError, ValueError):
            found = np.array([self._number(i, column) for i in range(len(values))])
        bad = np.flatnonzero(~np.isfinite(found) & ~(np.isnan(found) & _unlabelled(labels)))
        if len(bad):
            i = int(bad[0])
            raise DataError(
                f"{self._at(i, column)}: '{values[i]}' is not a number, expected one for every label; {len(bad)} "
                "values are missing or infinite"
            )
        return found

    def _number(self, i: int, column: str) -> float:
        value = self.columns[column][i]
        try:
            if value is None or str(value).strip().lower() in _NO_VALUE:
                return float("nan")
            return float(value)
        except ValueError:
            hint = "; write a decimal point" if "," in str(value) else ""
            raise DataError(
                f"{self._at(i, column)}: '{value}' is not a number, expected one such as 0.93{hint}"
            ) from None


def _unlabelled(labels: "NDArray[np.object_]") -> "NDArray[np.bool_]":
    """Which labels are empty or `unknown`."""
    coded = Categorical.of(labels)
    names = np.array([text.lower() in ("", UNKNOWN) for text in coded.names] or [False])
    found: NDArray[np.bool_] = names[coded.codes]
    return found


# text


def _read_text(path: Path, wanted: Sequence[str], delimiter: str | None) -> _Table:
    packed = path.suffix == ".gz"
    kind = Path(path.stem).suffix if packed else path.suffix
    if kind not in _DELIMITERS:
        known = ", ".join([*_DELIMITERS, ".parquet"])
        raise DataError(f"{path.name}: ends in '{kind}', expected one of {known} (text also with .gz)")
    separator = delimiter or _DELIMITERS[kind]
    if len(separator) != 1:
        raise ConfigError(f"options.delimiter is '{separator}', expected one character")
    records = _records(path, packed, separator)
    _, header = next(records, (0, []))
    ahead = next(records, None)
    if ahead is None:
        raise DataError(f"{path.name}: holds no rows, expected a header and one row per cell")
    if len(ahead[1]) == len(header) + 1:  # R's write.table names no column for the row names
        header = ["", *header]
    take = _positions(path.name, header, wanted, separator)
    columns: dict[str, list[Value]] = {name: [] for name in take}
    lines: list[int] = []
    for line, fields in _with(ahead, records):
        if len(fields) != len(header):
            raise DataError(
                f"{path.name}, line {line}: has {len(fields)} fields, expected {len(header)}; is a "
                "text with a delimiter not quoted, or the file cut off?"
            )
        lines.append(line)
        for name, position in take.items():
            columns[name].append(fields[position])
    return _Table(path.name, columns, np.array(lines, dtype=np.int64), "line")


def _with(first: tuple[int, list[str]], rest: Iterator[tuple[int, list[str]]]) -> Iterator[tuple[int, list[str]]]:
    yield first
    yield from rest


def _records(path: Path, packed: bool, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Line numbers and fields of the records that are not empty."""
    try:
        with _opened(path, packed) as handle:
            reader = csv.reader(handle, delimiter=delimiter, strict=True)
            line = 0
            try:
                for fields in reader:
                    line = reader.line_num
                    if fields:
                        yield line, fields
            except csv.Error as error:
                raise DataError(f"{path.name}, line {reader.line_num}: {error}; is a quote missing?") from error
            except UnicodeDecodeError as error:
                raise DataError(
                    f"{path.name}: is not UTF-8 text (after line {line}: {error.reason}); save it as UTF-8"
                ) from error
    except (EOFError, gzip.BadGzipFile) as error:
        raise DataError(f"{path.name}: is not a whole gzip file ({error}); make it again") from error


def _opened(path: Path, packed: bool) -> TextIO:
    if packed:
        return gzip.open(path, "rt", encoding="utf-8-sig", newline="")
    return open(path, encoding="utf-8-sig", newline="")


def _positions(file: str, header: Sequence[str], wanted: Sequence[str], delimiter: str) -> dict[str, int]:
    """Where the wanted columns stand in the header."""
    names = [name.strip() for name in header]
    if names and not names[0] and INDEX not in names:
        names[0] = INDEX
    other = next((mark for mark in (";", "\t", ",") if mark != delimiter and mark in names[0]), None)
    if len(names) == 1 and other:
        shown = {"\t": "tab", ";": "';'", ",": "','"}
        raise DataError(
            f"{file}: the header has one column, and a {shown[other]} in it; expected columns separated by "
            f"{shown.get(delimiter, repr(delimiter))}; set options.delimiter"
        )
    return {name: _position(file, names, name) for name in wanted}


def _position(file: str, names: Sequence[str], wanted: str) -> int:
    if wanted not in names:
        raise DataError(f"{file}: there is no column '{wanted}'{nearest(wanted, filter(None, names))}")
    if names.count(wanted) > 1:
        raise DataError(f"{file}: column '{wanted}' is listed twice in the header; rename one")
    return names.index(wanted)


# parquet


def _read_parquet(path: Path, wanted: Sequence[str]) -> _Table:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            present = file.schema_arrow.names
            names = [INDEX if name == "__index_level_0__" and INDEX not in present else name for name in present]
            stored = {name: present[_position(path.name, names, name)] for name in dict.fromkeys(wanted)}
            table = file.read(columns=list(stored.values()), use_threads=False)
    except (pa.ArrowInvalid, OSError) as error:
        raise DataError(f"{path.name}: is not a readable Parquet file ({error}); write it again") from error
    if table.num_rows == 0:
        raise DataError(f"{path.name}: holds no rows, expected one per cell")
    columns: dict[str, list[Value]] = {name: table.column(given).to_pylist() for name, given in stored.items()}
    return _Table(path.name, columns, np.arange(1, table.num_rows + 1), "row")
