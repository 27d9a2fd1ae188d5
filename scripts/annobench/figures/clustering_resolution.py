"""Clustering against resolution

Agreement of Leiden clusters with the labels, and the number of clusters, for every resolution of the sweep; means over
seeds and splits. The dashed line is the resolution that scores are taken at, unless the study changes it.
"""

from matplotlib.figure import Figure

from annobench.figures.shared.labels import evaluation_title, evaluations_of, method_labels, method_looks, part_of
from annobench.figures.shared.settings import FigureSettings
from annobench.figures.shared.style import LIGHT, Tables, new_figure

TABLES = ("resolutions", "ranking")
NEEDS = ("sweep",)
ORDER = 46
METRICS = ("clustering_ari", "clustering_nmi", "clusters")


def draw(tables: Tables, settings: FigureSettings) -> Figure | None:
    """A column per evaluation, a row per metric."""
    scores = tables["resolutions"]
    if scores.empty:
        return None
    evaluations = evaluations_of(scores)
    looks = method_looks(tables["ranking"], settings, scores["method"])
    labels = method_labels(tables["ranking"])
    figure = new_figure(2.6 * len(evaluations) + 2.2, 5.6)
    grid = figure.subplots(len(METRICS), len(evaluations), squeeze=False, sharex=True)
    shown: dict[str, str] = {}
    for column, place in enumerate(evaluations):
        part = part_of(scores, place)
        for row, metric in enumerate(METRICS):
            axes = grid[row, column]
            of_metric = part[part["metric"] == metric]
            for method, values in of_metric.groupby("method", sort=False):
                line = values.sort_values("resolution")
                axes.plot(line["resolution"], line["value"], markersize=4, linewidth=1.3, **looks.line(str(method)))
                shown[str(method)] = labels.get(str(method), str(method))
            axes.axvline(1, color=LIGHT, linestyle="--", linewidth=1, zorder=0)
            axes.set_ylabel(settings.metric(metric).label if column == 0 else "")
            axes.set_ylim(0, 1.1 * float(of_metric["value"].max()) or 1)
        grid[0, column].set_title(evaluation_title(place, settings))
        grid[-1, column].set_xlabel("resolution")
    handles = [grid[0, 0].plot([], [], markersize=4, label=label, **looks.line(m))[0] for m, label in shown.items()]
    figure.legend(handles=handles, loc="outside right center")
    return figure
