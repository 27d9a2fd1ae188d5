"""Classes on the Cell Ontology

Mean F1 of every type (rows) for every method (columns, best mean score first), beside the tree of the types in the Cell
Ontology; shares of the labels each have a panel. Grey terms only join types and are not classes themselves. Numbers on
the right: test cells, each counted once, however many fits test it. ∅: no training cell of any fit has the type; ◐:
none in some fits.
"""

from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.figure import Figure

from annobench.figures.shared.class_rows import TREE, draw_class_rows
from annobench.figures.shared.heat import colour_bar, heat, name_columns, name_rows, shares
from annobench.figures.shared.labels import method_labels, ordered_methods, shown_apart, tree_order, wrapped
from annobench.figures.shared.pages import in_rows
from annobench.figures.shared.settings import FigureSettings
from annobench.figures.shared.style import GREY, WIDEST, Tables, headline, new_figure
from annobench.figures.shared.trained import counted, explain, marks_of

TABLES = ("ranking", "classes", "trees", "splits")
ORDER = 70
_FIELD, _BESIDE, _ROW = 0.235, 0.4, 0.22  # inches: width of a column, numbers beside a panel, height of a row


def draw(tables: Tables, settings: FigureSettings) -> Figure | None:
    """Rows of panels: the tree of a dataset, then heat maps of its evaluations and shares of the labels."""
    methods, _ = ordered_methods(tables["ranking"], settings)
    labels = method_labels(tables["ranking"])
    classes, trees = tables["classes"], tables["trees"].fillna({"parent": ""})
    rows = []
    for dataset in (d for d in dict.fromkeys(tables["ranking"]["dataset"]) if d in set(trees["dataset"])):
        panels = [
            (wrapped(settings.evaluation_label((dataset, evaluation)), 24) + (f"\n{split}" if split else ""), part)
            for evaluation in dict.fromkeys(classes.loc[classes["dataset"] == dataset, "evaluation"])
            for split, part in shown_apart(classes, (dataset, evaluation), tables["splits"])
            if part["method"].isin(methods).any()
        ]
        widths = [_width(part, methods) for _, part in panels]
        rows += [(dataset, page) for page in in_rows(panels, widths, WIDEST - TREE - 0.8)]
    if not rows:
        return None
    orders = {dataset: tree_order(trees[trees["dataset"] == dataset]) for dataset, _ in rows}
    heights = [2.9 + _ROW * len(orders[dataset]) for dataset, _ in rows]
    wide = max(sum(_width(part, methods) for _, part in page) for _, page in rows)
    figure = new_figure(TREE + wide + 0.8, sum(heights))
    bands = figure.subfigures(len(rows), 1, squeeze=False, height_ratios=heights)[:, 0]
    shown: set[str] = set()
    for band, (dataset, page) in zip(bands, rows, strict=True):
        widths = [_width(part, methods) for _, part in page]
        rest = wide - sum(widths)
        grid = band.subplots(
            1,
            1 + len(page) + (rest > 0.3),
            squeeze=False,
            width_ratios=[TREE, *widths, *([rest] if rest > 0.3 else [])],
        )[0]
        for axes in grid[1 + len(page) :]:
            axes.set_visible(False)
        tree = trees[trees["dataset"] == dataset]
        draw_class_rows(grid[0], tree.set_index("label_id").loc[orders[dataset]])
        headline(band, settings.dataset_label(dataset))
        for axes, (title, part) in zip(grid[1:], page, strict=False):
            mesh = _draw(axes, part, orders[dataset], [m for m in methods if m in set(part["method"])], labels)
            axes.set_title(title, fontsize=9, fontweight="normal")
            shown |= set(marks_of(part, "label_id").values())
        colour_bar(band, mesh, list(grid), "F1")
    explain(figure, shown)
    return figure


def _width(part: pd.DataFrame, methods: Sequence[str]) -> float:
    """Inches of a panel."""
    return _BESIDE + _FIELD * part.loc[part["method"].isin(methods), "method"].nunique()


def _draw(axes: Axes, part: pd.DataFrame, order: list[str], methods: list[str], labels: dict[str, str]) -> QuadMesh:
    """One heat map, with the number of cells of every type on its right."""
    values = part.pivot(index="label_id", columns="method", values="f1").reindex(index=order, columns=methods)
    mesh = heat(axes, values, notes=shares(values), fontsize=5.5)
    cells, marks = part.groupby("label_id")["cells"].max(), marks_of(part, "label_id")
    axes.yaxis.tick_right()
    name_rows(axes, [counted(cells[c], marks[c]) if c in cells else "" for c in order])
    axes.tick_params(axis="y", colors=GREY, length=0)
    name_columns(axes, [labels[m] for m in methods], length=60)
    return mesh
