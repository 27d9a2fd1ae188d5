"""Top genes of every type

Mean expression, standardised over the types, of the genes with the highest Wilcoxon scores of each type (rows,
grouped by type) in all types (columns): for the true labels, and for the labels of the best-ranked method. Types of
fewer than ten cells are left out. A block off the diagonal is a type that shares its genes with another. A method
that invents a type divides the genes just as cleanly.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from annobench.figures.shared.labels import best_method, chosen_evaluation, method_labels, part_of, place_title
from annobench.figures.shared.settings import FigureSettings
from annobench.figures.shared.short_names import shortened
from annobench.figures.shared.style import Tables, clean_axes, new_figure

TABLES = ("degs", "ranking")
NEEDS = ("markers",)
ORDER = 130
_COLOURS = "PuOr_r"
_LIMIT = 2.5


def draw(tables: Tables, settings: FigureSettings) -> Figure | None:
    """The truth (where it is known) beside the best method, of one evaluation."""
    degs = tables["degs"].dropna(subset=["value"])
    if degs.empty:
        return None
    methods = degs[degs["name"] != "oracle"]
    place = chosen_evaluation(methods if len(methods) else degs, settings)
    part = part_of(degs, place)
    best = best_method(tables["ranking"], place, (n for n in part["name"] if n != "oracle"))
    shown = [name for name in ("oracle", best) if name and name in set(part["name"])]
    labels = method_labels(tables["ranking"]) | {"oracle": "The truth"}
    grids = [_grid(part[part["name"] == name], _type_order(part, shown)) for name in shown]
    rows, columns = max(len(g) for g in grids), [len(g.columns) for g in grids]
    height = 1.6 + max(0.115 * rows, 2.0)
    figure = new_figure(1.2 + sum(2.5 + 0.2 * n for n in columns), height)
    panels = figure.subplots(1, len(shown), squeeze=False, width_ratios=columns)[0]
    for axes, name, grid in zip(panels, shown, grids, strict=True):
        image = _panel(axes, grid)
        axes.set_title(labels.get(name, name), fontsize=9)
    figure.suptitle(place_title(place, settings), fontsize=9, x=0.01, ha="left")
    bar = figure.colorbar(image, ax=list(panels), shrink=min(1.0, 2.2 / height), pad=0.01, aspect=15)
    bar.set_label("standardised mean expression", fontsize=8)
    bar.outline.set_visible(False)
    return figure


def _type_order(part: pd.DataFrame, shown: Sequence[str]) -> list[str]:
    """Types of the truth, then those that only the method has, each by name."""
    types: list[str] = []
    for name in shown:
        types += sorted(set(part.loc[part["name"] == name, "label"]) - set(types))
    return types


def _grid(part: pd.DataFrame, order: Sequence[str]) -> pd.DataFrame:
    """Genes, grouped by type, times types."""
    columns = [label for label in order if label in set(part["label"])]
    table = part.pivot_table(index=["gene_of_label", "gene"], columns="label", values="value", sort=False)
    rows = [row for label in order for row in table.index if row[0] == label]
    return table.reindex(index=pd.MultiIndex.from_tuples(rows), columns=columns)


def _panel(axes: Axes, grid: pd.DataFrame) -> AxesImage:
    """One heat map: types on the left, their genes on the right."""
    image = axes.imshow(
        np.ma.masked_invalid(grid.to_numpy(dtype=float)), cmap=_COLOURS, vmin=-_LIMIT, vmax=_LIMIT, aspect="auto",
        interpolation="nearest",
    )  # fmt: skip
    groups = [label for label, _ in grid.index]
    starts = [i for i, label in enumerate(groups) if i == 0 or groups[i - 1] != label]
    middles = [(a + b - 1) / 2 for a, b in zip(starts, [*starts[1:], len(groups)], strict=True)]
    for start in starts[1:]:
        axes.axhline(start - 0.5, color="white", linewidth=1.5)
    axes.set_yticks(middles, [shortened(groups[start], 26) for start in starts], fontsize=7)
    right = axes.secondary_yaxis("right")
    right.set_yticks(range(len(groups)), [gene for _, gene in grid.index], fontsize=5.5)
    clean_axes(right)
    axes.set_xticks(range(len(grid.columns)), [shortened(c, 26) for c in grid.columns], rotation=90, fontsize=7)
    clean_axes(axes)
    return image
