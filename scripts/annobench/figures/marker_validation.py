"""Markers of every type

Marker purity, recovery and log2 fold change of every type in the fair reading (common cells, common types, markers
held out for evaluation). Coloured: the cells that a method calls the type. Black bar: the cells that are of the
type; their number, the mean per test set, is in brackets. A point left of the bar: the cells of the method lack
the markers. A point right of it is no praise, since picking the cells with the highest markers gives it too. No
point: fewer than ten cells.
"""

from collections.abc import Mapping, Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from annobench.figures.shared.labels import (
    NOT_EVIDENCE,
    chosen_evaluation,
    last_part,
    method_looks,
    part_of,
    place_title,
    shown_order,
)
from annobench.figures.shared.points import point_intervals
from annobench.figures.shared.settings import FigureSettings
from annobench.figures.shared.short_names import shortened
from annobench.figures.shared.style import (
    COLOURS,
    DARK,
    Looks,
    Tables,
    headline,
    legend_below,
    legend_rows,
    light_rows,
    looks_handles,
    new_figure,
)
from annobench.figures.shared.words import capitalised

TABLES = ("types", "markers", "ranking", "splits")
NEEDS = ("markers",)
ORDER = 120
PANELS = ("marker_purity", "marker_recovery", "marker_log2fc")


def draw(tables: Tables, settings: FigureSettings) -> Figure | None:
    """A panel per metric, types in rows, of one evaluation."""
    types, endings = last_part(tables["types"], tables["splits"])
    reading = "fair" if (types["reading"] == "fair").any() else "published"
    types = types[types["reading"] == reading]
    names, controls, _ = shown_order(types["name"], tables["ranking"], settings)
    if types.empty or not (names or "oracle" in controls):
        return None
    place = chosen_evaluation(types[types["name"].isin(names)] if names else types, settings)
    part = part_of(types, place)
    methods, controls, labels = shown_order(part["name"], tables["ranking"], settings)
    part = part[part["name"].isin([*methods, "oracle"])]
    cells = part[(part["metric"] == "cells") & (part["name"] == "oracle")].set_index("label")["value"].fillna(0)
    rows = sorted(set(part["label"]), key=lambda label: (-cells.get(label, 0.0), label))
    height = {label: float(i) for i, label in enumerate(rows)}
    markers = part_of(last_part(tables["markers"], tables["splits"])[0], place)
    doubted = set(markers.loc[(markers["reading"] == reading) & (markers["verdict"] == NOT_EVIDENCE), "metric"])
    looks = method_looks(tables["ranking"], settings, methods)
    lines = legend_rows(["Truth", *(labels[m] for m in methods)], 9.5)
    figure = new_figure(9.5, 1.2 + (0.2 + 0.035 * len(methods)) * len(rows) + 0.19 * lines)
    grid = figure.subplots(1, len(PANELS), sharey=True)
    for axes, metric in zip(grid, PANELS, strict=True):
        _points(axes, part[part["metric"] == metric].dropna(subset=["value"]), height, methods, looks)
        light_rows(axes, list(height.values()))
        if metric == "marker_log2fc":
            axes.axvline(0, color=DARK, linewidth=0.8, zorder=1)
        else:
            axes.set_xlim(-0.03, 1.03)
        title = capitalised(settings.metric(metric).label)
        axes.set_title(title + ("†" if metric in doubted else ""), fontsize=9)
        if metric in doubted:
            axes.set_xlabel(f"† {NOT_EVIDENCE}", color=COLOURS[1], fontsize=8)
    names = [f"{shortened(t, 30)} ({cells[t]:.0f})" if t in cells else shortened(t, 30) for t in rows]
    grid[0].set_yticks(list(height.values()), names)
    grid[0].set_ylim(len(rows) - 0.4, -0.6)
    headline(figure, place_title(place, settings) + endings[place])
    handles = [Line2D([], [], linestyle="", marker="|", color="black", markersize=9, markeredgewidth=2, label="Truth")]
    legend_below(figure, handles + looks_handles(methods, labels, looks))
    return figure


def _points(axes: Axes, part: pd.DataFrame, height: Mapping[str, float], methods: Sequence[str], looks: Looks) -> None:
    """The truth as a bar over the whole row, methods side by side on it, in the order of the legend."""
    truth = part[part["name"] == "oracle"]
    middles = truth["label"].map(height)
    axes.vlines(truth["value"], middles - 0.42, middles + 0.42, color="black", linewidth=2, zorder=2)
    mine = part[part["name"].isin(methods)]
    turn = mine["name"].map(methods.index) / max(len(methods) - 1, 1) - 0.5
    point_intervals(
        axes, mine.assign(y=mine["label"].map(height) + 0.7 * turn, low=mine["value"], high=mine["value"]), x="value",
        y="y", hue="name", looks={m: looks.point(m) for m in methods}, size=4.5, markeredgewidth=0, clip_on=False,
    )  # fmt: skip
