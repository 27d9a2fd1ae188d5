"""Confusion at several depths of the Cell Ontology

Share of the cells of each true node (rows) that the best-ranked method of the evaluation assigns to each node
(columns), over all its test sets; shares of the labels each have a row. Labels are replaced by the nodes that they lie
below at a depth of the tree of all labels: 1 for its topmost nodes. Errors that a panel no longer shows stay within a
branch. Numbers: test cells, each counted once, however many fits test it.
"""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from annobench.figures.shared.labels import evaluation_title, method_labels, shown_apart
from annobench.figures.shared.settings import FigureSettings
from annobench.figures.shared.short_names import shortened
from annobench.figures.shared.style import SEQUENTIAL, Tables, clean_axes, new_figure
from annobench.figures.shared.trained import counted

TABLES = ("ranking", "confusion_depths", "splits")
ORDER = 51
_PANELS = 3  # depths that are shown, from the top


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
    widths = [max(len(shown[i].columns) if i < len(shown) else 1 for *_, shown in rows) for i in range(_PANELS)]
    heights = [max(len(matrix) for matrix in shown) for *_, shown in rows]
    figure = new_figure(sum(2.2 + 0.3 * width for width in widths), sum(2.4 + 0.3 * height for height in heights))
    bands = figure.subfigures(len(rows), 1, squeeze=False, height_ratios=heights)[:, 0]
    for band, (row, split, shown) in zip(bands, rows, strict=True):
        # above the whole row: over the narrow first matrix it would reach into the next one
        title = evaluation_title((row.dataset, row.evaluation), settings).replace("\n", ", ")
        band.suptitle(
            ", ".join([title, *([split] if split else []), labels[row.method]]), x=0.01, ha="left", fontweight="bold"
        )
        grid = band.subplots(1, _PANELS, width_ratios=widths)
        for number, axes in enumerate(grid):
            if number >= len(shown):
                axes.set_visible(False)
                continue
            image = _draw_matrix(axes, shown[number])
            axes.set_title(f"depth {shown[number].attrs['depth']}")
        bar = band.colorbar(image, ax=list(grid), shrink=0.6, pad=0.01, label="share of the true node")
        bar.outline.set_visible(False)
    return figure


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
            found.append(matrix)
    return found[:_PANELS]


def _draw_matrix(axes: Axes, matrix: pd.DataFrame) -> AxesImage:
    share = matrix.div(matrix.sum(axis=1), axis=0)
    image = axes.imshow(share, cmap=SEQUENTIAL, vmin=0, vmax=1)
    axes.set_xticks(range(len(share.columns)), [shortened(name) for name in share.columns], rotation=90)
    cells = matrix.attrs["cells"]
    axes.set_yticks(range(len(share)), [f"{shortened(name)} ({counted(cells[name])})" for name in share.index])
    axes.tick_params(labelsize=7)
    clean_axes(axes)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true (cells)")
    return image
