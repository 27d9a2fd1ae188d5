"""Few labels

Score against the share of the labelled cells that may be used for training and model selection, with intervals. The
shares are nested and keep at least one cell of every class. The right end is the evaluation of the same dataset with
all labels, where the study has one.
"""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from annobench.figures.shared.labels import evaluations_of, method_labels, ordered_methods, part_of, primary_axis
from annobench.figures.shared.settings import FigureSettings
from annobench.figures.shared.style import Looks, Tables, new_figure, spread_labels

TABLES = ("ranking", "summary", "splits")
REGIMES = ("low_label",)
ORDER = 20
_SPREAD = 0.15  # decades over which the points of one share are spread, at most


def draw(tables: Tables, settings: FigureSettings) -> Figure | None:
    """One panel per dataset, one line per method."""
    summary = tables["summary"][tables["summary"]["metric"] == settings.primary]
    splits = tables["splits"]
    methods, controls = ordered_methods(tables["ranking"], settings)
    labels = method_labels(tables["ranking"])
    lines = [*methods, *(c for c in controls if c != "oracle")]
    looks = Looks(methods, controls)
    few = summary[(summary["regime"] == "low_label") & (summary["split"] != "all")]
    panels = evaluations_of(few)
    if not panels:
        return None
    figure = new_figure(6.4 * len(panels), max(4.6, 0.6 + 0.2 * len(lines)))
    for axes, place in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        dataset, evaluation = place
        points = _points(summary[summary["dataset"] == dataset], splits[splits["dataset"] == dataset], evaluation)
        ends = _lines(axes, points, lines, looks)
        numbers = points.loc[points["method"].isin(lines), ["value", "low", "high"]].to_numpy(dtype=float).ravel()
        low, high = settings.metric(settings.primary).limits(numbers)
        axes.set_ylim(low, min(high, np.nanmax(numbers) * 1.06))
        axes.set_ylabel(primary_axis(part_of(few, place), settings))
        name = settings.dataset_label(dataset)
        axes.set_title(name if evaluation == "low_label" else f"{name}\n{settings.evaluation_label(place)}")
        right = 1.15 * points["fraction"].max()
        spread_labels(axes, right, ends, labels, looks, gap=min(0.041, 0.95 / len(lines)) * axes.get_ylim()[1])
    return figure


def _lines(axes: Axes, points: pd.DataFrame, methods: list[str], looks: Looks) -> dict[str, float]:
    """A line with intervals for every method; returns the height at which each ends."""
    ends = {}
    step = min(0.012, _SPREAD / len(methods))
    for i, method in enumerate(methods):
        mine = points[points["method"] == method].sort_values("fraction")
        if mine.empty:
            continue
        x = mine["fraction"] * 10 ** (step * (i - len(methods) / 2))  # side by side, so that no interval hides another
        axes.vlines(x, mine["low"], mine["high"], color=looks.colour(method), linewidth=0.8, alpha=0.6)
        axes.plot(x, mine["value"], markersize=4.5, linewidth=1.2, **looks.line(method))
        ends[method] = mine["value"].iloc[-1]
    ticks = sorted(points["fraction"].unique())
    axes.set_xscale("log")
    axes.set_xticks(ticks, ["all" if t == 100 else f"{t:g} %" for t in ticks])
    axes.minorticks_off()
    axes.set_xlim(min(ticks) * 0.8, max(ticks) * 1.25)
    axes.set_xlabel("labels used")
    return ends


def _points(summary: pd.DataFrame, splits: pd.DataFrame, evaluation: str) -> pd.DataFrame:
    """Value per method and share of labels in percent; 100 is the plain holdout, else the plain k folds."""
    fraction = splits[splits["evaluation"] == evaluation].drop_duplicates("split").set_index("split")["fraction"] * 100
    few = summary[summary["split"].isin(fraction.index)]
    few = few.assign(fraction=few["split"].map(fraction))
    for full_evaluation in ("holdout", "kfold"):  # not `holdout_donor`: its test cells are others
        full = summary[(summary["evaluation"] == full_evaluation) & (summary["split"] == "all")]
        if not full.empty:
            return pd.concat([few, full.assign(fraction=100.0)])
    return few
