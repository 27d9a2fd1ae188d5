"""Score and cost

Score against what a method costs: mean time of training and prediction without imports and reading, peak memory,
trainable parameters, and the bytes that it saves; those that at least two methods have. A row per evaluation. Thin
lines are the intervals of the score. The grey band joins the methods that no other beats in score and this cost at
once. Points that would hide each other stand side by side. A method that lacks a number (a classifier without trainable
parameters, a model that is not kept) is not in that panel.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from annobench.figures.shared.labels import (
    evaluations_of,
    interval_words,
    method_labels,
    ordered_methods,
    part_of,
    place_title,
    primary_axis,
)
from annobench.figures.shared.settings import FigureSettings, Place
from annobench.figures.shared.style import (
    GREY,
    LIGHT,
    Looks,
    Tables,
    headline,
    legend_below,
    legend_rows,
    logarithmic,
    looks_handles,
    metric_prefixes,
    new_figure,
)

TABLES = ("ranking",)
ORDER = 40


@dataclass(frozen=True)
class Cost:
    """A cost: its column, the label of its axis, its unit, what one of the column is of it, and the least value shown.

    A logarithmic axis has no place for zero.
    """

    column: str
    label: str
    unit: str
    scale: float
    least: float


COSTS = (
    Cost("seconds", "time to fit and predict", "s", 1, 1e-4),  # the table rounds to a tenth of a millisecond
    Cost("peak_rss_mb", "peak memory", "B", 1e6, 1e6),
    Cost("trainable_parameters", "trainable parameters", "", 1, 1),
    Cost("model_bytes", "saved model", "B", 1, 1),
)


_BESIDE = 0.02  # of the width of a panel, between points side by side
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
    present = [method for method in methods if method in set(shown["method"])]
    looks, labels = Looks(methods, []), method_labels(ranking)
    width = 0.7 + 2.8 * max(len(costs), 2)
    front = "no other is better at this cost"
    lines = legend_rows([*(labels[m] for m in present), front], width)
    figure = new_figure(width, 2.7 * len(evaluations) + 0.19 * lines + 0.1)
    parts = figure.subfigures(len(evaluations), 1, squeeze=False)[:, 0]
    for part, place in zip(parts, evaluations, strict=True):
        rows = part_of(shown, place)
        grid = part.subplots(1, len(costs), squeeze=False, sharey=True)[0]
        for axes, cost in zip(grid, costs, strict=True):
            _axis(axes, cost, shown)
            _panel(axes, cost, rows, looks, lower_is_better=settings.metric(settings.primary).lower_is_better)
        grid[0].set_ylabel(primary_axis(rows, settings))
        headline(part, _title(place, rows, settings))
    handles = looks_handles(present, labels, looks)
    handles.append(Line2D([], [], color=LIGHT, linewidth=4, label=front))
    legend_below(figure, handles)
    return figure


def _title(place: Place, rows: pd.DataFrame, settings: FigureSettings) -> str:
    return f"{place_title(place, settings)} (lines: {interval_words(rows, settings)})"


def _methods_with(shown: pd.DataFrame, cost: Cost) -> int:
    """The most methods that have a number in one evaluation."""
    having = shown.dropna(subset=[cost.column])
    return int(having.groupby(["dataset", "evaluation"])["method"].nunique().max()) if len(having) else 0


def _axis(axes: Axes, cost: Cost, shown: pd.DataFrame) -> None:
    """The same limits in every evaluation, with metric prefixes."""
    values = (shown[cost.column].dropna() * cost.scale).clip(lower=cost.least)
    if values.empty:
        return
    least, most = values.min(), values.max()
    if most > _WIDE * least:
        logarithmic(axes, cost.unit)
        room = (most / least) ** 0.06
        axes.set_xlim(least / room, most * room)
    else:
        metric_prefixes(axes, cost.unit)
        room = 0.06 * (most - least) or 0.5 * most
        axes.set_xlim(least - room, most + room)
        axes.locator_params(axis="x", nbins=4)
    axes.set_xlabel(cost.label + (f" ({'seconds' if cost.unit == 's' else 'bytes'})" if cost.unit else ""))


def _panel(axes: Axes, cost: Cost, part: pd.DataFrame, looks: Looks, *, lower_is_better: bool) -> None:
    """Methods of one evaluation by one cost."""
    mine = part.dropna(subset=[cost.column])
    mine = mine.assign(cost=(mine[cost.column] * cost.scale).clip(lower=cost.least))
    if mine.empty:
        axes.text(0.5, 0.5, "no method states it here", transform=axes.transAxes, ha="center", color=GREY)
        return
    front = _front(mine, lower_is_better=lower_is_better)
    axes.plot(front["cost"], front["score"], color=LIGHT, linewidth=4, zorder=0, solid_capstyle="round")
    scores = part[["score", "low", "high"]].to_numpy(dtype=float)
    least, most = np.nanmin(scores), np.nanmax(scores)
    room = 0.06 * (most - least) or 0.05
    axes.set_ylim(least - room, most + room)
    mine = mine.assign(cost=_apart(axes, mine))
    methods = list(mine["method"])
    axes.vlines(mine["cost"], mine["low"], mine["high"], colors=[looks.colour(m) for m in methods], linewidth=0.6)
    sns.scatterplot(
        mine, x="cost", y="score", hue="method", style="method", hue_order=methods, style_order=methods, ax=axes,
        palette={m: looks.colour(m) for m in methods}, markers={m: looks.point(m)["marker"] for m in methods},
        s=34, edgecolor="white", linewidth=0.4, legend=False, zorder=3,
    )  # fmt: skip
    axes.set_ylabel("")


def _apart(axes: Axes, mine: pd.DataFrame) -> list[float]:
    """Costs, moved by as little as shows every point beside those of the same cost and score."""
    to_panel = axes.transData + axes.transAxes.inverted()
    taken: list[tuple[float, float]] = []
    for x, y in to_panel.transform(mine[["cost", "score"]].to_numpy(dtype=float)):
        steps = sorted(range(-len(mine), len(mine) + 1), key=abs)
        spots = ((x + _BESIDE * step, y) for step in steps)
        taken.append(next(s for s in spots if not any(_hides(s, t) for t in taken)))
    moved: list[float] = to_panel.inverted().transform(taken)[:, 0].tolist()
    return moved


def _hides(one: tuple[float, float], other: tuple[float, float]) -> bool:
    return abs(one[0] - other[0]) < 0.99 * _BESIDE and abs(one[1] - other[1]) < 1.5 * _BESIDE


def _front(part: pd.DataFrame, *, lower_is_better: bool) -> pd.DataFrame:
    """Methods that no other beats in cost and score at once, from cheap to dear."""
    part = part.sort_values(["cost", "score"], ascending=[True, lower_is_better])
    best = part["score"].cummin() if lower_is_better else part["score"].cummax()
    return part[best == part["score"]].drop_duplicates("score")
