"""Perturbations

Every metric of predicted expression on one scale: 0 is the mean of the control cells, that is no effect, and 1 a
technical duplicate, other cells of the same condition. Coloured: methods, with intervals over conditions (lines). Grey:
predictions that know nothing of the condition, or know it wrong; where one of them lies right of all methods, the
metric does not tell that it knows nothing. Arrows: further out. Right: the verdict of the audit, a tick for
informative, or in vermilion the control that wins. The duplicate is compared with half of the cells of a condition,
methods with all of them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from annobench.figures.shared.labels import (
    NOT_EVIDENCE,
    evaluation_title,
    evaluations_of,
    label_of,
    method_labels,
    method_looks,
    part_of,
    shown_order,
)
from annobench.figures.shared.settings import FigureSettings, Place
from annobench.figures.shared.style import (
    COLOURS,
    DARK,
    GREY,
    Looks,
    Tables,
    legend_below,
    light_rows,
    looks_handles,
    new_figure,
)

TABLES = ("summary", "audit", "ranking")
REGIMES = ("conditions",)
ORDER = 15
FAMILIES = ("perturbation", "perturbation_published")
SHOWN = {"perturbed_mean": "D", "shuffled_conditions": "X", "sign_flipped": "v"}  # control -> marker
LIMITS = (-0.6, 1.25)
_LANE = 0.22  # between methods of one row


@dataclass(frozen=True)
class Scale:
    """A metric of one evaluation, from 0 (no effect) to 1 (a technical duplicate).

    Parameters
    ----------
    none
        Value of the mean of the controls, as methods are scored.
    audited
        The same as the audit has it.
    duplicate
        Value of the technical duplicate.
    """

    none: float
    audited: float
    duplicate: float

    def of(self, value: float) -> float:
        """Place of a value of a method."""
        return (value - self.none) / (self.duplicate - self.audited)

    def of_control(self, value: float) -> float:
        """Place of a value of the audit."""
        return (value - self.audited) / (self.duplicate - self.audited)


def draw(tables: Tables, settings: FigureSettings) -> Figure | None:
    """One panel per evaluation, metrics in rows."""
    audit = tables["audit"]
    audit = audit[audit["family"].isin(FAMILIES)]
    if audit.empty:
        return None
    audit = audit[audit["oracle"].notna() & audit["control_mean"].notna()]
    places = [place for place in evaluations_of(tables["summary"]) if len(part_of(audit, place))]
    if not places:
        return None
    metrics = [m for m in dict.fromkeys(tables["summary"]["metric"]) if m in set(audit["metric"])]
    ranking = tables["ranking"]
    names = [m for m in dict.fromkeys(tables["summary"]["method"]) if m not in _controls(ranking)]
    drawn = shown_order(_drawn(tables["summary"], names, metrics, places), ranking, settings)[0]
    looks = method_looks(ranking, settings, drawn)
    figure = new_figure(3.2 + 3.4 * len(places), 1.6 + 0.34 * len(metrics))
    grid = figure.subplots(1, len(places), sharey=True, squeeze=False)[0]
    for axes, place in zip(grid, places, strict=True):
        of_place = part_of(tables["summary"], place), part_of(audit, place)
        _panel(axes, *of_place, metrics=metrics, methods=drawn, looks=looks)
        axes.set_title(evaluation_title(place, settings))
        axes.set_xlabel("scaled score (0: no effect, 1: technical duplicate)", fontsize=8)
    doubted = {m for m in metrics if (audit.loc[audit["metric"] == m, "verdict"] == NOT_EVIDENCE).any()}
    grid[0].set_yticks([-i for i in range(len(metrics))], [settings.metric(m).label for m in metrics], fontsize=7.5)
    for label, metric in zip(grid[0].get_yticklabels(), metrics, strict=True):
        label.set_color(COLOURS[1] if metric in doubted else DARK)
    _legend(figure, drawn, method_labels(ranking), looks)
    return figure


def _controls(ranking: pd.DataFrame) -> set[str]:
    return set(ranking.loc[ranking["kind"] == "control", "method"])


def _drawn(summary: pd.DataFrame, names: Sequence[str], metrics: Sequence[str], places: Sequence[Place]) -> list[str]:
    """Methods with a value in one of the panels."""
    rows = pd.concat([part_of(summary, place) for place in places])
    rows = rows[rows["metric"].isin(metrics)].dropna(subset=["value"])
    return [name for name in names if name in set(rows["method"])]


def _panel(
    axes: Axes,
    summary: pd.DataFrame,
    audit: pd.DataFrame,
    *,
    metrics: Sequence[str],
    methods: Sequence[str],
    looks: Looks,
) -> None:
    """Metrics of one evaluation in rows."""
    light_rows(axes, [-i for i in range(len(metrics))])
    for x in (0, 1):
        axes.axvline(x, color=GREY, linewidth=0.8, linestyle=":", zorder=0)
    of_audit = audit.set_index("metric")
    whole = summary[summary["split"] == "all"].set_index(["metric", "method"])
    for i, metric in enumerate(metrics):
        if metric not in of_audit.index:
            continue
        row = of_audit.loc[metric]
        none = whole["value"].get((metric, "control_mean"), row["control_mean"])
        scale = Scale(none, row["control_mean"], row["oracle"])
        if scale.duplicate == scale.audited:
            continue
        for control, marker in SHOWN.items():
            if np.isfinite(row[control]):
                _point(axes, scale.of_control(row[control]), -i, marker=marker, colour=GREY, size=4)
        for lane, method in enumerate(methods):
            if (metric, method) in whole.index:
                y = -i - (lane - (len(methods) - 1) / 2) * _LANE
                _method(axes, whole.loc[(metric, method)], scale, name=method, y=y, looks=looks)
        bad = row["verdict"] == NOT_EVIDENCE
        axes.annotate(
            str(row["because"]) if bad else "✓",
            (1.02, -i),
            xycoords=axes.get_yaxis_transform(),
            fontsize=7,
            va="center",
            color=COLOURS[1] if bad else GREY,
            annotation_clip=False,
        )
    axes.set_xlim(*LIMITS)
    axes.set_ylim(-len(metrics) + 0.4, 0.6)


def _method(axes: Axes, row: "pd.Series", scale: Scale, *, name: str, y: float, looks: Looks) -> None:
    """A value of a method with its interval."""
    low, value, high = (scale.of(row[key]) for key in ("low", "value", "high"))
    if np.isfinite([low, high]).all():
        ends = np.clip(sorted([low, high]), *LIMITS)
        axes.plot(ends, [y, y], color=looks.colour(name), linewidth=1.2, solid_capstyle="round", zorder=2)
    _point(axes, value, y, marker=looks.point(name)["marker"], colour=looks.colour(name), size=4)


def _point(axes: Axes, x: float, y: float, *, marker: str, colour: str, size: float) -> None:
    """A point, or at the edge an arrow to where it lies."""
    if not np.isfinite(x):
        return
    if LIMITS[0] <= x <= LIMITS[1]:
        axes.plot(x, y, marker=marker, color=colour, markersize=size, linestyle="none", zorder=3)
    else:
        edge, arrow = (LIMITS[0], "<") if x < LIMITS[0] else (LIMITS[1], ">")
        axes.plot(edge, y, marker=arrow, color=colour, markersize=3, linestyle="none", zorder=3, clip_on=False)


def _legend(figure: Figure, methods: Sequence[str], labels: Mapping[str, str], looks: Looks) -> None:
    handles = looks_handles(methods, {m: labels.get(m, m) for m in methods}, looks)
    handles += [
        Line2D([], [], linestyle="none", markersize=5, color=GREY, marker=marker, label=label_of(name, {}))
        for name, marker in SHOWN.items()
    ]
    legend_below(figure, handles)
