"""Maps of embeddings

UMAP of the tested cells of one split, coloured by their true type: the best-ranked method of every evaluation, and its
baseline by principal components where it is another. Distances between groups, and their sizes, mean nothing.
"""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from annobench.figures.shared.labels import best_method, evaluations_of, method_labels, part_of, place_title
from annobench.figures.shared.settings import FigureSettings, Place
from annobench.figures.shared.short_names import shortened
from annobench.figures.shared.style import COLOURS, LIGHT, MARKERS, Tables, new_figure

TABLES = ("places", "ranking")
NEEDS = ("embeddings",)
ORDER = 165
BASELINES = ("pca", "pca_train")
_PANEL = 3.1  # inches
_TYPES = 20  # with a colour and a mark of their own


def draw(tables: Tables, settings: FigureSettings) -> Figure | None:
    """A row of two maps per evaluation."""
    places = tables["places"]
    if places.empty:
        return None
    evaluations = evaluations_of(places)
    figure = new_figure(2 * _PANEL + 2.6, (_PANEL + 0.5) * len(evaluations))
    parts = figure.subfigures(len(evaluations), 1, squeeze=False)[:, 0]
    for part, place in zip(parts, evaluations, strict=True):
        _row(part, part_of(places, place), place, tables["ranking"], settings)
    return figure


def _row(figure: Figure, cells: pd.DataFrame, place: Place, ranking: pd.DataFrame, settings: FigureSettings) -> None:
    labels = method_labels(ranking)
    names = list(dict.fromkeys(cells["name"]))
    best = best_method(ranking, place, names)
    shown = [name for name in dict.fromkeys([best, *BASELINES]) if name in names][:2]
    shown += [name for name in names if name not in shown][: 2 - len(shown)]
    looks = _looks(cells[cells["name"] == shown[0]]["label"])
    grid = figure.subplots(1, 2)
    for axes, name in zip(grid, shown, strict=False):
        _map(axes, cells[cells["name"] == name], looks)
        axes.set_title(labels.get(str(name), str(name)), fontsize=9, fontweight="normal")
    for axes in grid[len(shown) :]:
        axes.set_visible(False)
    handles = [
        Line2D([], [], linestyle="", marker=marker, color=colour, markersize=4, label=shortened(name))
        for name, (colour, marker) in looks.items()
    ]
    if len(shown) == 1:  # the legend takes the place of the second map
        grid[1].set_visible(True)
        grid[1].set_axis_off()
        grid[1].legend(handles=handles, loc="center left", fontsize=7)
    else:
        figure.legend(handles=handles, loc="outside right center", fontsize=7)
    figure.suptitle(place_title(place, settings), fontsize=9.5, x=0.01, ha="left", fontweight="bold")


def _looks(types: "pd.Series[str]") -> dict[str, tuple[str, str]]:
    """Colour and mark of every type, the most frequent first; those beyond twenty share light grey."""
    order = types.value_counts().index
    pairs = [(COLOURS[i % len(COLOURS)], MARKERS[i // len(COLOURS)]) for i in range(_TYPES)]
    looks = dict(zip(order, pairs, strict=False))
    return looks | ({"others": (LIGHT, "o")} if len(order) > _TYPES else {})


def _map(axes: Axes, cells: pd.DataFrame, looks: dict[str, tuple[str, str]]) -> None:
    """Dots as large as leaves a third of the panel free."""
    size = float(np.clip(0.25 * (72 * _PANEL) ** 2 / max(len(cells), 1), 1.5, 14))
    named = cells["label"].where(cells["label"].isin(list(looks)), "others")
    for name in [*(["others"] if "others" in looks else []), *(name for name in looks if name != "others")]:
        part, (colour, marker) = cells[named == name], looks[name]
        axes.scatter(part["x"], part["y"], s=size, color=colour, marker=marker, linewidth=0, alpha=0.8, rasterized=True)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)
