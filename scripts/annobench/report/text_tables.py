"""Tables as Markdown and LaTeX, for a paper."""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from annobench.core.files import atomic
from annobench.report.html_tables import as_text


def write_text_tables(tables: Mapping[str, pd.DataFrame], folder: str) -> None:
    """Write tables as Markdown and as LaTeX (booktabs), numbers with three decimals.

    Parameters
    ----------
    tables
        Name -> table with columns for people.
    folder
        Where `<name>.md` and `<name>.tex` go.
    """
    place = Path(folder)
    place.mkdir(parents=True, exist_ok=True)
    for name, table in tables.items():
        if len(table):
            texts = table.apply(as_text)
            with atomic(place / f"{name}.md") as path:
                markdown = texts.map(lambda text: text.replace("|", "\\|").replace("\n", " "))
                path.write_text(markdown.to_markdown(index=False, disable_numparse=True) + "\n", encoding="utf-8")
            with atomic(place / f"{name}.tex") as path:
                styled = (
                    texts.style.hide(axis="index").format(escape="latex").format_index(escape="latex", axis="columns")
                )
                sides = "".join("r" if pd.api.types.is_numeric_dtype(column) else "l" for _, column in table.items())
                path.write_text(styled.to_latex(hrules=True, column_format=sides), encoding="utf-8")
