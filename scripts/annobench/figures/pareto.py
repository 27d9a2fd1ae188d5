"""Score and cost

Score against the mean time of training and prediction, without imports and reading, on a logarithmic axis. The line
joins the methods that no other method beats in both. The area of a point grows with peak memory.
"""

import pandas as pd
from matplotlib.figure import Figure

from annobench.figures.shared.labels import (
    NOT_EVIDENCE,
    evaluation_title,
    evaluations_of,
    method_labels,
    ordered_methods,
    part_of,
    primary_axis,
)
from annobench.figures.shared.settings import FigureSettings
from annobench.figures.shared.style import LIGHT, Looks, Tables, new_figure

TABLES = ("ranking",)
ORDER = 40


def draw(tables: Tables, settings: FigureSettings) -> Figure | None:
    """One panel per evaluation."""
    ranking = tables["ranking"]
    methods, controls = ordered_methods(ranking, settings)
    labels = method_labels(ranking)
    looks = Looks(methods, controls)
    evaluations = [one for one in evaluations_of(ranking) if one[0] != "all"]
    if not evaluations:
        return None
    figure = new_figure(3.1 * len(evaluations) + 2.6, 3.6)
    grid = figure.subplots(1, len(evaluations), squeeze=False, sharey=True)[0]
    for axes, place in zip(grid, evaluations, strict=True):
        part = part_of(ranking[ranking["kind"] == "method"], place).dropna(subset=["score"])
        # the table rounds times to a tenth of a millisecond; a logarithmic axis has no place for zero
        part = part.assign(seconds=(part["fit_seconds"] + part["predict_seconds"].fillna(0)).clip(lower=1e-4))
        front = _front(part, lower_is_better=settings.metric(settings.primary).lower_is_better)
        axes.plot(front["seconds"], front["score"], color=LIGHT, linewidth=4, zorder=0, solid_capstyle="round")
        for row in part.itertuples():
            size = 25 + 0.08 * row.peak_rss_mb
            axes.scatter(row.seconds, row.score, s=size, alpha=0.85, linewidth=0, **looks.point(row.method))
        axes.set_xscale("log")
        axes.set_xlabel("seconds to fit and predict")
        axes.set_title(evaluation_title(place, settings))
        if axes is grid[0] or (part["verdict"] == NOT_EVIDENCE).any():
            axes.set_ylabel(primary_axis(part, settings))
    handles = [grid[0].scatter([], [], s=35, **looks.point(m), label=labels[m]) for m in methods]
    figure.legend(handles=handles, loc="outside right center")
    return figure


def _front(part: pd.DataFrame, *, lower_is_better: bool) -> pd.DataFrame:
    """Methods that no other beats in time and score at once, from fast to slow."""
    part = part.sort_values(["seconds", "score"], ascending=[True, lower_is_better])
    best = part["score"].cummin() if lower_is_better else part["score"].cummax()
    return part[best == part["score"]].drop_duplicates("score")
