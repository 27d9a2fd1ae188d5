"""Ranking

Score of every method in every evaluation, with its interval. Methods are ordered by their mean score. Controls are
grey: the oracle is the upper bound; majority and random guessing show what is reached without looking at expression.
Bold: the best method of an evaluation, and those that the paired tests do not tell apart from it. Open circles: some
fits of the method failed or are missing.
"""

import numpy as np
from matplotlib.figure import Figure

from annobench.config.standing import BEST, TIED
from annobench.figures.shared.labels import (
    evaluation_title,
    evaluations_of,
    method_labels,
    ordered_methods,
    part_of,
    primary_axis,
)
from annobench.figures.shared.settings import FigureSettings
from annobench.figures.shared.style import COLOURS, LIGHT, Tables, control_colour, new_figure

TABLES = ("ranking",)
ORDER = 10


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
    metric = settings.metric(settings.primary)
    low, high = metric.limits(ranking[["score", "low", "high"]].to_numpy(dtype=float).ravel())
    figure = new_figure(2.4 + 2.2 * len(evaluations), 0.9 + 0.27 * len(rows))
    grid = figure.subplots(1, len(evaluations), sharey=True, squeeze=False)[0]
    height = {method: -i - (0.6 if method in controls else 0) for i, method in enumerate(rows)}
    for axes, place in zip(grid, evaluations, strict=True):
        part = part_of(ranking, place)
        for row in part.itertuples():
            y = height[row.method]
            colour = control_colour(row.method) if row.kind == "control" else COLOURS[0]
            axes.hlines(y, low, high, color=LIGHT, linewidth=0.4, zorder=0)
            axes.plot([row.low, row.high], [y, y], color=colour, linewidth=2, solid_capstyle="round", clip_on=False)
            complete = row.n_fits == row.n_planned
            axes.plot(
                row.score,
                y,
                "o",
                color=colour,
                markerfacecolor=colour if complete else "white",
                markersize=5,
                clip_on=False,
            )
            # a method may lack the metric
            number = "–" if np.isnan(row.score) else f"{row.score:.2f}" if metric.high == 1 else f"{row.score:.3g}"
            axes.annotate(
                number, (1.05, y), xycoords=axes.get_yaxis_transform(), fontsize=7.5, va="center", color=colour,
                annotation_clip=False, fontweight="bold" if row.against_best in (BEST, *TIED) else "normal",
            )  # fmt: skip
        axes.set_title(evaluation_title(place, settings))
        axes.set_xlim(low, high)
        if (low, high) == (0, 1):
            axes.set_xticks(np.linspace(0, 1, 6), ["0", ".2", ".4", ".6", ".8", "1"])
        axes.set_xlabel(primary_axis(part, settings))
        axes.spines["left"].set_visible(False)
        axes.tick_params(axis="y", length=0)
    grid[0].set_yticks([height[m] for m in rows], [labels[m] for m in rows])
    grid[0].set_ylim(min(height.values()) - 0.7, 0.7)
    return figure
