"""Finds plugins (methods, figures) by file name and reads what they say of themselves without importing them.

The Snakefile is parsed by every cluster job, so what a plugin declares is read from the syntax tree of its file; only
the process that uses it imports it. Every file directly in a plugin folder is one plugin.
"""

import ast
from functools import cache
from pathlib import Path

from annobench.core.errors import ConfigError, nearest
from annobench.core.paths import LIBRARY


def plugins(room: str) -> list[str]:
    """Names of the plugins of a room (`methods`, `figures`): the files directly in its folder."""
    return sorted(path.stem for path in (LIBRARY / room).glob("*.py") if path.stem != "__init__")


def plugin_path(room: str, name: str) -> Path:
    """File of a plugin; raises ConfigError where there is none."""
    if name not in plugins(room):
        one = room.removesuffix("s")
        raise ConfigError(f"{room}: there is no {one} '{name}'{nearest(name, plugins(room))}")
    return LIBRARY / room / f"{name}.py"


# methods


def implementations() -> list[str]:
    """Names of all implementations of methods."""
    return plugins("methods")


@cache
def method_class(implementation: str) -> tuple[Path, ast.ClassDef]:
    """File and class of an implementation; raises ConfigError where there is none, or not exactly one."""
    path = LIBRARY / "methods" / f"{implementation}.py"
    if implementation not in implementations():
        raise ConfigError(
            f"implementation '{implementation}' has no file {path.name}{nearest(implementation, implementations())}"
        )
    classes = [node for node in ast.parse(path.read_text(encoding="utf-8")).body if isinstance(node, ast.ClassDef)]
    public = [node for node in classes if not node.name.startswith("_")]
    if len(public) != 1:
        raise ConfigError(f"{path}: expected exactly one public class, found {len(public)}")
    return path, public[0]


def method_class_name(implementation: str) -> str:
    """Name of the class of an implementation."""
    return method_class(implementation)[1].name
