"""Finds method implementations by file name, without importing them.

The Snakefile is parsed by every cluster job, so the parameters of a method are read from the syntax tree of its file;
only the process that fits the method imports it.
"""

import ast
import importlib
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from annobench.errors import ConfigError, nearest

if TYPE_CHECKING:
    from annobench.methods.base import Method

_FOLDER = Path(__file__).parent
_NOT_METHODS = {"__init__", "base", "registry", "features"}


def implementations() -> list[str]:
    """Names of all implementations: the files of this folder that hold a method."""
    return sorted(path.stem for path in _FOLDER.glob("*.py") if path.stem not in _NOT_METHODS)


@cache
def _method_class(implementation: str) -> ast.ClassDef:
    path = _FOLDER / f"{implementation}.py"
    if implementation not in implementations():
        raise ConfigError(
            f"implementation '{implementation}' has no file {path.name}{nearest(implementation, implementations())}"
        )
    classes = [node for node in ast.parse(path.read_text(encoding="utf-8")).body if isinstance(node, ast.ClassDef)]
    public = [node for node in classes if not node.name.startswith("_")]
    if len(public) != 1:
        raise ConfigError(f"{path}: expected exactly one public class, found {len(public)}")
    return public[0]


@cache
def _signature(implementation: str) -> tuple[dict[str, Any], frozenset[str]]:
    """Defaults of the keyword parameters of __init__, and the names of those without a default."""
    for node in _method_class(implementation).body:
        if isinstance(node, ast.FunctionDef) and node.name == "__init__":
            pairs = list(zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True))
            defaults = {arg.arg: ast.literal_eval(value) for arg, value in pairs if value is not None}
            return defaults, frozenset(arg.arg for arg, value in pairs if value is None)
    return {}, frozenset()


def resolve_parameters(implementation: str, given: dict[str, Any], source: str) -> dict[str, Any]:
    """Parameters with defaults filled in; raises ConfigError for an unknown or a missing one.

    `source` is the file that the message names.
    """
    defaults, required = _signature(implementation)
    known = set(defaults) | required
    for key in given:
        if key not in known:
            raise ConfigError(f"{source}: parameters: unknown key '{key}'{nearest(key, known)}")
    missing = required - set(given)
    if missing:
        raise ConfigError(f"{source}: parameters: key '{min(missing)}' is missing")
    return dict(sorted((defaults | given).items()))


def load_class(implementation: str) -> "type[Method]":
    """Import an implementation and return its method class."""
    name = _method_class(implementation).name
    module = importlib.import_module(f"annobench.methods.{implementation}")
    found: type[Method] = getattr(module, name)
    return found
