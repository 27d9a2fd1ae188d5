"""Calibration

Accuracy against mean confidence in bins of confidence, over all test sets of an evaluation; shares of the labels each
have a line. A panel for each of the best-ranked methods; how many of how many is said above. The area of a point grows
with its share of the cells. On the grey line a confidence means what it says; below it the method is overconfident.
ECE: the gap between confidence and accuracy, averaged over all cells, of each line in its colour. Methods without
probabilities, controls, and bins of fewer than five test cells, each counted once, are left out.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from annobench.figures.shared.labels import (
    choice_words,
    evaluations_of,
    method_labels,
    ordered_methods,
    place_title,
    shown_apart,
    wrapped,
)
from annobench.figures.shared.settings import FigureSettings
from annobench.figures.shared.style import (
    LIGHT,
    Looks,
    Tables,
    beside_title,
    headline,
    legend_below,
    legend_rows,
    looks_handles,
    new_figure,
)

TABLES = ("ranking", "calibration", "splits")
ORDER = 60
FEWEST = 5  # cells of a bin that is shown
MOST, ACROSS = 8, 4  # panels, and how many side by side
LINES = 6  # that can be told apart in a panel


def draw(tables: Tables, settings: FigureSettings) -> Figure | None:
    """One panel per method, one line per evaluation and share of the labels."""
    bins = tables["calibration"]
    methods, _ = ordered_methods(tables["ranking"], settings)
    labels = method_labels(tables["ranking"])
    every = [m for m in methods if m in set(bins["method"])]
    shown = every[:MOST]
    if not shown:
        return None
    lines = {
        ", ".join([place_title(place, settings), *([split] if split else [])]): part
        for place in evaluations_of(bins)
        for split, part in shown_apart(bins, place, tables["splits"])
        if part["method"].isin(shown).any()
    }
    all_lines, lines = len(lines), dict(list(lines.items())[:LINES])
    looks = Looks(list(lines), [])
    columns = min(ACROSS, len(shown))
    rows = -(-len(shown) // columns)
    width = max(2.7 * columns + 0.4, 7.0)
    figure = new_figure(width, 3.3 * rows + 0.4 + 0.2 * legend_rows(list(lines), width))
    grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    for axes in grid.flat[len(shown) :]:
        axes.set_visible(False)
    for axes, method in zip(grid.flat, shown, strict=False):
        axes.plot([0, 1], [0, 1], color=LIGHT, linewidth=2.5, zorder=0)
        _panel(axes, {name: part[part["method"] == method] for name, part in lines.items()}, looks)
        axes.set_title(wrapped(labels[method], 36), fontsize=8.5, pad=16)
        axes.set_xlim(-0.02, 1.02)
        axes.set_ylim(-0.02, 1.02)
        axes.set_box_aspect(1)
        axes.set_xticks([0, 0.5, 1], ["0", ".5", "1"])
        axes.set_yticks([0, 0.5, 1], ["0", ".5", "1"])
    for axes in grid.flat[max(len(shown) - columns, 0) : len(shown)]:  # the lowest panel of every column
        axes.tick_params(labelbottom=True)
        axes.set_xlabel("mean confidence")
    for axes in grid[:, 0]:
        axes.set_ylabel("accuracy")
    words = [choice_words(len(shown), len(every), "methods with probabilities")]
    words += [f"the first {len(lines)} of {all_lines} test sets"] if len(lines) < all_lines else []
    if any(words):
        headline(figure, "; ".join(filter(None, words)))
    legend_below(figure, looks_handles(list(lines), {name: name for name in lines}, looks))
    return figure


def _panel(axes: Axes, lines: Mapping[str, pd.DataFrame], looks: Looks) -> None:
    """Accuracy against confidence, a line per test set, and above the panel the mean gap of each in its colour."""
    gaps: dict[str, float] = {}
    for name, part in lines.items():
        if part.empty:
            continue  # no gap of 0 where there is nothing
        share = part["n"] / part["n"].sum()
        gaps[name] = float((np.abs(part["bin_accuracy"] - part["bin_confidence"]) * share).sum())
        enough = part["cells"].fillna(part["n"]) >= FEWEST  # tests where the number of cells is not known
        mine = part[enough].sort_values("bin")
        sns.lineplot(
            mine, x="bin_confidence", y="bin_accuracy", errorbar=None, color=looks.colour(name), linewidth=0.9,
            alpha=0.7, ax=axes,
        )  # fmt: skip
        axes.scatter(
            mine["bin_confidence"], mine["bin_accuracy"], s=6 + 160 * share[enough].loc[mine.index], alpha=0.8,
            linewidth=0, clip_on=False, **looks.point(name),
        )  # fmt: skip
    axes.set_xlabel("")
    axes.set_ylabel("")
    beside_title(axes, "ECE", {name: f"{gap:.2f}".removeprefix("0") for name, gap in gaps.items()}, looks)
