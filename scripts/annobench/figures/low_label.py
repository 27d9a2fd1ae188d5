"""Label efficiency: score against the share of labels that may be used."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from annobench.figures.shared.labels import part_of, primary_axis
from annobench.figures.shared.style import (
    Looks,
    evaluation_name,
    evaluations_of,
    new_figure,
    ordered_methods,
    spread_labels,
)

TABLES = ["ranking", "summary", "splits"]
REGIMES = ["low_label"]
TITLE = "Few labels"
CAPTION = (
    "Score against the share of the labelled cells that may be used for training and model selection (nested shares, "
    "at least "
    "one cell per class), with intervals. The right end is the evaluation of the same dataset with all labels, where "
    "the "
    "study has one."
)


def draw(tables: Mapping[str, pd.DataFrame], settings: Mapping[str, Any]) -> Figure | None:
    """One panel per dataset, one line per method."""
    summary = tables["summary"][tables["summary"]["metric"] == settings["primary"]]
    splits = tables["splits"]
    methods, controls, labels = ordered_methods(tables["ranking"])
    lines = [*methods, *(c for c in controls if c != "oracle")]
    looks = Looks(methods, controls)
    few = summary[(summary["regime"] == "low_label") & (summary["split"] != "all")]
    panels = evaluations_of(few)
    if not panels:
        return None
    figure = new_figure(6.4 * len(panels), 4.6)
    for axes, (dataset, evaluation) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        points = _points(summary[summary["dataset"] == dataset], splits[splits["dataset"] == dataset], evaluation)
        ends = {}
        ticks = sorted(points["fraction"].unique())
        for i, method in enumerate(lines):
            mine = points[points["method"] == method].sort_values("fraction")
            if mine.empty:
                continue
            x = mine["fraction"] * 10 ** (
                0.012 * (i - len(lines) / 2)
            )  # side by side, so that the intervals can be told apart
            axes.vlines(x, mine["low"], mine["high"], color=looks.of(method)["color"], linewidth=0.8, alpha=0.6)
            axes.plot(x, mine["value"], markersize=4.5, linewidth=1.2, **looks.of(method))
            ends[method] = mine["value"].iloc[-1]
        axes.set_xscale("log")
        axes.set_xticks(ticks, ["all" if t == 100 else f"{t:g} %" for t in ticks])
        axes.minorticks_off()
        axes.set_xlim(min(ticks) * 0.8, max(ticks) * 1.25)
        axes.set_ylim(0, min(1.0, np.nanmax(points.loc[points["method"].isin(lines), "high"]) * 1.06))
        axes.set_xlabel("labels used")
        axes.set_ylabel(primary_axis(part_of(few, (dataset, evaluation)), settings))
        name = settings["datasets"].get(dataset, dataset)
        axes.set_title(
            name if evaluation == "low_label" else f"{name}\n{evaluation_name(dataset, evaluation, settings)}"
        )
        spread_labels(axes, max(ticks) * 1.15, ends, labels, looks, gap=0.041 * axes.get_ylim()[1])
    return figure


def _points(summary: pd.DataFrame, splits: pd.DataFrame, evaluation: str) -> pd.DataFrame:
    """Value per method and share of labels in percent; 100 is the plain holdout, else the plain k folds."""
    fraction = splits[splits["evaluation"] == evaluation].drop_duplicates("split").set_index("split")["fraction"] * 100
    few = summary[summary["split"].isin(fraction.index)]
    few = few.assign(fraction=few["split"].map(fraction))
    for full_evaluation in ("holdout", "kfold"):  # not those of whole donors: their test cells are others
        full = summary[(summary["evaluation"] == full_evaluation) & (summary["split"] == "all")]
        if not full.empty:
            return pd.concat([few, full.assign(fraction=100.0)])
    return few
