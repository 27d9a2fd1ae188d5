"""Marker biology: the metrics that need no truth, as published and in a fair reading, beside labels of known worth."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from annobench.figures.shared.labels import (
    LOWER_IS_BETTER,
    NOT_EVIDENCE,
    chosen_evaluation,
    direction,
    part_of,
    place_title,
    shown_order,
    words,
)
from annobench.figures.shared.style import COLOURS, GREY, LIGHT, new_figure

TABLES = ["markers", "ranking"]
REGIMES = ()
NEEDS = "markers"
TITLE = "Marker biology"
CAPTION = (
    "The metrics of SpatialCore, which need no truth, for methods and for labels of known worth (grey). Open "
    "circles: as published, every method on types of its own choice; filled: common cells, common types, markers "
    "kept for judging. Bars are intervals over the types. The dotted line is the truth in the fair reading. † marks "
    "a reading that is no evidence, since labels without merit reach it too: a method that beats the truth is not "
    "better than the truth."
)
PANELS = (
    "gene_overlap",
    "marker_cv",
    "marker_log2fc",
    "deg_log2fc",
    "marker_purity",
    "contamination",
    "marker_recovery",
    "panel_use",
)
_BOUNDED = ("gene_overlap", "panel_use", "marker_purity", "marker_recovery")
_NAMES = {"published": "as published", "fair": "fair"}
_READINGS = {"published": -0.18, "fair": 0.18}  # how far below the row


def draw(tables: Mapping[str, pd.DataFrame], settings: Mapping[str, Any]) -> Figure | None:
    """A panel per metric, methods and controls in rows, of one evaluation."""
    markers = tables["markers"]
    if markers.empty:
        return None
    place = chosen_evaluation(markers[markers["kind"] == "method"] if _methods(markers) else markers, settings)
    part = part_of(markers, place)
    shown = [metric for metric in PANELS if metric in set(part["metric"])]
    methods, controls, labels = shown_order(part["name"], tables["ranking"], place)
    height = {name: float(i) for i, name in enumerate(methods)}
    height |= {name: len(methods) + 0.5 + i for i, name in enumerate(controls)}
    columns = min(4, len(shown))
    rows = -(-len(shown) // columns)
    figure = new_figure(2.3 + 2.0 * columns, 0.9 + rows * (0.7 + 0.2 * len(height)))
    grid = figure.subplots(rows, columns, squeeze=False, sharey=True)
    for axes in grid.flat[len(shown) :]:
        axes.set_visible(False)
    for axes, metric in zip(grid.flat, shown, strict=False):
        _panel(axes, part[part["metric"] == metric], metric, height, controls)
    for axes in grid[:, 0]:
        axes.set_yticks(list(height.values()), [labels[name] for name in height])
        for text, name in zip(axes.get_yticklabels(), height, strict=True):
            text.set_color(GREY if name in controls else "black")
    grid[0, 0].set_ylim(max(height.values()) + 0.6, -0.6)
    figure.suptitle(place_title(place, settings), fontsize=9, x=0.01, ha="left")
    handles = [
        Line2D([], [], linestyle="", marker="o", color=COLOURS[0], markerfacecolor=face, label=label)
        for face, label in (("white", "as published"), (COLOURS[0], "fair reading"))
    ]
    handles += [
        Line2D([], [], linestyle="", marker="o", color=GREY, label="control"),
        Line2D([], [], linestyle=":", color="#444444", label="the truth, fair reading"),
    ]
    figure.legend(handles=handles, loc="outside lower left", ncols=4)
    return figure


def _methods(markers: pd.DataFrame) -> bool:
    return bool((markers["kind"] == "method").any())


def _panel(axes: Axes, part: pd.DataFrame, metric: str, height: Mapping[str, float], controls: Sequence[str]) -> None:
    for y in height.values():
        axes.axhline(y, color=LIGHT, linewidth=0.4, zorder=0)
    truth = part[(part["name"] == "oracle") & (part["reading"] == "fair")]["value"]
    if len(truth) and truth.notna().all():
        axes.axvline(truth.iloc[0], color="#444444", linestyle=":", linewidth=1, zorder=1)
    for row in part.dropna(subset=["value"]).itertuples():
        y = height[row.name] + _READINGS.get(row.reading, 0.0)
        colour = GREY if row.name in controls else COLOURS[0]
        low, high = row.low, row.high
        if metric in _BOUNDED:  # a mean of shares is one
            low, high = max(low, 0.0), min(high, 1.0)
        axes.plot([low, high], [y, y], color=colour, linewidth=0.9, alpha=0.7, zorder=2)
        axes.plot(
            row.value, y, "o", color=colour, markersize=4, zorder=3, clip_on=False,
            markerfacecolor="white" if row.reading == "published" else colour,
        )  # fmt: skip
    if metric in _BOUNDED:
        axes.set_xlim(0, 1)
    elif part["low"].min() < 0 <= part["value"].min() and metric in LOWER_IS_BETTER:
        axes.set_xlim(left=0)
    against = sorted(set(part.loc[part["verdict"] == NOT_EVIDENCE, "reading"]), key=lambda r: r != "published")
    every = set(part["reading"])
    which = "" if len(every) == len(against) else f"{_NAMES[against[0]]}: " if against else ""
    axes.set_xlabel(f"† {which}{NOT_EVIDENCE}" if against else " ", color=COLOURS[1], fontsize=8)
    title = words(metric)
    axes.set_title(title[:1].upper() + title[1:] + ("†" if against else ""), fontsize=9, pad=14)
    direction(axes, metric not in LOWER_IS_BETTER)
    axes.spines["left"].set_visible(False)
    axes.tick_params(axis="y", length=0)
    axes.locator_params(axis="x", nbins=5)
