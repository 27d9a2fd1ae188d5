"""Markers of every type

Marker purity, recovery and log2 fold change of every type in the fair reading (common cells, common types, markers
held out for evaluation). Coloured: the cells that a method calls the type. Black diamond: the cells that are of the
type; their number, the mean per test set, is in brackets. A point left of the diamond: the cells of the method lack
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
from annobench.figures.shared.settings import FigureSettings
from annobench.figures.shared.short_names import shortened
from annobench.figures.shared.style import COLOURS, DARK, Looks, Tables, light_rows, new_figure
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
    methods, controls, labels = shown_order(part["name"], tables["ranking"], settings, place)
    part = part[part["name"].isin([*methods, "oracle"])]
    cells = part[(part["metric"] == "cells") & (part["name"] == "oracle")].set_index("label")["value"].fillna(0)
    rows = sorted(set(part["label"]), key=lambda label: (-cells.get(label, 0.0), label))
    height = {label: float(i) for i, label in enumerate(rows)}
    markers = part_of(last_part(tables["markers"], tables["splits"])[0], place)
    doubted = set(markers.loc[(markers["reading"] == reading) & (markers["verdict"] == NOT_EVIDENCE), "metric"])
    looks = method_looks(tables["ranking"], settings, methods)
    legend_rows = -(-(len(methods) + 1) // 3)
    figure = new_figure(9.5, 1.0 + 0.3 * len(rows) + 0.2 * legend_rows)
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
    figure.suptitle(place_title(place, settings) + endings[place], fontsize=9, x=0.01, ha="left")
    handles = [Line2D([], [], linestyle="", marker="D", color="black", markersize=6, label="the truth")]
    handles += [Line2D([], [], linestyle="", label=labels[m], **looks.point(m)) for m in methods]
    figure.legend(handles=handles, loc="outside lower left", ncols=3)
    return figure


def _points(axes: Axes, part: pd.DataFrame, height: Mapping[str, float], methods: Sequence[str], looks: Looks) -> None:
    """The truth as a diamond, methods side by side around it."""
    for row in part.itertuples():
        if row.name == "oracle":
            axes.plot(row.value, height[row.label], "D", color="black", markersize=6, zorder=2)
            continue
        shift = (methods.index(row.name) / max(len(methods) - 1, 1) - 0.5) * 0.55
        look = looks.point(row.name)
        axes.plot(row.value, height[row.label] + shift, linestyle="", markersize=4, alpha=0.9, zorder=3, **look)
