"""Maps of embeddings

UMAP of the tested cells of one split, at most 3,000, for the best-ranked method of every evaluation that gives labels:
coloured by true type, by predicted type, and the errors, where the two differ. Where no method gives labels: the
best-ranked method and its baseline by principal components, coloured by true type. Colours and marks are those of the
same type in all maps of an evaluation. Distances between groups, and their sizes, mean nothing; axes have no unit.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.lines import Line2D

from annobench.figures.shared.labels import best_method, evaluations_of, method_labels, part_of, place_title, wrapped
from annobench.figures.shared.settings import FigureSettings, Place
from annobench.figures.shared.short_names import shortened
from annobench.figures.shared.style import (
    COLOURS,
    LIGHT,
    Looks,
    PointLook,
    Tables,
    headline,
    legend_below,
    legend_rows,
    new_figure,
)

TABLES = ("places", "ranking")
NEEDS = ("embeddings",)
ORDER = 165
BASELINES = ("pca", "pca_train")
WRONG, RIGHT, OTHERS = "wrong", "right", "other types"
_PANEL = 3.3  # inches
_TYPES = 20  # with a colour and a mark of their own


@dataclass(frozen=True)
class Map:
    """One map: its title, the cells of a method, and the column by which they are coloured."""

    title: str
    cells: pd.DataFrame
    colour: str


def draw(tables: Tables, settings: FigureSettings) -> Figure | None:
    """A row of maps per evaluation."""
    places = tables["places"]
    if places.empty:
        return None
    rows = [
        (place, maps, _types(maps))
        for place in evaluations_of(places)
        if (maps := _maps(part_of(places, place), place, tables["ranking"]))
    ]
    width = 3 * _PANEL
    heights = [_PANEL + 0.75 + 0.19 * legend_rows([shortened(t) for t in types], width) for _, _, types in rows]
    figure = new_figure(width, sum(heights))
    bands = figure.subfigures(len(rows), 1, squeeze=False, height_ratios=heights)[:, 0]
    for band, (place, maps, types) in zip(bands, rows, strict=True):
        headline(band, place_title(place, settings))
        _row(band, maps, types)
    return figure


def _maps(cells: pd.DataFrame, place: Place, ranking: pd.DataFrame) -> list[Map]:
    """What is shown of an evaluation."""
    labels, names = method_labels(ranking), list(dict.fromkeys(cells["name"]))
    giving = [name for name in names if cells.loc[cells["name"] == name, "predicted"].notna().any()]
    best = str(best_method(ranking, place, giving or names))
    of_best, label = cells[cells["name"] == best], labels.get(best, best)
    truth = Map(f"True types\nby the embedding of: {label}", of_best, "label")
    if giving:
        wrong = of_best["label"] != of_best["predicted"]
        judged = of_best.assign(error=np.where(wrong, WRONG, RIGHT))
        return [
            truth,
            Map(f"Predicted types\n{label}", of_best, "predicted"),
            Map(f"Errors\n{100 * wrong.mean():.0f} % of {len(judged):,} cells", judged, "error"),
        ]
    other = next((name for name in [*BASELINES, *names] if name in names and name != best), None)
    baseline = Map(
        f"True types\nby the embedding of: {labels.get(str(other), other)}", cells[cells["name"] == other], "label"
    )
    return [truth, *([baseline] if other else [])]


def _types(maps: Sequence[Map]) -> list[str]:
    """True and predicted types, the most frequent first; all beyond twenty are one."""
    counts = pd.concat([one.cells[one.colour] for one in maps if one.colour != "error"]).dropna().value_counts()
    order = sorted(counts.index, key=lambda name: (-counts[name], name))
    return [*order[:_TYPES], *([OTHERS] if len(order) > _TYPES else [])]


def _row(band: SubFigure, maps: Sequence[Map], types: Sequence[str]) -> None:
    looks = Looks([name for name in types if name != OTHERS], [])
    points: dict[str, PointLook] = {name: looks.point(name) for name in types if name != OTHERS}
    if OTHERS in types:
        points = {OTHERS: {"color": LIGHT, "marker": "o"}, **points}  # below all others
    errors: dict[str, PointLook] = {RIGHT: {"color": LIGHT, "marker": "o"}, WRONG: {"color": COLOURS[1], "marker": "o"}}
    grid = band.subplots(1, 3)
    for axes, one in zip(grid, maps, strict=False):
        of_error = one.colour == "error"
        called = one.cells[one.colour].astype(object)
        groups = called if of_error else called.where(called.isin(list(points)), OTHERS)
        _draw(axes, one.cells.assign(group=groups), errors if of_error else points)
        axes.set_title(
            "\n".join(wrapped(line, 44) for line in one.title.split("\n")), fontsize=8.5, fontweight="normal"
        )
    for axes in grid[len(maps) :]:
        axes.set_visible(False)
    shown = [(shortened(name), points[name]) for name in types]
    if any(one.colour == "error" for one in maps):
        shown.append((f"error ({WRONG} type)", errors[WRONG]))
    legend_below(band, [Line2D([], [], linestyle="", markersize=4.5, label=name, **look) for name, look in shown])


def _draw(axes: Axes, cells: pd.DataFrame, looks: Mapping[str, PointLook]) -> None:
    """Dots as large as leaves a third of the panel free, the last of `looks` on top."""
    size = float(np.clip(0.25 * (72 * _PANEL) ** 2 / max(len(cells), 1), 1.5, 14))
    order = list(looks)
    rows = cells.assign(turn=cells["group"].map(order.index)).sort_values("turn", kind="stable")
    sns.scatterplot(
        rows, x="x", y="y", hue="group", style="group", hue_order=order, style_order=order, s=size, linewidth=0,
        palette={name: look["color"] for name, look in looks.items()}, alpha=0.8, legend=False, rasterized=True,
        markers={name: look["marker"] for name, look in looks.items()}, ax=axes,
    )  # fmt: skip
    axes.set(xticks=[], yticks=[], xlabel="UMAP 1", ylabel="UMAP 2")
    axes.xaxis.label.set_fontsize(7)
    axes.yaxis.label.set_fontsize(7)
