"""Scores of embeddings

Every metric of embeddings that the study shows (`scoring.metrics`) in a panel, one row per method, with its interval;
grey marks are controls that know nothing of the labels, and the line is an embedding of nothing but the labels. A panel
with a red title shows a metric that is not evidence in this evaluation, because a control wins it.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from annobench.figures.shared.labels import (
    NOT_EVIDENCE,
    VERDICT_COLOURS,
    evaluations_of,
    part_of,
    place_title,
    shown_order,
    wrapped,
)
from annobench.figures.shared.needs import OF_EMBEDDINGS
from annobench.figures.shared.settings import FigureSettings, Place
from annobench.figures.shared.style import COLOURS, DARK, GREY, MARKERS, Tables, light_rows, new_figure

TABLES = ("summary", "audit", "ranking")
NEEDS = ("embedding_scores",)
ORDER = 45
_BLIND = {
    "shuffled": "cells exchanged",
    "noise": "noise",
    "batch_alone": "batch alone",
    "depth_alone": "depth alone",
}
_WIDE = 6  # panels side by side


def draw(tables: Tables, settings: FigureSettings) -> Figure | None:
    """A block of panels per evaluation."""
    audit = tables["audit"]
    audit = audit[audit["family"].isin(OF_EMBEDDINGS)]
    summary = tables["summary"]
    summary = summary[(summary["split"] == "all") & (summary["dataset"] != "all")]
    summary = summary[summary["metric"].isin(audit["metric"]) & summary["value"].notna()]
    places = evaluations_of(summary)
    if not places:
        return None
    blocks = [_Block(place, part_of(summary, place), part_of(audit, place), tables, settings) for place in places]
    width = 1.9 + 1.75 * max(min(len(block.metrics), _WIDE) for block in blocks)
    figure = new_figure(width, sum(block.height for block in blocks) + 0.5)
    parts = figure.subfigures(len(blocks), 1, squeeze=False, height_ratios=[block.height for block in blocks])[:, 0]
    for part, block in zip(parts, blocks, strict=True):
        block.draw(part)
    handles = [
        Line2D([], [], color=DARK, marker="o", linewidth=1.2, markersize=5, label="method, with interval"),
        Line2D([], [], color=COLOURS[2], linewidth=1.2, label="labels alone"),
    ]
    handles += [
        Line2D([], [], color=GREY, linestyle="", marker=_mark(name), markersize=5, label=label)
        for name, label in _BLIND.items()
        if name in audit and audit[name].notna().any()
    ]
    figure.legend(handles=handles, loc="outside lower left", ncols=3)
    return figure


class _Block:
    """Panels of one evaluation."""

    def __init__(
        self, place: Place, summary: pd.DataFrame, audit: pd.DataFrame, tables: Tables, settings: FigureSettings
    ) -> None:
        self.place, self.summary, self.settings = place, summary, settings
        self.metrics = list(dict.fromkeys(summary["metric"]))
        self.audit = audit[audit["variant"].isin(["-", "cells"])].drop_duplicates("metric").set_index("metric")
        names = summary["method"]
        self.methods, _, self.labels = shown_order(names, tables["ranking"], settings, place)
        self.rows = -(-len(self.metrics) // _WIDE)
        self.height = 0.45 + self.rows * (0.75 + 0.22 * (len(self.methods) + 1))

    def draw(self, figure: Figure) -> None:
        """All panels."""
        across = min(len(self.metrics), _WIDE)
        grid = figure.subplots(self.rows, across, squeeze=False, sharey=True).ravel()
        for axes, metric in zip(grid, self.metrics, strict=False):
            self._panel(axes, metric)
        for axes in grid[len(self.metrics) :]:
            axes.set_visible(False)
        figure.suptitle(place_title(self.place, self.settings), fontsize=9.5, x=0.01, ha="left", fontweight="bold")

    def _panel(self, axes: Axes, metric: str) -> None:
        part = self.summary[self.summary["metric"] == metric].set_index("method")
        words, heights = self.settings.metric(metric), range(len(self.methods))
        values: list[float] = []
        for y, method in zip(heights, self.methods, strict=True):
            if method in part.index:
                row = part.loc[method]
                axes.plot([row["low"], row["high"]], [y, y], color=DARK, linewidth=1.2, solid_capstyle="butt")
                axes.plot(row["value"], y, color=DARK, marker="o", markersize=5, linestyle="")
                values += [row["value"], row["low"], row["high"]]
        doubted = False
        if metric in self.audit.index:
            audit = self.audit.loc[metric]
            doubted = audit["verdict"] == NOT_EVIDENCE
            values += self._controls(axes, audit)
        axes.set_title(
            wrapped(words.label, 17), fontsize=8, fontweight="bold" if doubted else "normal",
            color=VERDICT_COLOURS[NOT_EVIDENCE] if doubted else "black",
        )  # fmt: skip
        names = [*(self.labels[m] for m in self.methods), "controls"]
        axes.set_yticks(range(len(names)), names, fontsize=8)
        axes.set_ylim(len(self.methods) + 0.6, -0.6)
        axes.set_xlim(*_limits(values))
        axes.tick_params(axis="x", labelsize=7)
        light_rows(axes, [*heights, len(self.methods)])

    def _controls(self, axes: Axes, audit: pd.Series) -> list[float]:
        """Marks of the controls; returns their values."""
        known = [name for name in _BLIND if name in audit and np.isfinite(audit[name])]
        for name in known:
            axes.plot(
                audit[name], len(self.methods), color=GREY, marker=_mark(name), markersize=5, linestyle="", zorder=3
            )
        if np.isfinite(audit["oracle"]):
            axes.axvline(audit["oracle"], color=COLOURS[2], linewidth=1.2, zorder=1)
            known = [*known, "oracle"]
        return [float(audit[name]) for name in known]


def _mark(control: str) -> str:
    return MARKERS[1 + list(_BLIND).index(control)]


def _limits(values: Sequence[float]) -> tuple[float, float]:
    """Ends of an axis a little beyond the values."""
    known = [value for value in values if np.isfinite(value)] or [0.0, 1.0]
    room = max(0.08 * (max(known) - min(known)), 0.01)
    return min(known) - room, max(known) + room
