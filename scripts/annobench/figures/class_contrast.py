"""Differences per class

Difference in F1 (descendant rule) of every class out of distribution, the mean over runs, sorted separately for every
model: red where the hierarchical loss is better, blue where cross-entropy is better. Lines: bootstrap over studies
(else donors, else cells). Filled: significant over runs after Holm's correction over the classes.
"""

from collections.abc import Mapping

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from annobench.figures.shared.labels import wrapped
from annobench.figures.shared.releases import (
    blocks_of,
    contrast_label,
    forest,
    numbers_of,
    significance_handles,
    significant,
    subtitle,
    with_zero,
    zero_line,
)
from annobench.figures.shared.settings import FigureSettings
from annobench.figures.shared.short_names import short_names
from annobench.figures.shared.style import COLOURS, Tables, light_rows, new_figure

TABLES = ("contrasts",)
REGIMES = ("release",)
NEEDS = ("contrasts",)
ORDER = 200
BETTER, WORSE = COLOURS[1], COLOURS[0]
_ROW = 0.135


def draw(tables: Tables, settings: FigureSettings) -> Figure | None:
    """A panel per model; datasets below each other."""
    blocks = blocks_of(tables["contrasts"], settings, "class")
    if not blocks:
        return None
    heights = [1.0 + max(0.6, _ROW * block.differences["group"].nunique()) for block in blocks]
    widest = max(len(block.contrasts) for block in blocks)
    figure = new_figure(max(4.2 * widest, 6.5), 0.4 + sum(heights))
    parts = figure.subfigures(len(blocks), 1, squeeze=False, height_ratios=heights)[:, 0]
    for page, block in zip(parts, blocks, strict=True):
        page.suptitle(wrapped(subtitle(block.place, settings, "ood"), 40 * widest), fontsize=9, x=0.01, ha="left")
        grid = page.subplots(1, widest, sharex=True, squeeze=False)[0]
        for axes in grid[len(block.contrasts) :]:
            axes.set_visible(False)
        names = _names(block.differences)
        for axes, contrast in zip(grid, block.contrasts, strict=False):
            mine = block.of(contrast).drop_duplicates("group")
            _panel(axes, mine.sort_values("difference", ascending=False, kind="stable"), names, settings)
            axes.set_title(contrast_label(contrast, settings.of_release), fontsize=9)
            with_zero(axes, numbers_of(block.shown))
    handles = significance_handles("black", settings.of_release.level)
    figure.legend(handles=handles, loc="outside lower left", ncols=2)
    return figure


def _names(part: pd.DataFrame) -> dict[str, str]:
    one = part.drop_duplicates("group")
    labels = one["group_label"].where(one["group_label"].notna(), one["group"]).astype(str)
    return dict(zip(one["group"], short_names(list(labels), 41), strict=True))


def _panel(axes: Axes, mine: pd.DataFrame, names: Mapping[str, str], settings: FigureSettings) -> None:
    heights = [-i for i in range(len(mine))]
    light_rows(axes, heights)
    zero_line(axes)
    for positive, colour in ((True, BETTER), (False, WORSE)):
        chosen = ((mine["difference"] >= 0) == positive).to_numpy()
        ys = [y for y, mark in zip(heights, chosen, strict=True) if mark]
        forest(axes, mine[chosen], ys, settings, colour, size=3.6)
    axes.set_yticks(heights, [names[group] for group in mine["group"]], fontsize=6.5)
    axes.set_ylim(-len(mine) + 0.4, 0.6)
    axes.locator_params(axis="x", nbins=6)
    better, sure = mine["difference"] > 0, significant(mine, settings)
    axes.set_xlabel(
        f"difference in F1\nbetter: {better.sum()} of {len(mine)} ({(better & sure).sum()} significant),"
        f" worse: {(mine['difference'] < 0).sum()} ({((mine['difference'] < 0) & sure).sum()})",
        fontsize=7.5,
    )
