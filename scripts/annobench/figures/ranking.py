"""Ranking

Score of every method in every evaluation, with its interval (line), which resamples what is named below the panel.
Methods are ordered by their mean score. Controls are grey: the truth is the upper bound; majority and random show what
is reached without looking at expression. Bold: the best method of an evaluation, and those that the paired tests do not
tell apart from it. Open circles: some fits of the method failed or are missing.
"""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from annobench.config.standing import BEST, TIED
from annobench.figures.shared.labels import (
    evaluation_title,
    evaluations_of,
    interval_words,
    method_labels,
    ordered_methods,
    part_of,
    primary_axis,
    wrapped,
)
from annobench.figures.shared.points import point_intervals
from annobench.figures.shared.settings import FigureSettings
from annobench.figures.shared.style import COLOURS, GREY, WIDEST, Tables, light_rows, new_figure

TABLES = ("ranking",)
ORDER = 10
_ACROSS = 4  # panels side by side


def draw(tables: Tables, settings: FigureSettings) -> Figure | None:
    """One column of points per evaluation, the mean of all first."""
    ranking = tables["ranking"]
    ranking = ranking[ranking["kind"] != "decoding"]  # their fits are shown already
    methods, controls = ordered_methods(ranking, settings)
    labels = method_labels(ranking)
    rows = [*methods, *controls]
    evaluations = evaluations_of(ranking)
    evaluations.sort(key=lambda one: one[0] != "all")
    if not evaluations:
        return None
    if len(evaluations) == 2:  # the mean of one evaluation adds nothing
        evaluations = evaluations[1:]
    limits = settings.metric(settings.primary).limits(ranking[["score", "low", "high"]].to_numpy(dtype=float).ravel())
    whole = settings.metric(settings.primary).high == 1
    across = min(_ACROSS, len(evaluations))
    down = -(-len(evaluations) // across)
    height = {method: -i - (0.6 if method in controls else 0) for i, method in enumerate(rows)}
    figure = new_figure(min(3.0 + 2.3 * across, WIDEST), down * (1.15 + 0.24 * len(rows)))
    grid = figure.subplots(down, across, sharey=True, squeeze=False)
    for axes, place in zip(grid.flat, evaluations, strict=False):
        part = part_of(ranking, place)
        light_rows(axes, list(height.values()))
        axes.set_xlim(*limits)
        _points(axes, part.assign(y=part["method"].map(height)), whole=whole)
        title = evaluation_title(place, settings).split("\n")
        axes.set_title("\n".join(wrapped(line, 26) for line in title), fontsize=9)
        if whole and limits[0] == 0:
            axes.set_xticks(np.linspace(0, 1, 6), ["0", ".2", ".4", ".6", ".8", "1"])
        axes.set_xlabel(f"{primary_axis(part, settings)}\n{wrapped(interval_words(part, settings), 34)}")
        axes.xaxis.label.set_fontsize(8)
    for axes in grid.flat[len(evaluations) :]:
        axes.set_visible(False)
    grid[0, 0].set_yticks([height[m] for m in rows], [labels[m] for m in rows])
    grid[0, 0].set_ylim(min(height.values()) - 0.7, 0.7)
    return figure


def _points(axes: Axes, part: pd.DataFrame, *, whole: bool) -> None:
    """Methods and controls of one evaluation, with their numbers on the right."""
    complete = part["n_fits"] == part["n_planned"]
    for kind, colour in (("method", COLOURS[0]), ("control", GREY)):
        for filled in (True, False):
            mine = part[(part["kind"] == kind) & (complete == filled)]
            face = colour if filled else "white"
            point_intervals(
                axes, mine, x="score", y="y", color=colour, markerfacecolor=face, size=5, width=2, clip_on=False
            )
    for row in part.itertuples():
        # a method may lack the metric
        number = "–" if np.isnan(row.score) else f"{row.score:.2f}" if whole else f"{row.score:.3g}"
        axes.annotate(
            number, (1.05, row.y), xycoords=axes.get_yaxis_transform(), fontsize=7.5, va="center",
            color=GREY if row.kind == "control" else COLOURS[0], annotation_clip=False,
            fontweight="bold" if row.against_best in (BEST, *TIED) else "normal",
        )  # fmt: skip
