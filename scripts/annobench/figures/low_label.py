"""Few labels

Score against the share of the labelled cells that may be used for training and model selection, with intervals (thin
lines), which resample what is named below the panel. The points of one share stand side by side in the order of the
legend, best mean score first; shares are evenly spaced. The shares are nested and keep at least one cell of every
class. The right end is the evaluation of the same dataset with all labels, where the study has one.
"""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from annobench.figures.shared.labels import (
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
from annobench.figures.shared.style import LIGHT, Looks, Tables, looks_handles, new_figure

TABLES = ("ranking", "summary", "splits")
REGIMES = ("low_label",)
ORDER = 20
_WIDE = 0.7  # of the step between two shares, over which their points are spread


def draw(tables: Tables, settings: FigureSettings) -> Figure | None:
    """One panel per dataset, below each other; one line per method."""
    summary = tables["summary"][tables["summary"]["metric"] == settings.primary]
    splits = tables["splits"]
    methods, controls = ordered_methods(tables["ranking"], settings)
    labels = method_labels(tables["ranking"])
    looks = Looks(methods, controls)
    few = summary[(summary["regime"] == "low_label") & (summary["split"] != "all")]
    panels = evaluations_of(few)
    if not panels:
        return None
    lines = [m for m in [*methods, *controls] if m != "oracle" and m in set(few["method"])]
    high = max(4.4, 0.7 + 0.19 * len(lines))
    figure = new_figure(9.6, high * len(panels))
    for axes, place in zip(figure.subplots(len(panels), 1, squeeze=False)[:, 0], panels, strict=True):
        dataset, evaluation = place
        points = _points(summary[summary["dataset"] == dataset], splits[splits["dataset"] == dataset], evaluation)
        points = points[points["method"].isin(lines)]
        _lines(axes, points, lines, looks)
        low, most = settings.metric(settings.primary).limits(points[["value", "low", "high"]].to_numpy(float).ravel())
        axes.set_ylim(low, min(most, np.nanmax(points[["value", "high"]].to_numpy(float)) * 1.06))
        axes.set_ylabel(primary_axis(part_of(few, place), settings))
        axes.set_xlabel(f"labels used\nthin lines: {interval_words(points, settings)}")
        name = settings.dataset_label(dataset)
        axes.set_title(
            wrapped(name if evaluation == "low_label" else f"{name}: {settings.evaluation_label(place)}", 70)
        )
    handles = looks_handles(lines, labels, looks, lines=True)
    figure.legend(handles=handles, loc="outside right upper", handlelength=3)
    return figure


def _lines(axes: Axes, points: pd.DataFrame, methods: list[str], looks: Looks) -> None:
    """A line with intervals for every method."""
    ticks = sorted(points["fraction"].unique())
    points = points.assign(place=points["fraction"].map(ticks.index))
    shown = {method: looks.line(method) for method in methods}
    point_intervals(
        axes, points, x="place", y="value", orient="x", hue="method", looks=shown, dodge=_WIDE if len(shown) > 1 else 0,
        width=0.7, linestyle="-", linewidth=0.9,
    )  # fmt: skip
    for edge in range(len(ticks) - 1):
        axes.axvline(edge + 0.5, color=LIGHT, linewidth=0.6, zorder=0)
    axes.set_xticks(range(len(ticks)), ["all" if t == 100 else f"{t:g} %" for t in ticks])
    axes.set_xlim(-0.5, len(ticks) - 0.5)


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
