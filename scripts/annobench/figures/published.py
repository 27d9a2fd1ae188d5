"""The published table, taken apart

Every row of the published table: the number as published, what the same recipe gives here with the metric as
published (here), and what it gives in the fair reading (fair: common cells, common types, markers held out for
evaluation; for unknown cells the cut that keeps 95 % of the validation cells). The published numbers are from other
data, so only the order of the columns can be compared. On the right, the verdict of the audit on the metric: whether
labels or cells without merit reach it too.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from annobench.config.controls import CONTROLS
from annobench.figures.shared.labels import NOT_EVIDENCE, VERDICT_COLOURS, method_labels
from annobench.figures.shared.settings import FigureSettings
from annobench.figures.shared.style import DARK, GREY, LIGHT, Tables, clean_axes, new_figure

TABLES = ("published", "ranking")
NEEDS = ("published",)
ORDER = 90
PARTS = ("published", "here", "fair")
_NAME, _NUMBER, _GAP, _VERDICT, _REASON = 2.15, 0.64, 0.2, 1.25, 2.5  # inches
_LINE = 0.3


def draw(tables: Tables, settings: FigureSettings) -> Figure | None:
    """A line per row of the table, three numbers for each of its columns, verdict and reason."""
    table = tables["published"]
    if table.empty:
        return None
    labels = method_labels(tables["ranking"])
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
        method = next(iter(mine["method"].dropna()), None)
        _column_head(axes, x, column, method and labels.get(method, method.replace("_", " ")))
        _column(axes, x, mine, rows)
        x += len(PARTS) * _NUMBER + _GAP
    _verdicts(axes, x, table, rows)
    for i, row in enumerate(rows):
        axes.text(0, i, _with_unit(table, row), va="center", fontsize=8.5)
        axes.plot([0, width], [i + 0.5, i + 0.5], color=LIGHT, linewidth=0.5)
    axes.plot([0, width], [-0.5, -0.5], color=DARK, linewidth=1)
    return figure


def _with_unit(table: pd.DataFrame, row: str) -> str:
    unit = table.loc[table["row"] == row, "unit"].dropna()
    return f"{row} ({unit.iloc[0]})" if len(unit) else row


def _column_head(axes: Axes, x: float, column: str, method: str | None) -> None:
    """The name of a column of the table, and the method that stands for it here."""
    right = x + len(PARTS) * _NUMBER
    axes.text((x + right) / 2, -2.45, column.replace("_", " "), ha="center", va="center", fontsize=9, fontweight="bold")
    if method:
        axes.text((x + right) / 2, -1.75, f"here: {method}", ha="center", va="center", fontsize=6.5, color=GREY)
    axes.plot([x + 0.03, right], [-1.4, -1.4], color=DARK, linewidth=0.7)


def _column(axes: Axes, x: float, mine: pd.DataFrame, rows: Sequence[str]) -> None:
    """The numbers of one column of the table, right-aligned."""
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


def _number(value: float, percent: bool) -> str:
    """One decimal for percents (two below one), else three; a dash where there is no number."""
    if not np.isfinite(value):
        return "–"
    if percent:
        return f"{value:.2f}" if 0 < abs(value) < 1 else f"{value:.1f}"
    return f"{value:.3f}"


def _verdicts(axes: Axes, x: float, table: pd.DataFrame, rows: Sequence[str]) -> None:
    """What the audit says of each row, coloured, and why."""
    axes.text(x + 0.1, -0.95, "audit of the published metric", va="center", fontsize=7.5)
    for y, row in enumerate(rows):
        audited = table[(table["row"] == row) & table["verdict"].notna()]
        if audited.empty:
            axes.text(x + 0.12, y, "–", va="center", color=GREY)
            continue
        verdict = audited["verdict"].iloc[0]
        bad = verdict == NOT_EVIDENCE
        axes.add_patch(
            Rectangle((x + 0.1, y - 0.36), _VERDICT - 0.1, 0.72, facecolor=VERDICT_COLOURS.get(verdict, LIGHT))
        )
        axes.text(
            x + 0.05 + _VERDICT / 2, y, ("✗ " if bad else "✓ " if verdict == "informative" else "") + verdict,
            ha="center", va="center", fontsize=8, color="white" if bad else "black",
            fontweight="bold" if bad else "normal",
        )  # fmt: skip
        reason = audited["reason"].dropna()
        if len(reason):
            axes.text(x + _VERDICT + 0.12, y, _spelled_out(str(reason.iloc[0])), va="center", fontsize=7)


def _spelled_out(reason: str) -> str:
    """A reason with controls under the labels that other figures give them."""
    return reason.replace("marker argmax", CONTROLS["marker_argmax"].label)
