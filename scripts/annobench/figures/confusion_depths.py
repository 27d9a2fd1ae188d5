"""Confusion at several depths of the Cell Ontology

Share of the cells of each true node (rows) that the best-ranked method of the evaluation assigns to each node
(columns), over all its test sets; shares of the labels each have a row. Shares of 0.05 and more are written out. Labels
are replaced by the nodes that they lie below at a depth of the tree of all labels: 1 for its topmost nodes; the first
three depths that tell more nodes apart than the one before are shown. Errors that a panel no longer shows stay within a
branch. Numbers beside the nodes: test cells, each counted once, however many fits test it. ∅: no training cell of any
fit lies below the node; ◐: none in some fits.
"""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.figure import Figure

from annobench.figures.shared.heat import colour_bar, heat, name_columns, name_rows, shares
from annobench.figures.shared.labels import method_labels, place_title, shown_apart
from annobench.figures.shared.settings import FigureSettings
from annobench.figures.shared.short_names import shortened, text_width
from annobench.figures.shared.style import WIDEST, Tables, headline, new_figure
from annobench.figures.shared.trained import counted, explain, marks_of

TABLES = ("ranking", "confusion_depths", "splits")
ORDER = 51
_PANELS = 3  # depths that are shown, from the top
_NAMES, _LETTERS = 2.2, 32  # inches beside a matrix, and letters that fit there


def draw(tables: Tables, settings: FigureSettings) -> Figure | None:
    """One row of matrices per evaluation and share, one for every depth at which something is told apart."""
    ranking = tables["ranking"]
    labels = method_labels(ranking)
    best = ranking[(ranking["rank"] == 1) & (ranking["dataset"] != "all")]
    found = [
        (row, split, _matrices(part[part["method"] == row.method]))
        for row in best.itertuples()
        for split, part in shown_apart(tables["confusion_depths"], (row.dataset, row.evaluation), tables["splits"])
    ]
    rows = [(row, split, shown) for row, split, shown in found if shown]
    if not rows:
        return None
    most = max(sum(len(matrix.columns) for matrix in shown) for *_, shown in rows)
    field = min(0.29, (WIDEST - 0.8 - _PANELS * _NAMES) / most)  # side of a field, inches
    size = min(7.0, 32 * field)
    heights = [1.15 + max(_height(matrix, field, size) for matrix in shown) for *_, shown in rows]
    figure = new_figure(0.8 + _PANELS * _NAMES + field * most, sum(heights))
    bands = figure.subfigures(len(rows), 1, squeeze=False, height_ratios=heights)[:, 0]
    for band, (row, split, shown) in zip(bands, rows, strict=True):
        title = place_title((row.dataset, row.evaluation), settings)
        headline(band, ", ".join([title, *([split] if split else []), labels[row.method]]))
        rest = (figure.get_figwidth() - 0.8 - len(shown) * _NAMES) / field - sum(len(m.columns) for m in shown)
        ratios = [*(len(matrix.columns) for matrix in shown), *([rest] if rest > 1 else [])]
        grid = band.subplots(1, len(ratios), squeeze=False, width_ratios=ratios)[0]
        for axes in grid[len(shown) :]:
            axes.set_visible(False)
        mesh = [_draw(axes, matrix, field) for axes, matrix in zip(grid, shown, strict=False)][-1]
        colour_bar(band, mesh, list(grid), "share of the true node")
    explain(figure, {mark for *_, shown in rows for matrix in shown for mark in matrix.attrs["marks"].values()})
    return figure


def _height(matrix: pd.DataFrame, field: float, size: float) -> float:
    """Inches of a matrix with the names of its columns below it."""
    return field * len(matrix) + max(text_width(shortened(name, _LETTERS), size) for name in matrix.columns)


def _matrices(cells: pd.DataFrame) -> list[pd.DataFrame]:
    """Tests by true and predicted node, for the first depths that tell more nodes apart than the one before."""
    found: list[pd.DataFrame] = []
    for depth, part in cells.groupby("depth", sort=True):
        matrix = part.pivot_table(index="true_label", columns="predicted_label", values="n", aggfunc="sum").fillna(0)
        columns = [*matrix.index, *(c for c in matrix.columns if c not in matrix.index)]
        matrix = matrix.reindex(columns=columns, fill_value=0)
        if len(columns) > (len(found[-1].columns) if found else 1):
            matrix.attrs["depth"] = depth
            matrix.attrs["cells"] = part.groupby("true_label")["cells"].sum(min_count=1).to_dict()
            matrix.attrs["marks"] = marks_of(part, "true_label")
            found.append(matrix)
    return found[:_PANELS]


def _draw(axes: Axes, matrix: pd.DataFrame, field: float) -> QuadMesh:
    share = matrix.div(matrix.sum(axis=1), axis=0)
    mesh = heat(axes, share, notes=shares(share, 0.05), fontsize=min(6.5, 22 * field), square=True)
    axes.set_anchor("NW")
    cells, marks, size = matrix.attrs["cells"], matrix.attrs["marks"], min(7.0, 32 * field)
    name_columns(axes, list(share.columns), length=_LETTERS, fontsize=size)
    rows = [f"{shortened(name, _LETTERS)} ({counted(cells[name], marks[name])})" for name in share.index]
    name_rows(axes, rows, fontsize=size)
    axes.set_title(f"depth {matrix.attrs['depth']}", fontsize=9, fontweight="normal")
    axes.set_xlabel("predicted", fontsize=8)
    axes.set_ylabel("true (cells)", fontsize=8)
    return mesh
