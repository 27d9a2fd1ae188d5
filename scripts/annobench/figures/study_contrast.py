"""Differences per study

Difference in macro F1 (descendant rule, classes that the study has) for every study of the newer release, the mean
over runs, with its bootstrap interval where there is one. Studies are ordered by the difference of the MLP, or of the
first model where there is no MLP. Filled: significant over runs after Holm's correction over the studies.
"""

import pandas as pd
from matplotlib.figure import Figure

from annobench.figures.shared.labels import wrapped
from annobench.figures.shared.releases import (
    SCORE,
    Block,
    blocks_of,
    contrast_label,
    forest,
    numbers_of,
    primary_contrast,
    significance_handles,
    subtitle,
    with_zero,
    zero_line,
)
from annobench.figures.shared.settings import FigureSettings, ReleaseSettings
from annobench.figures.shared.short_names import shortened
from annobench.figures.shared.style import COLOURS, GREY, Tables, direction, light_rows, new_figure

TABLES = ("contrasts",)
REGIMES = ("release",)
NEEDS = ("contrasts",)
ORDER = 240


def draw(tables: Tables, settings: FigureSettings) -> Figure | None:
    """Studies in rows, models in columns; datasets below each other."""
    blocks = blocks_of(tables["contrasts"], settings, "study", SCORE)
    if not blocks:
        return None
    heights = [1.1 + 0.19 * block.differences["group"].nunique() for block in blocks]
    widest = max(len(block.contrasts) for block in blocks)
    figure = new_figure(max(2.6 + 2.4 * widest, 6.5), 0.4 + sum(heights))
    parts = figure.subfigures(len(blocks), 1, squeeze=False, height_ratios=heights)[:, 0]
    for page, block in zip(parts, blocks, strict=True):
        page.suptitle(wrapped(subtitle(block.place, settings), 30 + 30 * widest), fontsize=9, x=0.01, ha="left")
        grid = page.subplots(1, widest, sharex=True, sharey=True, squeeze=False)[0]
        order = _order(block, settings.of_release)
        for axes in grid[len(block.contrasts) :]:
            axes.set_visible(False)
        for axes, contrast in zip(grid, block.contrasts, strict=False):
            mine = block.of(contrast).drop_duplicates("group")
            light_rows(axes, [-i for i in range(len(order))])
            zero_line(axes)
            forest(axes, mine, [-order.index(group) for group in mine["group"]], settings, COLOURS[0], size=4.5)
            for group in set(order) - set(mine["group"]):
                axes.text(0, -order.index(group), "–", ha="center", va="center", color=GREY)
            with_zero(axes, numbers_of(block.shown))
            axes.set_title(contrast_label(contrast, settings.of_release), fontsize=9, pad=13)
            axes.set_xlabel("difference in macro F1")
            axes.locator_params(axis="x", nbins=5)
            direction(axes, higher_is_better=True)
        labels = block.differences.drop_duplicates("group").set_index("group")["group_label"]
        names = [str(labels[group] if pd.notna(labels[group]) else group) for group in order]
        texts = [shortened(settings.dataset_label(name), 46) for name in names]  # a study may be a dataset
        grid[0].set_yticks([-i for i in range(len(order))], texts, fontsize=7.5)
        grid[0].set_ylim(-len(order) + 0.4, 0.6)
    handles = significance_handles(COLOURS[0], settings.of_release.level)
    figure.legend(handles=handles, loc="outside lower left", ncols=2)
    return figure


def _order(block: Block, release: ReleaseSettings) -> list[str]:
    """Studies by the difference of the primary contrast; those that it does not have come last, by name."""
    first = block.of(primary_contrast(block.contrasts, release)).drop_duplicates("group")
    order = list(first.sort_values("difference", ascending=False, kind="stable")["group"])
    return order + sorted(set(block.differences["group"]) - set(order))
