"""A published table beside the same recipe here, and what the audit says of every row of it."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from annobench.figures.shared.labels import NOT_EVIDENCE, VERDICT_COLOURS, clean_axes
from annobench.figures.shared.style import GREY, LIGHT, new_figure, ordered_methods

TABLES = ["published", "ranking"]
REGIMES = ()
NEEDS = "published"
TITLE = "The published table, taken apart"
CAPTION = (
    "Every row of the published table: the number as published, what the same recipe gives here with the metric as "
    "published (here), and in the fair reading (fair: common cells, common types, markers kept for judging; for "
    "unknown cells the cut that keeps 95 % of the validation cells). The published numbers are of other data, so "
    "only the order of the columns can be compared. At the right what the audit says of the metric: whether labels "
    "or cells without merit reach it too."
)
PARTS = ("published", "here", "fair")
_NAME, _NUMBER, _GAP, _VERDICT, _REASON = 2.15, 0.64, 0.2, 1.25, 2.5  # inches
_LINE = 0.3


def draw(tables: Mapping[str, pd.DataFrame], settings: Mapping[str, Any]) -> Figure | None:
    """A line per row of the table, three numbers for each of its columns, verdict and reason."""
    table = tables["published"]
    if table.empty:
        return None
    labels = ordered_methods(tables["ranking"])[2]
    rows, columns = list(dict.fromkeys(table["row"])), list(dict.fromkeys(table["column"]))
    width = _NAME + len(columns) * (len(PARTS) * _NUMBER + _GAP) + _VERDICT + _REASON
    height = (len(rows) + 2.6) * _LINE
    figure = new_figure(width, height)
    axes = figure.subplots()
    axes.set_xlim(0, width)
    axes.set_ylim(len(rows) - 0.4, -3.0)
    clean_axes(axes)
    axes.set_xticks([])
    axes.set_yticks([])
    x = _NAME
    for column in columns:
        mine = table[table["column"] == column].drop_duplicates("row").set_index("row")
        _column(axes, x, mine, rows, column, labels)
        x += len(PARTS) * _NUMBER + _GAP
    _verdicts(axes, x, table, rows)
    for i, row in enumerate(rows):
        axes.text(0, i, _with_unit(table, row), va="center", fontsize=8.5)
        axes.plot([0, width], [i + 0.5, i + 0.5], color=LIGHT, linewidth=0.5)
    axes.plot([0, width], [-0.5, -0.5], color="#444444", linewidth=1)
    return figure


def _with_unit(table: pd.DataFrame, row: str) -> str:
    unit = table.loc[table["row"] == row, "unit"].dropna()
    return f"{row} ({unit.iloc[0]})" if len(unit) else row


def _column(
    axes: Axes, x: float, mine: pd.DataFrame, rows: Sequence[str], column: str, labels: Mapping[str, str]
) -> None:
    """The numbers of one column of the table, right-aligned."""
    right = x + len(PARTS) * _NUMBER
    methods = mine["method"].dropna()
    axes.text((x + right) / 2, -2.45, column.replace("_", " "), ha="center", va="center", fontsize=9, fontweight="bold")
    if len(methods):
        name = labels.get(methods.iloc[0], methods.iloc[0].replace("_", " "))
        axes.text((x + right) / 2, -1.75, f"here: {name}", ha="center", va="center", fontsize=6.5, color=GREY)
    axes.plot([x + 0.03, right], [-1.4, -1.4], color="#444444", linewidth=0.7)
    for i, part in enumerate(PARTS):
        edge = x + (i + 1) * _NUMBER - 0.06
        axes.text(edge, -0.95, part, ha="right", va="center", fontsize=7.5, color=GREY if i == 0 else "black")
        for y, row in enumerate(rows):
            if row in mine.index:
                value = mine.loc[row, part]
                text = _number(value, mine.loc[row, "unit"] == "%")
                axes.text(
                    edge, y, text, ha="right", va="center", fontsize=8.5,
                    color=GREY if i == 0 or text == "–" else "black",
                )  # fmt: skip


def _number(value: Any, percent: bool) -> str:
    """One decimal for percents (two below one), else three; a dash for what there is not."""
    if not np.isfinite(value):
        return "–"
    if percent:
        return f"{value:.2f}" if 0 < abs(value) < 1 else f"{value:.1f}"
    return f"{value:.3f}"


def _verdicts(axes: Axes, x: float, table: pd.DataFrame, rows: Sequence[str]) -> None:
    """What the audit says of each row, coloured, and why."""
    axes.text(x + 0.1, -0.95, "audit of the published metric", va="center", fontsize=7.5)
    for y, row in enumerate(rows):
        said = table[(table["row"] == row) & table["verdict"].notna()]
        if said.empty:
            axes.text(x + 0.12, y, "–", va="center", color=GREY)
            continue
        verdict = said["verdict"].iloc[0]
        bad = verdict == NOT_EVIDENCE
        axes.add_patch(
            Rectangle((x + 0.1, y - 0.36), _VERDICT - 0.1, 0.72, facecolor=VERDICT_COLOURS.get(verdict, LIGHT))
        )
        axes.text(
            x + 0.05 + _VERDICT / 2, y, ("✗ " if bad else "✓ " if verdict == "informative" else "") + verdict,
            ha="center", va="center", fontsize=8, color="white" if bad else "black",
            fontweight="bold" if bad else "normal",
        )  # fmt: skip
        reason = said["reason"].dropna()
        if len(reason):
            why = str(reason.iloc[0]).replace("marker argmax", "highest markers")
            axes.text(x + _VERDICT + 0.12, y, why, va="center", fontsize=7)
