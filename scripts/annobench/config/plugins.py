"""Finds plugins (methods, figures) by file name and reads what they say of themselves without importing them.

The Snakefile is parsed by every cluster job, so what a plugin declares is read from the syntax tree of its file; only
the process that uses it imports it. Every file directly in a plugin folder is one plugin.
"""

import ast
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from annobench.config.method_facts import Abilities, MethodFacts, Needs
from annobench.config.syntax import lineage, tree_of
from annobench.config.values import Value, kind_of
from annobench.core.errors import ConfigError, nearest
from annobench.core.paths import LIBRARY


def plugins(room: str) -> list[str]:
    """Names of the plugins of a room (`methods`, `tables`, `figures`): the files directly in its folder."""
    return sorted(path.stem for path in (LIBRARY / room).glob("*.py") if path.stem != "__init__")


def plugin_path(room: str, name: str) -> Path:
    """File of a plugin; raises ConfigError where there is none."""
    if name not in plugins(room):
        one = room.removesuffix("s")
        raise ConfigError(f"{room}: there is no {one} '{name}'{nearest(name, plugins(room))}")
    return LIBRARY / room / f"{name}.py"


# options


@cache
def options_of(path: Path) -> Mapping[str, Value]:
    """Options of a plugin with their defaults: the fields of the class `Options` of its file; empty for none."""
    found: dict[str, Value] = {}
    for kind in tree_of(path).body:
        if isinstance(kind, ast.ClassDef) and kind.name == "Options":
            for field in kind.body:
                if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and field.value:
                    value = ast.literal_eval(field.value)
                    found[field.target.id] = list(value) if isinstance(value, tuple) else value
    return found


def check_options(name: str, known: Mapping[str, Value], given: Mapping[str, Value], source: str) -> None:
    """Raise ConfigError for an option that a plugin lacks, or a value of another type than its default.

    Parameters
    ----------
    name
        The plugin, as messages call it.
    known
        Its options with their defaults.
    given
        Values to check.
    source
        File and key that messages name.
    """
    for option, value in given.items():
        if option not in known:
            raise ConfigError(f"{source}.{name}: there is no option '{option}'{nearest(option, known)}")
        default = known[option]
        kinds: tuple[type, ...] = (int, float) if isinstance(default, float) else (type(default),)
        if not isinstance(value, kinds) or isinstance(value, bool) != isinstance(default, bool):
            raise ConfigError(
                f"{source}.{name}.{option}: expected {kind_of(default)}, such as {default!r}; found {value!r}"
            )


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


_FACTS: dict[str, type[Needs] | type[Abilities]] = {"needs": Needs, "abilities": Abilities}


@cache
def method_facts(implementation: str) -> MethodFacts:
    """What the class of an implementation needs and can do; what it does not state is stated by its base classes."""
    stated: dict[str, Any] = {}
    for path, kind in lineage(*method_class(implementation)):
        for node in kind.body:
            target = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
            name = target.id if isinstance(target, ast.Name) else ""
            if name in (*_FACTS, "set_by_yaml", "files", "uses") and name not in stated:
                stated[name] = _literal_fact(name, getattr(node, "value", None), path)
    return MethodFacts(**stated)


def _literal_fact(name: str, value: ast.expr | None, path: Path) -> Any:
    """The value of `needs`, `abilities`, `set_by_yaml`, `files` or `uses`, written as literals."""
    try:
        if name not in _FACTS and value is not None:
            return ast.literal_eval(value)
        if isinstance(value, ast.Call) and not value.args:
            return _FACTS[name](**{str(one.arg): ast.literal_eval(one.value) for one in value.keywords})
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{path}: {name}: {error}") from None
    raise ConfigError(f"{path}: {name}: expected {name.capitalize()}(...) with literal keyword arguments")
