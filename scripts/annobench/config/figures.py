"""Figures and what their files say of themselves, read without matplotlib."""

import ast
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from annobench.config.plugins import plugin_path, plugins
from annobench.config.syntax import literals, tree_of
from annobench.config.tables import tables
from annobench.core.errors import ConfigError, nearest


@dataclass(frozen=True)
class FigureFacts:
    """What the file of a figure says of it.

    Attributes
    ----------
    name
        Name of the file.
    title, caption
        First line and rest of its docstring.
    tables
        TABLES: the tables that it is drawn from.
    regimes
        REGIMES: it is drawn for studies that have one of them; for all studies where there are none.
    needs
        NEEDS: what else a study must have (annobench.figures.shared.needs).
    order
        ORDER: its place in the report. Figures without one come last; those of the same place are ordered by name.
    """

    name: str
    title: str
    caption: str
    tables: tuple[str, ...]
    regimes: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    order: float = float("inf")


@cache
def figure_facts(figure: str) -> FigureFacts:
    """What the file of a figure says of it; raises ConfigError where there is no such file, or it says too little."""
    path = plugin_path("figures", figure)
    title, _, caption = (ast.get_docstring(tree_of(path)) or "").partition("\n")
    if not title or not caption.strip():
        raise ConfigError(f"{path}: expected a docstring with a title and, below it, a caption")
    constants = literals(path, ("TABLES", "REGIMES", "NEEDS", "ORDER"))
    if "TABLES" not in constants:
        raise ConfigError(f"{path}: TABLES is missing; name the tables that the figure is drawn from")
    for key in ("TABLES", "REGIMES", "NEEDS"):
        names = constants.get(key, ())
        if not isinstance(names, tuple) or not all(isinstance(name, str) for name in names):
            raise ConfigError(f"{path}: {key} is {names!r}; expected a tuple of names")
    for table in constants["TABLES"]:
        if table not in tables():
            raise ConfigError(f"{path}: TABLES: there is no table '{table}'{nearest(table, tables())}")
    fields = {key.lower(): value for key, value in constants.items()}
    return FigureFacts(figure, title.rstrip("."), " ".join(caption.split()), **fields)


def figures() -> list[str]:
    """Names of all figures, in the order of the report."""
    return sorted(plugins("figures"), key=lambda name: (figure_facts(name).order, name))


def named_figures(names: Sequence[str] | None, source: str) -> list[str]:
    """The figures that a study names, or all where it names none (None).

    Raises ConfigError for a name without a file; `source` is the file that the message names.
    """
    for name in names or ():
        if name not in plugins("figures"):
            raise ConfigError(f"{source}: figures: there is no figure '{name}'{nearest(name, plugins('figures'))}")
    return figures() if names is None else list(names)
