"""Tables and what their files declare, read without pandas."""

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache

from annobench.config.plugins import plugin_path, plugins
from annobench.config.syntax import literals, tree_of
from annobench.core.errors import ConfigError, nearest
from annobench.core.paths import LIBRARY


@dataclass(frozen=True)
class TableFacts:
    """What the file of a table declares of it.

    Attributes
    ----------
    name
        Name of the table, of its file under results/ and of the function that builds it.
    module
        File in scripts/annobench/tables, without .py.
    meaning
        First paragraph of the docstring of the function that builds it.
    columns
        COLUMNS and MEANINGS: meaning of every column, in the order of the columns.
    in_report
        IN_REPORT: whether Snakemake's own report shows it.
    """

    name: str
    module: str
    meaning: str
    columns: Mapping[str, str]
    in_report: bool


def tables() -> list[str]:
    """Names of all tables, sorted by file."""
    return list(_facts())


def table_facts(table: str) -> TableFacts:
    """What a file declares of a table; raises ConfigError where there is no such table, or a file says too little."""
    if table not in _facts():
        raise ConfigError(f"tables: there is no table '{table}'{nearest(table, tables())}")
    return _facts()[table]


@cache
def _facts() -> dict[str, TableFacts]:
    """All tables by name."""
    usual = literals(LIBRARY / "tables" / "shared" / "columns.py", ("MEANINGS",))["MEANINGS"]
    found: dict[str, TableFacts] = {}
    for module in plugins("tables"):
        for facts in _facts_of(module, usual):
            if facts.name in found:
                raise ConfigError(
                    f"tables: '{facts.name}' is declared twice, in {found[facts.name].module}.py and {module}.py; "
                    "rename one of them"
                )
            found[facts.name] = facts
    return found


def _facts_of(module: str, usual: Mapping[str, str]) -> Iterator[TableFacts]:
    """The tables of one file; `usual` are the meanings of columns that many tables have."""
    path = plugin_path("tables", module)
    declared = {"MEANINGS": {}, "IN_REPORT": ()} | literals(path, ("COLUMNS", "MEANINGS", "IN_REPORT"))
    if "COLUMNS" not in declared:
        raise ConfigError(f"{path}: COLUMNS is missing; name the columns of every table that the file builds")
    functions = [node for node in tree_of(path).body if isinstance(node, ast.FunctionDef)]
    docstrings = {node.name: ast.get_docstring(node) or "" for node in functions}
    meanings = {**usual, **declared["MEANINGS"]}
    for name, columns in declared["COLUMNS"].items():
        if not docstrings.get(name):
            raise ConfigError(f"{path}: expected a function {name}(context) with a docstring, which builds the table")
        of_column = {column: meanings.get(f"{name}.{column}") or meanings.get(column) for column in columns}
        for column, meaning in of_column.items():
            if not meaning:
                raise ConfigError(f"{path}: MEANINGS has no entry for the column '{column}' of {name}")
        yield TableFacts(
            name=name,
            module=module,
            meaning=" ".join(docstrings[name].split("\n\n")[0].split()),
            columns={column: str(meaning) for column, meaning in of_column.items()},
            in_report=name in declared["IN_REPORT"],
        )
