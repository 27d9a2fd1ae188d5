"""Markers of every type: where the cells that a method calls a type do not express what the type expresses."""

from collections.abc import Mapping
from typing import Any

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from annobench.figures.confusion import shorten
from annobench.figures.shared.labels import (
    NOT_EVIDENCE,
    chosen_evaluation,
    method_looks,
    part_of,
    place_title,
    shown_order,
    words,
)
from annobench.figures.shared.style import COLOURS, LIGHT, new_figure

TABLES = ["types", "markers", "ranking"]
REGIMES = ()
NEEDS = "markers"
TITLE = "Markers of every type"
CAPTION = (
    "Marker purity, recovery and log2 fold change of every type in the fair reading (common cells, common types, "
    "markers kept for judging): the cells that a method calls the type against the cells that are of the type "
    "(black diamond; in brackets their number, mean per test set). A point left of the diamond: the cells of the "
    "method lack the markers. A point right of it is no praise: picking the cells with the highest markers gives it "
    "too. No point: fewer than ten cells."
)
PANELS = ("marker_purity", "marker_recovery", "marker_log2fc")


def draw(tables: Mapping[str, pd.DataFrame], settings: Mapping[str, Any]) -> Figure | None:
    """A panel per metric, types in rows, of one evaluation."""
    types = tables["types"]
    reading = "fair" if (types["reading"] == "fair").any() else "published"
    types = types[types["reading"] == reading]
    names, controls, _ = shown_order(types["name"], tables["ranking"])
    if types.empty or not (names or "oracle" in controls):
        return None
    place = chosen_evaluation(types[types["name"].isin(names)] if names else types, settings)
    part = part_of(types, place)
    methods, controls, labels = shown_order(part["name"], tables["ranking"], place)
    part = part[part["name"].isin([*methods, "oracle"])]
    cells = part[(part["metric"] == "cells") & (part["name"] == "oracle")].set_index("label")["value"]
    rows = sorted(set(part["label"]), key=lambda label: (-cells.get(label, 0.0), label))
    height = {label: i for i, label in enumerate(rows)}
    said = part_of(tables["markers"], place)
    doubted = set(said.loc[(said["reading"] == reading) & (said["verdict"] == NOT_EVIDENCE), "metric"])
    looks = method_looks(tables["ranking"], methods)
    legend_rows = -(-(len(methods) + 1) // 3)
    figure = new_figure(9.5, 1.0 + 0.3 * len(rows) + 0.2 * legend_rows)
    for i, (axes, metric) in enumerate(zip(figure.subplots(1, len(PANELS), sharey=True), PANELS, strict=True)):
        for row in part[part["metric"] == metric].dropna(subset=["value"]).itertuples():
            if row.name == "oracle":
                axes.plot(row.value, height[row.label], "D", color="black", markersize=6, zorder=2)
                continue
            shift = (methods.index(row.name) / max(len(methods) - 1, 1) - 0.5) * 0.55
            look = looks.of(row.name, "color", "marker")
            axes.plot(row.value, height[row.label] + shift, linestyle="", markersize=4, alpha=0.9, zorder=3, **look)
        for y in height.values():
            axes.axhline(y, color=LIGHT, linewidth=0.4, zorder=0)
        if metric == "marker_log2fc":
            axes.axvline(0, color="#444444", linewidth=0.8, zorder=1)
        else:
            axes.set_xlim(-0.03, 1.03)
        title = words(metric)
        axes.set_title(title[:1].upper() + title[1:] + ("†" if metric in doubted else ""), fontsize=9)
        if metric in doubted:
            axes.set_xlabel(f"† {NOT_EVIDENCE}", color=COLOURS[1], fontsize=8)
        axes.spines["left"].set_visible(False)
        axes.tick_params(axis="y", length=0)
        if i == 0:
            names = [f"{shorten(t, 30)} ({cells[t]:.0f})" if t in cells else shorten(t, 30) for t in rows]
            axes.set_yticks(list(height.values()), names)
            axes.set_ylim(len(rows) - 0.4, -0.6)
    figure.suptitle(place_title(place, settings), fontsize=9, x=0.01, ha="left")
    handles = [Line2D([], [], linestyle="", marker="D", color="black", markersize=6, label="the truth")]
    handles += [Line2D([], [], linestyle="", label=labels[m], **looks.of(m, "color", "marker")) for m in methods]
    figure.legend(handles=handles, loc="outside lower left", ncols=3)
    return figure
