"""Reads what files of the library declare, from their syntax trees: nothing is imported.

The Snakefile is parsed by every cluster job, and importing a method or a loss would load numpy or PyTorch each time.
"""

import ast
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

from annobench.core.errors import ConfigError
from annobench.core.paths import LIBRARY


@cache
def tree_of(path: Path) -> ast.Module:
    """Syntax tree of a file."""
    return ast.parse(path.read_text(encoding="utf-8"))


def literals(path: Path, names: Iterable[str]) -> dict[str, Any]:
    """Values of constants that a file assigns at its top; those it does not assign are left out.

    Raises ConfigError for one that is not a literal.
    """
    values = {}
    for node in tree_of(path).body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id in names:
            try:
                values[node.targets[0].id] = ast.literal_eval(node.value)
            except ValueError:
                raise ConfigError(f"{path}: line {node.lineno}: {node.targets[0].id} must be a literal") from None
    return values


def class_named(path: Path, name: str) -> tuple[Path, ast.ClassDef] | None:
    """The class that a name means in a file, with the file that defines it; None where it is not of the library."""
    for node in tree_of(path).body:
        if isinstance(node, ast.ClassDef) and node.name == name:
            return path, node
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(f"{LIBRARY.name}."):
            for alias in node.names:
                if name == (alias.asname or alias.name):
                    return class_named(LIBRARY.parent / f"{str(node.module).replace('.', '/')}.py", alias.name)
    return None


def lineage(path: Path, kind: ast.ClassDef) -> Iterator[tuple[Path, ast.ClassDef]]:
    """A class and the classes of the library that it inherits from, each with its file."""
    yield path, kind
    for base in kind.bases:
        if isinstance(base, ast.Name) and (place := class_named(path, base.id)):
            yield from lineage(*place)
