"""Score and cost

Score against what a method costs: mean time of training and prediction without imports and
reading, peak memory, trainable parameters, and the bytes that it saves; those that at least two methods have. A row per
evaluation. The line joins the methods that no other beats in score and this cost at once. A method that lacks a number
(a classifier without trainable parameters, a model that is not kept) is not in that panel.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from annobench.figures.shared.labels import (
    evaluation_title,
    evaluations_of,
    method_labels,
    ordered_methods,
    part_of,
    primary_axis,
)
from annobench.figures.shared.settings import FigureSettings
from annobench.figures.shared.style import GREY, LIGHT, Looks, Tables, logarithmic, new_figure

TABLES = ("ranking",)
ORDER = 40


@dataclass(frozen=True)
class Cost:
    """A cost: its column, the label of its axis, and the least value that a logarithmic axis shows."""

    column: str
    label: str
    least: float


# the table rounds times to a tenth of a millisecond; a logarithmic axis has no place for zero
COSTS = (
    Cost("seconds", "seconds to fit and predict", 1e-4),
    Cost("peak_rss_mb", "peak memory (MB)", 1),
    Cost("trainable_parameters", "trainable parameters", 1),
    Cost("model_bytes", "saved model (bytes)", 1),
)


_WIDE = 10  # largest over smallest cost from which on an axis is logarithmic


def draw(tables: Tables, settings: FigureSettings) -> Figure | None:
    """A row of panels per evaluation, one for each cost."""
    ranking = tables["ranking"]
    methods, _ = ordered_methods(ranking, settings)
    shown = ranking[(ranking["kind"] == "method") & (ranking["dataset"] != "all")].dropna(subset=["score"])
    shown = shown.assign(seconds=shown["fit_seconds"] + shown["predict_seconds"].fillna(0))
    evaluations = evaluations_of(shown)
    costs = [cost for cost in COSTS if _methods_with(shown, cost) > 1] or list(COSTS[:1])
    if not evaluations:
        return None
    looks, labels = Looks(methods, []), method_labels(ranking)
    figure = new_figure(2.6 * len(costs) + 3.0, max(2.25 * len(evaluations) + 0.3, 0.17 * len(methods) + 0.6))
    grid = figure.subplots(len(evaluations), len(costs), squeeze=False, sharex="col", sharey="row")
    for axes, cost in zip(grid[0], costs, strict=True):  # columns share their axis
        values = shown[cost.column].clip(lower=cost.least)
        if values.max() > _WIDE * values.min():
            logarithmic(axes)
    for row, place in zip(grid, evaluations, strict=True):
        part = part_of(shown, place)
        _row(row, costs, part, looks, lower_is_better=settings.metric(settings.primary).lower_is_better)
        row[0].set_title(evaluation_title(place, settings))
        row[0].set_ylabel(primary_axis(part, settings))
    present = [method for method in methods if method in set(shown["method"])]
    handles = [grid[0, 0].scatter([], [], s=30, linewidth=0, **looks.point(m), label=labels[m]) for m in present]
    figure.legend(handles=handles, loc="outside right upper")
    return figure


def _methods_with(shown: pd.DataFrame, cost: Cost) -> int:
    """The most methods that have a number in one evaluation."""
    having = shown.dropna(subset=[cost.column])
    return int(having.groupby(["dataset", "evaluation"])["method"].nunique().max()) if len(having) else 0


def _row(
    row: Sequence[Axes],
    costs: Sequence[Cost],
    part: pd.DataFrame,
    looks: Looks,
    *,
    lower_is_better: bool,
) -> None:
    """The panels of one evaluation."""
    for axes, cost in zip(row, costs, strict=True):
        mine = part.dropna(subset=[cost.column])
        mine = mine.assign(cost=mine[cost.column].clip(lower=cost.least))
        front = _front(mine, lower_is_better=lower_is_better)
        axes.plot(front["cost"], front["score"], color=LIGHT, linewidth=4, zorder=0, solid_capstyle="round")
        for one in mine.itertuples():
            axes.scatter(one.cost, one.score, s=32, alpha=0.85, linewidth=0, **looks.point(one.method))
        axes.set_xlabel(cost.label)
        axes.tick_params(axis="x", labelbottom=True)
        if mine.empty:
            axes.text(0.5, 0.5, "no method states it here", transform=axes.transAxes, ha="center", color=GREY)


def _front(part: pd.DataFrame, *, lower_is_better: bool) -> pd.DataFrame:
    """Methods that no other beats in cost and score at once, from cheap to dear."""
    part = part.sort_values(["cost", "score"], ascending=[True, lower_is_better])
    best = part["score"].cummin() if lower_is_better else part["score"].cummax()
    return part[best == part["score"]].drop_duplicates("score")
