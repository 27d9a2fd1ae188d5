"""What the gain of a class correlates with

Difference in F1 (descendant rule) of every class out of distribution against its numbers in the training cells:
cells, and studies, tissues and assays where the classes differ in them. Filled: significant over runs after Holm's
correction. ρ: Spearman's rank correlation over the classes; it describes and does not test, because related classes
are not independent.
"""

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

from annobench.figures.shared.labels import wrapped
from annobench.figures.shared.releases import (
    Block,
    blocks_of,
    contrast_label,
    fitted_of,
    significance_handles,
    significant,
    subtitle,
    zero_line,
)
from annobench.figures.shared.settings import FigureSettings
from annobench.figures.shared.style import COLOURS, Tables, headline, legend_below, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import SubFigure
    from numpy.typing import NDArray

TABLES = ("contrasts", "nodes")
REGIMES = ("release",)
NEEDS = ("contrasts",)
ORDER = 230
PROPERTIES = {
    "train_cells": "training cells",
    "train_studies": "studies",
    "train_tissues": "tissues",
    "train_assays": "assays",
}


def draw(tables: Tables, settings: FigureSettings) -> Figure | None:
    """Models in rows, properties in columns; datasets below each other."""
    rows = []
    for block in blocks_of(tables["contrasts"], settings, "class"):
        nodes = fitted_of(tables["nodes"], block.place).drop_duplicates("label_id").set_index("label_id")
        if block.differences["group"].isin(nodes.index).any():
            rows.append((block, nodes))
    if not rows:
        return None
    heights = [0.5 + 1.75 * len(block.contrasts) for block, _ in rows]
    widest = max(len(_shown(block, nodes)) for block, nodes in rows)
    figure = new_figure(max(0.6 + 2.8 * widest, 7.0), 0.4 + sum(heights))
    parts = figure.subfigures(len(rows), 1, squeeze=False, height_ratios=heights)[:, 0]
    for page, (block, nodes) in zip(parts, rows, strict=True):
        _page(page, block, nodes, settings, widest)
    handles = significance_handles(COLOURS[0], settings.of_release.level)
    legend_below(figure, handles)
    return figure


def _known(block: Block, nodes: pd.DataFrame) -> pd.DataFrame:
    """The classes of a dataset that have a difference."""
    return nodes.reindex([group for group in block.differences["group"].unique() if group in nodes.index])


def _shown(block: Block, nodes: pd.DataFrame) -> list[str]:
    """Properties in which the classes of a dataset differ."""
    known = _known(block, nodes)
    return [key for key in PROPERTIES if key == "train_cells" or known[key].nunique() > 1]


def _page(page: "SubFigure", block: Block, nodes: pd.DataFrame, settings: FigureSettings, widest: int) -> None:
    """One dataset."""
    headline(page, wrapped(subtitle(block.place, settings, "ood"), 25 + 30 * widest))
    grid = page.subplots(len(block.contrasts), widest, sharex="col", sharey=True, squeeze=False)
    known, shown = _known(block, nodes), _shown(block, nodes)
    for axes in grid[:, len(shown) :].ravel():  # the same for all classes: nothing to see
        axes.set_visible(False)
    for axes_row, contrast in zip(grid, block.contrasts, strict=True):
        mine = block.of(contrast).drop_duplicates("group")
        mine = mine[mine["group"].isin(nodes.index)]
        for axes, key in zip(axes_row, shown, strict=False):
            _panel(axes, nodes[key].reindex(mine["group"]).to_numpy(dtype=float), mine, settings)
        label = contrast_label(contrast, settings.of_release)
        axes_row[0].set_ylabel(f"{label}\ndifference in F1", fontsize=8)
    for axes, key in zip(grid[-1], shown, strict=False):
        axes.set_xlabel(PROPERTIES[key])
        _scale(axes, known[key].to_numpy(dtype=float))


def _panel(axes: Axes, x: "NDArray[np.float64]", mine: pd.DataFrame, settings: FigureSettings) -> None:
    """Differences against one property, and their rank correlation."""
    zero_line(axes, vertical=False)
    y, sure = mine["difference"].to_numpy(dtype=float), significant(mine, settings)
    sns.scatterplot(
        x=x, y=y, hue=sure, palette={True: COLOURS[0], False: "white"}, s=16, edgecolor=COLOURS[0], linewidth=0.8,
        legend=False, ax=axes, zorder=2,
    )  # fmt: skip
    known = np.isfinite(x) & np.isfinite(y)
    if known.sum() > 2 and len(set(x[known])) > 1 and len(set(y[known])) > 1:
        rho = pd.Series(x[known]).rank().corr(pd.Series(y[known]).rank())
        text = f"ρ = {rho:+z.2f}".replace("-", "\N{MINUS SIGN}") + f", n = {known.sum()}"
        axes.set_title(text, fontsize=7.5, loc="right", fontweight="normal", pad=2)


def _scale(axes: Axes, values: "NDArray[np.float64]") -> None:
    """Logarithmic where the values span more than a decade; whole numbers where they are few."""
    known = values[np.isfinite(values) & (values > 0)]
    if len(known) and known.max() >= 20 * known.min():
        axes.set_xscale("log")
        wide = known.max() > 100 * known.min()
        axes.xaxis.set_major_locator(LogLocator(subs=(1,) if wide else (1, 2, 5), numticks=5))
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axes.xaxis.set_minor_formatter(NullFormatter())
    elif len(known) and known.max() == known.min():
        axes.set_xlim(known[0] - 1, known[0] + 1)
        axes.set_xticks([known[0]], [f"{known[0]:g}"])
    else:
        axes.locator_params(axis="x", integer=True, nbins=6)
