"""Score against cost: what a point of score takes in time."""

from collections.abc import Mapping
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from annobench.figures.shared.labels import NOT_EVIDENCE, primary_axis
from annobench.figures.shared.style import LIGHT, Looks, evaluation_title, evaluations_of, new_figure, ordered_methods

TABLES = ["ranking"]
REGIMES = ()
TITLE = "Score and cost"
CAPTION = (
    "Score against the mean time of training and prediction (imports and reading not counted) on a logarithmic axis. "
    "The "
    "line joins the methods that no other beats in both; the size of a point is its peak memory."
)


def draw(tables: Mapping[str, pd.DataFrame], settings: Mapping[str, Any]) -> Figure | None:
    """One panel per evaluation."""
    ranking = tables["ranking"]
    methods, controls, labels = ordered_methods(ranking)
    looks = Looks(methods, controls)
    evaluations = [one for one in evaluations_of(ranking) if one[0] != "all"]
    if not evaluations:
        return None
    figure = new_figure(3.1 * len(evaluations) + 2.6, 3.6)
    grid = figure.subplots(1, len(evaluations), squeeze=False, sharey=True)[0]
    for axes, (dataset, evaluation) in zip(grid, evaluations, strict=True):
        part = ranking[
            (ranking["dataset"] == dataset) & (ranking["evaluation"] == evaluation) & (ranking["kind"] == "method")
        ].copy()
        # times are written down to a tenth of a millisecond; faster ones stand at that end
        part["seconds"] = (part["fit_seconds"] + part["predict_seconds"].fillna(0)).clip(lower=1e-4)
        front = _front(part)
        axes.plot(front["seconds"], front["score"], color=LIGHT, linewidth=4, zorder=0, solid_capstyle="round")
        for row in part.itertuples():
            size = 25 + 0.08 * row.peak_rss_mb
            axes.scatter(
                row.seconds, row.score, s=size, alpha=0.85, linewidth=0, **looks.of(row.method, "color", "marker")
            )
        axes.set_xscale("log")
        axes.set_xlabel("seconds to fit and predict")
        axes.set_title(evaluation_title(dataset, evaluation, settings))
        if axes is grid[0] or (part["verdict"] == NOT_EVIDENCE).any():
            axes.set_ylabel(primary_axis(part, settings))
    handles = [grid[0].scatter([], [], s=35, **looks.of(m, "color", "marker"), label=labels[m]) for m in methods]
    figure.legend(handles=handles, loc="outside right center")
    return figure


def _front(part: pd.DataFrame) -> pd.DataFrame:
    """Methods that no other beats in time and score at once, from fast to slow."""
    part = part.sort_values(["seconds", "score"], ascending=[True, False])
    return part[part["score"].cummax() == part["score"]].drop_duplicates("score")
