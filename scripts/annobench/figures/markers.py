"""Marker biology

The metrics of SpatialCore, which need no truth, for methods and for labels of known worth (grey). Open circles: as
published, every method on types of its own choice. Filled circles: the fair reading, with common cells, common types
and markers held out for evaluation. Bars are intervals over the types. The dotted line is the truth in the fair
reading. †: the reading is not evidence, because labels without merit reach it too; a method that beats the truth is
not better than the truth.
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
    part_of,
    place_title,
    shown_order,
    wrapped,
)
from annobench.figures.shared.points import point_intervals
from annobench.figures.shared.settings import FigureSettings, MetricWords
from annobench.figures.shared.style import (
    COLOURS,
    DARK,
    GREY,
    Tables,
    control_colour,
    direction,
    headline,
    legend_below,
    light_rows,
    new_figure,
)
from annobench.figures.shared.words import capitalised

TABLES = ("markers", "ranking", "splits")
NEEDS = ("markers",)
ORDER = 110
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


def draw(tables: Tables, settings: FigureSettings) -> Figure | None:
    """A panel per metric, methods and controls in rows, of one evaluation."""
    markers, endings = last_part(tables["markers"], tables["splits"])
    if markers.empty:
        return None
    methods_only = markers[markers["kind"] == "method"]
    place = chosen_evaluation(methods_only if len(methods_only) else markers, settings)
    part = part_of(markers, place)
    shown = [metric for metric in PANELS if metric in set(part["metric"])]
    methods, controls, labels = shown_order(part["name"], tables["ranking"], settings, place)
    height = {name: float(i) for i, name in enumerate(methods)}
    height |= {name: len(methods) + 0.5 + i for i, name in enumerate(controls)}
    columns = min(4, len(shown))
    rows = -(-len(shown) // columns)
    figure = new_figure(2.3 + 2.0 * columns, 0.9 + rows * (0.7 + 0.2 * len(height)))
    grid = figure.subplots(rows, columns, squeeze=False, sharey=True)
    for axes in grid.flat[len(shown) :]:
        axes.set_visible(False)
    for axes, metric in zip(grid.flat, shown, strict=False):
        mine, words = part[part["metric"] == metric], settings.metric(metric)
        light_rows(axes, list(height.values()))
        _points(axes, mine, metric, height, controls)
        _limits(axes, mine, metric, words)
        _titles(axes, mine, words)
    for axes in grid[:, 0]:
        axes.set_yticks(list(height.values()), [labels[name] for name in height])
        for text, name in zip(axes.get_yticklabels(), height, strict=True):
            text.set_color(control_colour(name) if name in controls else "black")
    grid[0, 0].set_ylim(max(height.values()) + 0.6, -0.6)
    headline(
        figure,
        f"{place_title(place, settings)}{endings[place]} (lines: {settings.level * 100:g} % interval over the types)",
    )
    handles = [
        Line2D([], [], linestyle="", marker="o", color=COLOURS[0], markerfacecolor=face, label=label)
        for face, label in (("white", "as published"), (COLOURS[0], "fair reading"))
    ]
    handles += [
        Line2D([], [], linestyle="", marker="o", color=GREY, label="control"),
        Line2D([], [], linestyle=":", color=DARK, label="truth, fair reading"),
    ]
    legend_below(figure, handles)
    return figure


def _points(axes: Axes, part: pd.DataFrame, metric: str, height: Mapping[str, float], controls: Sequence[str]) -> None:
    """Both readings of every method and control with their intervals; the truth as a line."""
    truth = part[(part["name"] == "oracle") & (part["reading"] == "fair")]["value"]
    if len(truth) and truth.notna().all():
        axes.axvline(truth.iloc[0], color=DARK, linestyle=":", linewidth=1, zorder=1)
    part = part.assign(y=part["name"].map(height) + part["reading"].map(_READINGS).fillna(0.0))
    if metric in _BOUNDED:  # so is a mean of shares
        part = part.assign(low=part["low"].clip(lower=0.0), high=part["high"].clip(upper=1.0))
    for of_controls, colour in ((False, COLOURS[0]), (True, GREY)):
        for reading, face in (("published", "white"), ("fair", colour)):
            mine = part[(part["name"].isin(list(controls)) == of_controls) & (part["reading"] == reading)]
            point_intervals(
                axes, mine, x="value", y="y", color=colour, markerfacecolor=face, size=4, width=0.9, clip_on=False
            )


def _limits(axes: Axes, part: pd.DataFrame, metric: str, words: MetricWords) -> None:
    if metric in _BOUNDED:
        axes.set_xlim(0, 1)
    elif part["low"].min() < 0 <= part["value"].min() and words.lower_is_better:
        axes.set_xlim(left=0)
    axes.locator_params(axis="x", nbins=5)


def _titles(axes: Axes, part: pd.DataFrame, metric: MetricWords) -> None:
    """The metric, which way is better, and which of its readings are not evidence."""
    against = sorted(set(part.loc[part["verdict"] == NOT_EVIDENCE, "reading"]), key=lambda r: r != "published")
    every = set(part["reading"])
    which = "" if len(every) == len(against) else f"{_NAMES[against[0]]}: " if against else ""
    axes.set_xlabel(f"† {which}{NOT_EVIDENCE}" if against else " ", color=COLOURS[1], fontsize=8)
    axes.set_title(wrapped(capitalised(metric.label) + ("†" if against else ""), 22), fontsize=8.5, pad=14)
    direction(axes, higher_is_better=not metric.lower_is_better)
