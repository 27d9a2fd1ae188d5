"""docs/tables.md and the list of tables in results/README.md, made from what the files of the tables declare."""

import re
from collections.abc import Mapping
from pathlib import Path

from annobench.config.tables import TableFacts, table_facts, tables
from annobench.core.files import atomic
from annobench.core.paths import ROOT

PAGE = ROOT / "docs" / "tables.md"
README = ROOT / "results" / "README.md"
_BLOCK = re.compile(r"(<!-- tables -->\n).*?(<!-- end -->)", re.DOTALL)
_HEAD = """# Tables

Every table of a study is a file `results/tables/<study>/<table>.csv`, with numbers of six significant digits. A cell is
empty where there is no value. A file of `scripts/annobench/tables` builds each table and declares the columns below; a
new file there is a new table. A column in angle brackets is a group of columns. `make manual` writes this page.
"""


def update(*, check: bool = False) -> int:
    """Write the page and the list anew, or only state whether they are up to date; returns an exit status."""
    new = texts()
    wrong = [path for path, text in new.items() if not path.is_file() or path.read_text(encoding="utf-8") != text]
    if check and wrong:
        names = ", ".join(path.relative_to(ROOT).as_posix() for path in wrong)
        print(f"{names}: not in step with scripts/annobench/tables; run: make manual")
        return 1
    for path in wrong:
        with atomic(path) as temporary:
            temporary.write_text(new[path], encoding="utf-8")
    return 0


def texts() -> Mapping[Path, str]:
    """The file that holds each text, and the text."""
    facts = sorted(map(table_facts, tables()), key=lambda one: not one.in_report)
    rows = [f"| [`{one.name}`](../docs/tables.md#{one.name}) | {one.meaning} |" for one in facts]
    listed = "\n".join(["| table | content |", "| --- | --- |", *rows])
    readme = _BLOCK.sub(lambda match: f"{match[1]}{listed}\n{match[2]}", README.read_text(encoding="utf-8"))
    return {PAGE: "\n".join([_HEAD, *map(_section, facts)]), README: readme}


def _section(facts: TableFacts) -> str:
    """A table with its columns."""
    rows = [f"| `{column}` | {meaning} |" for column, meaning in facts.columns.items()]
    shown = " Shown in Snakemake's report." if facts.in_report else ""
    built = f"Built by [`{facts.module}.py`](../scripts/annobench/tables/{facts.module}.py).{shown}"
    head = [f"## {facts.name}", "", facts.meaning, "", "| column | meaning |", "| --- | --- |"]
    return "\n".join([*head, *rows, "", built, ""])
