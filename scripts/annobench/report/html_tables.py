"""Tables of the pages: plain HTML, which a browser without scripts shows as well; long ones sort and filter."""

from dataclasses import dataclass
from functools import cache

import pandas as pd
from itables import options

_LARGE = 1000  # from here on decimals say nothing
SHORT = 12  # rows up to which a table is not folded


@dataclass(frozen=True)
class HtmlTable:
    """A table as text.

    Attributes
    ----------
    name
        Of its file under results/tables; another for what is no such table.
    columns
        Titles.
    numeric
        Which columns hold numbers.
    rows
        Texts.
    """

    name: str
    columns: list[str]
    numeric: list[bool]
    rows: list[tuple[str, ...]]

    @property
    def folded(self) -> bool:
        """Whether it is long."""
        return len(self.rows) > SHORT

    @classmethod
    def of(cls, name: str, table: pd.DataFrame) -> "HtmlTable":
        """A table; numbers are rounded for reading, missing ones are left empty, and so are columns without a value."""
        kept = table.loc[:, [bool((column.notna() & (column != "")).any()) for _, column in table.items()]]
        numeric = [
            pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column)
            for _, column in kept.items()
        ]
        texts = kept.apply(as_text) if len(kept) else kept
        return cls(name, list(map(str, kept)), numeric, list(texts.itertuples(index=False, name=None)))


def as_text(column: pd.Series) -> pd.Series:
    """Numbers as text that still sorts as numbers: three decimals, four for p-values, none for counts and thousands."""
    if pd.api.types.is_bool_dtype(column):
        return column.map({True: "yes", False: "no"})
    if not pd.api.types.is_numeric_dtype(column):
        return column.map(lambda value: "" if pd.isna(value) else str(value))
    small = str(column.name).startswith(("p_", "p "))  # p-values
    digits = 4 if small else 0 if (column.dropna() % 1 == 0).all() else 3
    return column.map(lambda value: "" if pd.isna(value) else f"{value:.{0 if abs(value) >= _LARGE else digits}f}")


@cache
def code() -> dict[str, str]:
    """Script and style of DataTables, as the library `itables` carries them: a page opens without a network."""
    bundle = options.dt_bundle
    # neither may stand in a script element
    script = bundle.read_text(encoding="utf-8").replace("</script", "<\\/script").replace("<!--", "<\\!--")
    return {"script": script, "style": bundle.with_suffix(".css").read_text(encoding="utf-8")}
