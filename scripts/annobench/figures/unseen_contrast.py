"""Seen and unseen tissues, diseases and datasets

Cells of the newer release, divided by whether any training cell has their tissue, or their disease. Left of each
pair: macro F1 (descendant rule, classes that the cells have) under both losses. Right: the difference with its
interval over donors, where at least three donors have such cells and no others. Where the newer release republishes
datasets of the older one, cells of these and of all others are shown too. Filled: significant over runs after Holm's
correction. The classes of two groups differ, so the rows of a panel compare losses, not groups.
"""

from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from annobench.figures.shared.labels import wrapped
from annobench.figures.shared.releases import (
    SCORE,
    SCORE_NAME,
    blocks_of,
    contrast_label,
    forest,
    legend_points,
    loss_look,
    numbers_of,
    significance_handles,
    subtitle,
    with_zero,
    zero_line,
)
from annobench.figures.shared.settings import FigureSettings, ReleaseMethod
from annobench.figures.shared.style import GREY, Tables, direction, light_rows, new_figure

TABLES = ("contrasts",)
REGIMES = ("release",)
NEEDS = ("contrasts",)
ORDER = 250
GROUPS = {
    ("seen_tissue", "seen"): "tissue seen",
    ("seen_tissue", "unseen"): "tissue unseen",
    ("seen_disease", "seen"): "disease seen",
    ("seen_disease", "unseen"): "disease unseen",
    ("republished", "true"): "published again",
    ("republished", "false"): "not published before",
}


def draw(tables: Tables, settings: FigureSettings) -> Figure | None:
    """Seen and unseen in rows, two panels per model; datasets below each other."""
    contrasts, release = tables["contrasts"], settings.of_release
    pairs = pd.MultiIndex.from_frame(contrasts[["level", "group"]])
    levels = sorted({level for level, _ in GROUPS})
    blocks = blocks_of(contrasts[pairs.isin(list(GROUPS))], settings, levels, SCORE)
    if not blocks:
        return None
    orders = [_order(block.differences) for block in blocks]
    heights = [0.35 + len(b.contrasts) * (0.95 + 0.24 * len(order)) for b, order in zip(blocks, orders, strict=True)]
    figure = new_figure(8.2, 0.5 + sum(heights))
    parts = figure.subfigures(len(blocks), 1, squeeze=False, height_ratios=heights)[:, 0]
    for page, block, order in zip(parts, blocks, orders, strict=True):
        page.suptitle(wrapped(subtitle(block.place, settings), 115), fontsize=9, x=0.01, ha="left")
        grid = page.subplots(len(block.contrasts), 2, sharex="col", sharey=True, squeeze=False, width_ratios=[1, 1.15])
        for (left, right), contrast in zip(grid, block.contrasts, strict=True):
            mine = block.of(contrast)
            mine = mine.assign(y=[-order.index(key) for key in zip(mine["level"], mine["group"], strict=True)])
            base, method = release.method(contrast.base), release.method(contrast.method)
            for axes in (left, right):
                light_rows(axes, [-i for i in range(len(order))])
            _values(left, mine, base, method)
            zero_line(right)
            forest(right, mine, list(mine["y"]), settings, loss_look(method)["color"])
            left.set_title(contrast_label(contrast, release), fontsize=9)
            direction(right, higher_is_better=True)
        with_zero(grid[0, 1], numbers_of(block.differences))
        grid[0, 0].set_yticks([-i for i in range(len(order))], _labels(block.differences, order))
        grid[0, 0].set_ylim(-len(order) + 0.4, 0.6)
        grid[-1, 0].set_xlabel(SCORE_NAME)
        grid[-1, 1].set_xlabel("difference")
    first = blocks[0].contrasts[0]
    handles = legend_points([release.method(first.base), release.method(first.method)])
    handles += significance_handles(loss_look(release.method(first.method))["color"], release.level)
    figure.legend(handles=handles, loc="outside lower left", ncols=4)
    return figure


def _order(part: pd.DataFrame) -> list[tuple[str, str]]:
    """Level and group of every row, in the order of `GROUPS`."""
    present = set(zip(part["level"], part["group"], strict=True))
    return [pair for pair in GROUPS if pair in present]


def _labels(part: pd.DataFrame, order: Sequence[tuple[str, str]]) -> list[str]:
    cells = part.drop_duplicates(["level", "group"]).set_index(["level", "group"])["n_cells"]
    return [GROUPS[pair] + (f" ({int(cells[pair]):,} cells)" if pd.notna(cells[pair]) else "") for pair in order]


def _values(axes: Axes, mine: pd.DataFrame, base: ReleaseMethod, method: ReleaseMethod) -> None:
    """Both losses in every row, joined."""
    for row in mine.itertuples():
        axes.plot([row.base_value, row.value], [row.y, row.y], color=GREY, linewidth=1.2, zorder=1)
    for one, column in ((base, "base_value"), (method, "value")):
        axes.plot(mine[column], mine["y"], linestyle="", markersize=5, markeredgewidth=0, zorder=3, **loss_look(one))
    axes.margins(x=0.1)
    axes.locator_params(axis="x", nbins=5)
