"""Calibration

Accuracy against mean confidence in bins of confidence, over all test sets of an evaluation; shares of the labels each
have a line. The area of a point grows with its share of the cells. On the grey line a confidence means what it says;
below it the method is overconfident. The numbers are the gap between confidence and accuracy, averaged over all cells.
Methods without probabilities and bins of fewer than five test cells, each counted once, are left out.
"""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from annobench.figures.shared.labels import evaluations_of, method_labels, ordered_methods, shown_apart
from annobench.figures.shared.settings import FigureSettings
from annobench.figures.shared.style import COLOURS, LIGHT, MARKERS, Tables, control_colour, new_figure

TABLES = ("ranking", "calibration", "splits")
ORDER = 60
FEWEST = 5  # cells of a bin that is shown


def draw(tables: Tables, settings: FigureSettings) -> Figure | None:
    """One panel per method, one line per evaluation and share of the labels."""
    bins = tables["calibration"]
    methods, controls = ordered_methods(tables["ranking"], settings)
    labels = method_labels(tables["ranking"])
    shown = [m for m in [*methods, *controls] if m in set(bins["method"]) and m != "oracle"]
    lines = [
        (place, split, part)
        for place in evaluations_of(bins)
        for split, part in shown_apart(bins, place, tables["splits"])
    ]
    if not shown:
        return None
    columns = min(5, len(shown))
    rows = -(-len(shown) // columns)
    figure = new_figure(2.15 * columns, 2.25 * rows + 0.7)
    grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    for axes in grid.flat[len(shown) :]:
        axes.set_visible(False)
    for axes, method in zip(grid.flat, shown, strict=False):
        axes.plot([0, 1], [0, 1], color=LIGHT, linewidth=2.5, zorder=0)
        for i, (_, _, part) in enumerate(lines):
            _line(axes, part[part["method"] == method].sort_values("bin"), i)
        axes.set_title(
            labels[method] if len(labels[method]) < 28 else labels[method].replace(", ", ",\n"),
            fontsize=8,
            color=control_colour(method) if method in controls else "black",
        )
        axes.set_xlim(0, 1)
        axes.set_ylim(0, 1)
        axes.set_aspect("equal")
        axes.set_xticks([0, 0.5, 1], ["0", ".5", "1"])
        axes.set_yticks([0, 0.5, 1], ["0", ".5", "1"])
    for axes in grid.flat[max(len(shown) - columns, 0) : len(shown)]:  # the lowest panel of every column
        axes.tick_params(labelbottom=True)
    figure.supxlabel("mean confidence", fontsize=9)
    figure.supylabel("accuracy", fontsize=9)
    handles = [
        grid.flat[0].scatter(
            [],
            [],
            s=30,
            color=COLOURS[i % len(COLOURS)],
            marker=MARKERS[i % len(MARKERS)],
            label=", ".join([place[0], settings.evaluation_label(place), *([split] if split else [])]),
        )
        for i, (place, split, _) in enumerate(lines)
    ]
    figure.legend(handles=handles, loc="outside upper left", ncols=min(columns, len(handles)))
    return figure


def _line(axes: Axes, part: pd.DataFrame, i: int) -> None:
    """Accuracy against confidence in one evaluation, the i-th, and the mean gap between them."""
    if part.empty:
        return  # no gap of 0 where there is nothing
    share = part["n"] / part["n"].sum()
    gap = (np.abs(part["bin_accuracy"] - part["bin_confidence"]) * share).sum()
    enough = part["cells"].fillna(part["n"]) >= FEWEST  # tests where the number of cells is not known
    part, share = part[enough], share[enough]
    colour = COLOURS[i % len(COLOURS)]
    axes.plot(part["bin_confidence"], part["bin_accuracy"], color=colour, linewidth=1)
    axes.scatter(
        part["bin_confidence"],
        part["bin_accuracy"],
        s=6 + 160 * share,
        color=colour,
        marker=MARKERS[i % len(MARKERS)],
        alpha=0.8,
        linewidth=0,
        clip_on=False,
    )
    axes.annotate(f"{gap:.2f}", (0.03, 0.93 - 0.1 * i), color=colour, fontsize=7.5)
