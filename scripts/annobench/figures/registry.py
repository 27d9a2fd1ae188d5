"""Finds figures by file name, and reads what they say of themselves without importing them.

A figure file holds TABLES (the tables it draws from), REGIMES (the study must have one of these; empty for any),
TITLE, CAPTION, and a function draw(tables, settings) -> matplotlib Figure, or None where there is nothing to draw yet.
It may hold NEEDS, what a study must have for it beyond a regime: `markers` (a table of markers, and cells that are
not simulated), `published` (a published table to compare with), `spatial` (a dataset with coordinates), `factors`
(evaluations that differ in panel training or balancing, or a rule that merges labels), `decisions` (decision values
that are kept), `contrasts` (pairs of methods to compare), `decodings` (a method that is scored by its decoded labels
too), `marks` (published values to draw as references).
"""

import ast
from functools import cache
from pathlib import Path
from typing import Any

from annobench.errors import ConfigError, nearest

_FOLDER = Path(__file__).parent
_KEYS = ("TABLES", "REGIMES", "TITLE", "CAPTION")
_OPTIONAL = {"NEEDS": ""}
_NO_FIGURES = ("__init__", "layered", "registry", "releases", "shared", "short_names", "style")


def figures() -> list[str]:
    """Names of all figures."""
    return sorted(p.stem for p in _FOLDER.glob("*.py") if p.stem not in _NO_FIGURES)


@cache
def about(figure: str) -> dict[str, Any]:
    """TABLES, REGIMES, TITLE, CAPTION and NEEDS (empty for nothing) of a figure."""
    path = _FOLDER / f"{figure}.py"
    if figure not in figures():
        raise ConfigError(f"figures: there is no figure '{figure}'{nearest(figure, figures())}")
    found: dict[str, Any] = dict(_OPTIONAL)
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            name = node.targets[0].id
            if name in _KEYS or name in _OPTIONAL:
                found[name] = ast.literal_eval(node.value)
    missing = set(_KEYS) - set(found)
    if missing:
        raise ConfigError(f"{path}: {', '.join(sorted(missing))} must be set, as literals")
    return found
