"""Tables as people and programs write them: CSV, TSV or Parquet, by the names of their columns.

Text files are read as people write them (see `annobench.core.records`), or refused with the line. The row names that R
and pandas write, a first column without a name, are the column `index`.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from annobench.core.delimited import INDEX, TextFile, careful_columns, column_positions, regular_columns
from annobench.core.errors import DataError
from annobench.core.missing import is_missing
from annobench.core.parquet import NOT_GIVEN, Categorical, positions, to_categorical, to_numpy
from annobench.core.progress import say
from annobench.core.records import plain

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

    Columns = Mapping[str, pa.ChunkedArray | pa.Array]

__all__ = ["INDEX", "Table", "Wanted", "column_names", "find_repeated", "read_table", "table_of"]

_NO_ID = ("NA", "N/A", "#N/A", "<NA>", "nan", "NaN", "None", "null", "NULL")  # no cell, gene or cluster is called so
_COMMA = re.compile(r"[+-]?\d*,\d+(?:[eE][+-]?\d+)?")
_THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2},\d{3}")


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """Which columns of a table are read, and as what.

    Parameters
    ----------
    ids
        Column of the ids, one for every row; None where there is none.
    texts
        Columns of texts, such as labels. One that is missing, or `NA`, is empty.
    numbers
        Columns of numbers. One that is missing, or `NA`, is NaN.
    complete
        Pairs of a column of numbers and one of texts: a row whose text is neither empty nor `unknown` must have the
        number.
    what
        What the ids are of, for messages.
    empty
        Whether a Parquet file without rows is taken, such as that of a fit that failed.
    """

    ids: str | None = None
    texts: Sequence[str] = ()
    numbers: Sequence[str] = ()
    complete: Sequence[tuple[str, str]] = ()
    what: str = "cell"
    empty: bool = False

    @property
    def columns(self) -> list[str]:
        """All columns, each once."""
        ids = [] if self.ids is None else [self.ids]
        return list(dict.fromkeys([*ids, *self.texts, *self.numbers]))


@dataclass(frozen=True)
class Table:
    """Columns of a file.

    Parameters
    ----------
    file
        Name of the file, for messages.
    ids
        (n,) Arrow text; None where none were wanted. The same id may be listed twice: see `find_repeated`.
    texts
        Columns of texts by name, without whitespace around them; empty where there is none.
    numbers
        Columns of numbers by name; NaN where there is none, never infinite.
    rows
        (n,) where the rows are in the file.
    unit
        What `rows` counts: `line` or `row`.
    """

    file: str
    ids: "pa.Array"
    texts: Mapping[str, Categorical]
    numbers: "Mapping[str, NDArray[np.float64]]"
    rows: "NDArray[np.int64]"
    unit: str

    def __len__(self) -> int:
        return len(self.rows)

    def place(self, row: int) -> str:
        """Where a row is, to begin a message with."""
        return f"{self.file}, {self.unit} {self.rows[row]}"


def read_table(path: Path, wanted: Wanted, delimiter: str | None = None) -> Table:
    """Read columns of a table.

    Parameters
    ----------
    path
        The file; its ending says what it is: .csv, .tsv, .tab, .txt (these four also with .gz) or .parquet.
    wanted
        The columns.
    delimiter
        What separates the columns of a text file; by default a comma in .csv, and a tab in the others.

    Raises
    ------
    DataError
        For what cannot be read, with the line.
    """
    _check_there(path)
    if path.suffix == ".parquet":
        return _read_parquet(path, wanted)
    file = TextFile.of(path, delimiter)
    kinds: dict[str, Literal["id", "text", "number"]] = {
        **dict.fromkeys(wanted.numbers, "number"),
        **dict.fromkeys(wanted.texts, "text"),
        **({} if wanted.ids is None else {wanted.ids: "id"}),
    }
    plain = len(kinds) == len({*wanted.numbers}) + len({*wanted.texts}) + (wanted.ids is not None)
    found = regular_columns(file, kinds) if plain else None
    if found is not None:
        n = len(next(iter(found.values())))
        try:
            return table_of(path.name, found, wanted, np.arange(2, n + 2), "line")
        except DataError:
            pass  # the reader below has the texts as they are written, for the message
    columns, lines, separated = careful_columns(file, wanted.columns)
    return table_of(path.name, columns, wanted, lines, "line", separated=separated)


def column_names(path: Path, delimiter: str | None = None) -> list[str]:
    """Names of the columns of a table, in their order; `index` for row names."""
    _check_there(path)
    if path.suffix != ".parquet":
        return TextFile.of(path, delimiter).column_names()
    return _parquet(path, None)[1]


def _check_there(path: Path) -> None:
    if not path.is_file():
        raise DataError(f"{path}: there is no such file")


def find_repeated(ids: "pa.Array") -> tuple[int, int] | None:
    """The first row whose id an earlier row has, and that row; None where all ids are different."""
    first = positions(ids, ids, whole=True)
    again = np.flatnonzero(first != np.arange(len(ids)))
    return (int(again[0]), int(first[again[0]])) if len(again) else None


def table_of(
    file: str, columns: "Columns", wanted: Wanted, rows: "NDArray[np.int64]", unit: str, *, separated: str = ""
) -> Table:
    """A table of the columns of a file, checked.

    Parameters
    ----------
    file
        Name of the file.
    columns
        Arrow columns by name, of any type.
    wanted
        What they are read as.
    rows, unit
        As of Table.
    separated
        What separates the fields of a text file: unless that is a comma, a number may have a decimal comma.
    """
    maker = _Maker(file, columns, rows, unit, separated)
    texts = {name: maker.text(name) for name in wanted.texts}
    numbers = {name: maker.number(name) for name in wanted.numbers}
    ids = None if wanted.ids is None else maker.ids(wanted.ids, wanted.what)
    for number, text in wanted.complete:
        maker.check_complete(number, numbers[number], texts[text])
    return Table(file, ids, texts, numbers, rows, unit)


@dataclass(frozen=True)
class _Maker:
    """Columns of a file on their way into a table."""

    file: str
    columns: "Columns"
    rows: "NDArray[np.int64]"
    unit: str
    separated: str = ""

    def _refused(self, i: int, column: str, expected: str) -> DataError:
        value = self.columns[column][i].as_py()
        where = f"{self.file}, {self.unit} {self.rows[i]}, column '{column}'"
        return DataError(f"{where}: '{'' if value is None else value}' is not {expected}")

    def ids(self, column: str, what: str) -> "pa.Array":
        """Ids; raises DataError where one is missing, or is neither text nor a whole number."""
        import pyarrow as pa
        import pyarrow.compute as pc

        values = self.columns[column]
        kind = values.type
        expected = f"a {what} id"
        if pa.types.is_floating(kind) or pa.types.is_null(kind):
            raise self._refused(0, column, expected)
        texts = values.cast(pa.large_string())
        if isinstance(texts, pa.ChunkedArray):
            texts = pa.concat_arrays(texts.chunks) if texts.num_chunks else pa.array([], pa.large_string())
        texts = pc.utf8_trim_whitespace(texts)
        blank = pc.or_kleene(pc.equal(pc.binary_length(texts), 0), pc.is_in(texts, pa.array(_NO_ID, texts.type)))
        bad = pc.index(pc.fill_null(blank, True), True).as_py()
        if bad >= 0:
            raise self._refused(bad, column, expected)
        return texts

    def text(self, column: str) -> Categorical:
        """Texts without whitespace around them; empty where there is none."""
        coded = to_categorical(self.columns[column])
        names = [plain(str(name)) for name in coded.names]
        names = ["" if is_missing(name, words=False) or name.lower() == "none" else name for name in names]
        whole = Categorical.of([*names, ""])  # the last one is that of missing values, whose code is -1
        return Categorical(whole.codes[coded.codes], whole.names)

    def number(self, column: str) -> "NDArray[np.float64]":
        """Numbers; NaN where there is none. Raises DataError for what is not a number, or infinite."""
        import pyarrow as pa

        values = self.columns[column]
        kind = values.type
        if pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_decimal(kind):
            chunks = values.cast(pa.float64())
            if not isinstance(chunks, pa.ChunkedArray):
                chunks = pa.chunked_array([chunks])
            found: NDArray[np.float64] = to_numpy(chunks).astype(np.float64, copy=False)
        elif pa.types.is_null(kind):
            found = np.full(len(values), np.nan)
        else:
            texts = values.to_pylist()
            try:
                found = np.array(texts, dtype=object).astype(np.float64)
            except (TypeError, ValueError):
                comma = self.separated not in ("", ",") and self._has_decimal_commas(column, texts)
                found = np.array([self._parsed(i, column, text, comma=comma) for i, text in enumerate(texts)])
        infinite = np.flatnonzero(np.isinf(found))
        if len(infinite):
            raise self._refused(int(infinite[0]), column, "a number, expected a finite one")
        return found

    def _has_decimal_commas(self, column: str, texts: "Sequence[object]") -> bool:
        """Whether commas of a column are decimal ones: none has more than one comma, or a decimal point.

        Where each may as well divide thousands (1,234), a tab-separated file is a guess that is printed; semicolons
        come from where decimal commas are usual.
        """
        commas = [str(text).strip() for text in texts if text is not None and "," in str(text)]
        if not commas or any(not _COMMA.fullmatch(text) for text in commas):
            return False
        if any("." in str(text) for text in texts if text is not None and not is_missing(str(text))):
            return False
        if self.separated != ";" and all(_THOUSANDS.fullmatch(text) for text in commas):
            say(f"{self.file}, column '{column}': '{commas[0]}' is read with a decimal comma, not as thousands")
        return True

    def _parsed(self, i: int, column: str, value: object, *, comma: bool) -> float:
        text = "" if value is None else plain(str(value))
        try:
            if is_missing(text):
                return float("nan")
            return float(text.replace(",", ".") if comma else text.replace("\u2212", "-"))
        except ValueError:
            hint = "; write a decimal point" if "," in text else ""
            raise self._refused(i, column, f"a number, expected one such as 0.93{hint}") from None

    def check_complete(self, column: str, numbers: "NDArray[np.float64]", texts: Categorical) -> None:
        """Raise DataError where a number of a row with a text is missing."""
        labelled = np.array([not is_missing(name) and name.lower() != NOT_GIVEN for name in texts.names])
        bad = np.flatnonzero(np.isnan(numbers) & labelled[texts.codes])
        if len(bad):
            raise self._refused(
                int(bad[0]), column, f"a number, expected one for every label; {len(bad)} values are missing"
            )


# parquet


def _read_parquet(path: Path, wanted: Wanted) -> Table:
    columns, _ = _parquet(path, wanted)
    n = len(next(iter(columns.values())))
    if n == 0 and not wanted.empty:
        raise DataError(f"{path.name}: holds no rows, expected one per {wanted.what}")
    return table_of(path.name, columns, wanted, np.arange(1, n + 1), "row")


def _parquet(path: Path, wanted: Wanted | None) -> "tuple[Columns, list[str]]":
    """Columns of a Parquet file (none where none are wanted), and the names of all."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path, read_dictionary=[] if wanted is None else list(wanted.texts)) as file:
            present = file.schema_arrow.names
            names = [INDEX if name == "__index_level_0__" and INDEX not in present else name for name in present]
            if wanted is None:
                return {}, names
            at = column_positions(path.name, names, wanted.columns)
            table = file.read(columns=[present[position] for position in at.values()], use_threads=False)
    except (pa.ArrowInvalid, OSError) as error:
        raise DataError(f"{path.name}: is not a readable Parquet file ({error}); write it again") from error
    return {name: _of_texts(table.column(present[at[name]]), f"{path.name}: column '{name}'") for name in at}, names


def _of_texts(column: "pa.ChunkedArray", where: str) -> "pa.ChunkedArray":
    """A column whose bytes are texts, as Spark and Impala write them without saying so; any other as it is."""
    import pyarrow as pa

    coded = pa.types.is_dictionary(column.type)
    kind = column.type.value_type if coded else column.type
    if not (pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind)):
        return column
    try:
        return column.cast(kind).cast(pa.large_string())
    except pa.ArrowInvalid as error:
        raise DataError(f"{where}: holds bytes that are no UTF-8 text; write it as text") from error
