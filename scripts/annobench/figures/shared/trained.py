"""Marks of classes that no training cell has, and their meaning."""

from collections.abc import Iterable

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

NEVER, SOMETIMES = "∅", "◐"
_MEANINGS = {
    NEVER: "no training cell in any fit: only a method that learned elsewhere can be right",
    SOMETIMES: "no training cell in some fits",
}


def marks_of(rows: pd.DataFrame, column: str) -> dict[str, str]:
    """The mark of every label of a column; empty where training cells always have it, or none train.

    Parameters
    ----------
    rows
        Rows of `classes` or `confusion`, with `n_fits` and `n_trained`. Of several rows of a label that with most fits
        counts.
    column
        The column that holds the labels.
    """
    most = rows.sort_values("n_fits", ascending=False, kind="stable").drop_duplicates(column)
    known = most.dropna(subset=["n_trained"])
    marks = dict.fromkeys(most[column], "")
    for label, trained, fits in zip(known[column], known["n_trained"], known["n_fits"], strict=True):
        marks[label] = NEVER if trained == 0 else SOMETIMES if trained < fits else ""
    return marks


def counted(cells: float | None, mark: str = "") -> str:
    """Number of cells with the mark of their class; `?` where the number is not known."""
    number = "?" if cells is None or pd.isna(cells) else f"{cells:.0f}"
    return f"{number} {mark}".rstrip()


def handles_of(marks: Iterable[str]) -> list[Line2D]:
    """Legend entries that say what the marks mean that a figure shows."""
    shown = set(marks)
    return [
        Line2D([], [], linestyle="", label=f"{mark}  {meaning}") for mark, meaning in _MEANINGS.items() if mark in shown
    ]


def explain(figure: Figure, marks: Iterable[str]) -> None:
    """Say below a figure what the marks mean that it shows."""
    if handles := handles_of(marks):
        figure.legend(handles=handles, loc="outside lower left", ncols=1, handlelength=0, handletextpad=0, fontsize=7.5)
