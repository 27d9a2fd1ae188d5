"""Top genes of every type

Mean expression, standardised over the types, of the genes with the highest Wilcoxon scores of each type (rows, grouped
by type) in all types (columns): for the true labels, and for the labels of the best-ranked method, in one evaluation.
Of many types only the first genes of each are shown, as many as is said above. Types of fewer than ten cells are left
out. A block off the diagonal is a type that shares its genes with another. A method that invents a type divides the
genes just as cleanly.
"""

from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.figure import Figure

from annobench.figures.shared.heat import colour_bar, heat, name_columns, name_rows
from annobench.figures.shared.labels import (
    best_method,
    chosen_evaluation,
    label_of,
    method_labels,
    part_of,
    place_title,
    wrapped,
)
from annobench.figures.shared.settings import FigureSettings
from annobench.figures.shared.short_names import shortened
from annobench.figures.shared.style import DIVERGING, WIDEST, Tables, clean_axes, headline, new_figure

TABLES = ("degs", "ranking")
NEEDS = ("markers",)
ORDER = 130
_LIMIT = 2.5
_ROWS = 64  # genes of all types together; more cannot be read


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
    labels = method_labels(tables["ranking"])
    order = _type_order(part, shown)
    grids = [_grid(part[part["name"] == name], order) for name in shown]
    most = max(len(grid.columns) for grid in grids)
    height = 2.2 + 0.125 * max(len(grid) for grid in grids)
    field = min(0.26, ((WIDEST - 0.9) / len(shown) - 2.9) / most)  # width of a column, inches
    figure = new_figure(0.9 + len(shown) * (2.9 + field * most), height)
    panels = figure.subplots(1, len(shown), squeeze=False)[0]
    for axes, name, grid in zip(panels, shown, grids, strict=True):
        mesh = _panel(axes, grid)
        axes.set_title(wrapped(label_of(name, labels), 40), fontsize=9)
    genes = max(int(grid.groupby(level=0).size().max()) for grid in grids)
    headline(figure, f"{place_title(place, settings)} ({genes} genes of each type)")
    colour_bar(figure, mesh, list(panels), "standardised mean expression", inches=2.0)
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
    most = max(1, _ROWS // max(1, len(columns)))
    rows = [row for label in order for row in [row for row in table.index if row[0] == label][:most]]
    return table.reindex(index=pd.MultiIndex.from_tuples(rows), columns=columns)


def _panel(axes: Axes, grid: pd.DataFrame) -> QuadMesh:
    """One heat map: types on the left, their genes on the right."""
    mesh = heat(axes, grid, limits=(-_LIMIT, _LIMIT), colours=DIVERGING, gap=0)
    groups = [label for label, _ in grid.index]
    starts = [i for i, label in enumerate(groups) if i == 0 or groups[i - 1] != label]
    middles = [(a + b) / 2 for a, b in zip(starts, [*starts[1:], len(groups)], strict=True)]
    for start in starts[1:]:
        axes.axhline(start, color="white", linewidth=1.5)
    name_columns(axes, [str(c) for c in grid.columns], length=30)
    right = axes.secondary_yaxis("right")
    right.set_yticks([i + 0.5 for i in range(len(groups))], [gene for _, gene in grid.index], fontsize=6)
    clean_axes(right)
    name_rows(axes, [""] * len(groups))
    axes.set_yticks(middles, [shortened(groups[start], 30) for start in starts])
    return mesh
