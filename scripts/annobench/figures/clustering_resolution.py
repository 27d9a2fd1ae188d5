"""Clustering against resolution

Agreement of Leiden clusters with the labels, and the number of clusters, for every resolution of the sweep; means over
seeds and splits. The dashed line is the resolution that scores are taken at, unless the study changes it.
"""

import seaborn as sns
from matplotlib.figure import Figure

from annobench.figures.shared.labels import (
    evaluation_title,
    evaluations_of,
    method_looks,
    part_of,
    shown_order,
)
from annobench.figures.shared.settings import FigureSettings
from annobench.figures.shared.style import LIGHT, Tables, legend_below, legend_rows, looks_handles, new_figure
from annobench.figures.shared.words import capitalised

TABLES = ("resolutions", "ranking")
NEEDS = ("sweep",)
ORDER = 46
METRICS = ("clustering_ari", "clustering_nmi", "clusters")
_ACROSS = 4  # panels side by side: further evaluations come below


def draw(tables: Tables, settings: FigureSettings) -> Figure | None:
    """A column per evaluation, a row per metric."""
    scores = tables["resolutions"]
    if scores.empty:
        return None
    evaluations = evaluations_of(scores)
    looks = method_looks(tables["ranking"], settings, scores["method"])
    methods, controls, labels = shown_order(scores["method"], tables["ranking"], settings)
    names = [*methods, *controls]
    pages = [evaluations[i : i + _ACROSS] for i in range(0, len(evaluations), _ACROSS)]
    across = max(map(len, pages))
    width = max(2.7 * across + 0.5, 5.0)
    figure = new_figure(width, 5.4 * len(pages) + 0.2 * legend_rows([labels[n] for n in names], width))
    grid = figure.subplots(len(METRICS) * len(pages), across, squeeze=False)
    for i, (page, column) in enumerate((page, column) for page in pages for column in range(across)):
        top = i // across * len(METRICS)
        for row, metric in enumerate(METRICS, start=top):
            axes = grid[row, column]
            if column >= len(page):
                axes.set_visible(False)
                continue
            part = part_of(scores, page[column])
            part = part[part["metric"] == metric]
            sns.lineplot(
                part, x="resolution", y="value", hue="method", hue_order=names, style="method", style_order=names,
                palette={n: looks.colour(n) for n in names}, markers={n: looks.point(n)["marker"] for n in names},
                dashes=False, errorbar=None, markersize=5, markeredgewidth=0, legend=False, ax=axes,
            )  # fmt: skip
            axes.axvline(1, color=LIGHT, linestyle="--", linewidth=1, zorder=0)
            axes.set_ylabel(capitalised(settings.metric(metric).label) if column == 0 else "")
            axes.set_xlabel("resolution of Leiden" if metric == METRICS[-1] else "")
            axes.set_ylim(0, 1.1 * float(part["value"].max()) if len(part) else 1)
        if column < len(page):
            grid[top, column].set_title(evaluation_title(page[column], settings))
    legend_below(figure, looks_handles(names, labels, looks, lines=True))
    return figure
