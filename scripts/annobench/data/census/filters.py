"""Filters of rows by the values of their columns: passed to the client as data, never pasted into expressions."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from annobench.core.errors import DataError, nearest
from annobench.core.files import expanded
from annobench.core.paths import ROOT
from annobench.core.records import Records
from annobench.data.census.spec import TableColumn, Value

if TYPE_CHECKING:
    import pyarrow as pa

_WHOLE = re.compile(r"-?[0-9]{1,18}")


@dataclass(frozen=True)
class Filters:
    """Column -> values that are taken; all columns must hold."""

    columns: Mapping[str, Sequence[Value]]

    @classmethod
    def read(cls, settings: Mapping[str, Sequence[Value] | TableColumn]) -> "Filters":
        """From `source.filters`: values, or a column of a table that holds them."""
        return cls(
            {
                column: read_values(values.file, values.column) if isinstance(values, TableColumn) else list(values)
                for column, values in settings.items()
            }
        )

    def checked(self, schema: "pa.Schema", where: str) -> "Filters":
        """The same, whole numbers out of tables as such.

        Raises DataError for a column that is not there, or values of another type than the column's.
        """
        checked = dict(self.columns)
        for column, values in self.columns.items():
            if column not in schema.names:
                raise DataError(
                    f"source.filters: the cells of {where} have no column '{column}'{nearest(column, schema.names)}"
                )
            kind = _kind(schema.field(column).type)
            if kind is int:  # a table holds texts
                values = [int(v) if isinstance(v, str) and _WHOLE.fullmatch(v) else v for v in values]
                checked[column] = values
            for value in values:
                if kind is not None and not _fits(value, kind):
                    raise DataError(
                        f"source.filters.{column}: {value!r} is not of type {kind.__name__}, which the column of "
                        f"{where} holds"
                    )
        return Filters(checked)

    def expression(self, schema: "pa.Schema") -> str | None:
        """What the client can filter itself, in its language; None where that is nothing.

        A text is written as a Python literal, which is what the client parses: quotes, backslashes and line ends
        arrive as they are. It knows no list of true and false.
        """
        parts = []
        for column, values in self.columns.items():
            kind = _kind(schema.field(column).type)
            name = column if column.isidentifier() else f"attr({column!r})"
            if kind is bool:
                parts += [f"{name} == {bool(values[0])}"] if len(set(values)) == 1 else []
            elif kind is not None and all(_can_be_sent(value) for value in values):
                parts.append(f"{name} in {list(values)!r}")
        return " and ".join(f"({part})" for part in parts) or None

    def mask(self, column: str, values: Sequence[object]) -> list[bool]:
        """Which values of a column are taken: for what the client cannot filter, and to check what it did."""
        wanted = set(self.columns[column])
        return [value in wanted for value in values]


def _kind(of: "pa.DataType") -> type[Value] | None:
    """Text, truth or whole number, as the client can filter it; None for other types."""
    import pyarrow as pa

    kind = of.value_type if pa.types.is_dictionary(of) else of
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return str
    if pa.types.is_boolean(kind):
        return bool
    return int if pa.types.is_integer(kind) else None


def _fits(value: Value, kind: type[Value]) -> bool:
    return isinstance(value, kind) and (kind is not int or not isinstance(value, bool))


def _can_be_sent(value: Value) -> bool:
    """Whether a value can be encoded: half of a surrogate pair cannot."""
    return not isinstance(value, str) or not any(0xD800 <= ord(letter) <= 0xDFFF for letter in value)


def read_values(file: str, column: str) -> list[str]:
    """The different values of a column of a .csv, or else tab-separated, file of the repository; in their order.

    A relative path starts at the repository. Raises DataError where the file, the column or all values are missing.
    """
    path = local_file(file)
    if not path.is_file():
        raise DataError(f"{file}: there is no such file ({path}); relative paths start at the repository")
    values = list(dict.fromkeys(value for _, (value,) in Records.read(path, optional=True).table([column]) if value))
    if not values:
        raise DataError(f"{file}: column '{column}' is empty")
    return values


def local_file(file: str) -> Path:
    """A file as the configuration names it; a relative path starts at the repository."""
    return ROOT / expanded(file)
