"""Cells from tissues and diseases that the training cells never had: does the loss help there too?"""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from annobench.figures.shared.labels import direction, wrapped
from annobench.figures.shared.releases import (
    SCORE,
    SCORE_NAME,
    colour_of,
    contrast_name,
    forest,
    light_rows,
    loss_name,
    marker_of,
    rows_of,
    significance_handles,
    subtitle,
    with_zero,
    zero_line,
)
from annobench.figures.shared.style import GREY, new_figure

TABLES = ["contrasts"]
REGIMES = ("release",)
NEEDS = "contrasts"
TITLE = "Seen and unseen tissues, diseases and datasets"
CAPTION = (
    "Cells of the newer release, divided by whether any training cell has their tissue, or their disease. Left of each "
    "pair: macro F1 (descendant rule, classes that the cells have) under both losses; right: the difference with its "
    "interval over donors, where three or more have such cells and no others. Where the newer release published "
    "datasets of the older one again, so are cells of these and of all others. Filled: significant over runs after "
    "Holm's correction. The classes of two groups are not the same, so rows of one panel compare losses, not groups."
)
GROUPS = {
    ("seen_tissue", "seen"): "tissue seen",
    ("seen_tissue", "unseen"): "tissue unseen",
    ("seen_disease", "seen"): "disease seen",
    ("seen_disease", "unseen"): "disease unseen",
    ("republished", "true"): "published again",
    ("republished", "false"): "not published before",
}


def draw(tables: Mapping[str, pd.DataFrame], settings: Mapping[str, Any]) -> Figure | None:
    """Seen and unseen in rows, two panels per model; datasets below each other."""
    contrasts = tables["contrasts"]
    pairs = pd.MultiIndex.from_frame(contrasts[["level", "group"]])
    rows = rows_of(contrasts[pairs.isin(list(GROUPS))], settings, sorted({level for level, _ in GROUPS}), SCORE)
    if not rows:
        return None
    heights = [0.35 + len(named) * (0.95 + 0.24 * len(_order(part))) for _, part, named in rows]
    figure = new_figure(8.2, 0.5 + sum(heights))
    parts = figure.subfigures(len(rows), 1, squeeze=False, height_ratios=heights)[:, 0]
    for page, (place, part, named) in zip(parts, rows, strict=True):
        page.suptitle(wrapped(subtitle(place, settings), 115), fontsize=9, x=0.01, ha="left")
        grid = page.subplots(len(named), 2, sharex="col", sharey=True, squeeze=False, width_ratios=[1, 1.15])
        order = _order(part)
        for pair, (name, base, method) in zip(grid, named, strict=True):
            mine = part[part["contrast"] == name]
            mine = mine.assign(y=[-order.index(key) for key in zip(mine["level"], mine["group"], strict=True)])
            _values(pair[0], mine, base, method, settings, len(order))
            light_rows(pair[1], [-i for i in range(len(order))])
            zero_line(pair[1])
            forest(pair[1], mine, list(mine["y"]), settings, colour_of(settings, method))
            pair[0].set_title(contrast_name(settings, base, method), fontsize=9)
            direction(pair[1], True)
        with_zero(grid[0, 1], part[["low", "high", "difference"]].to_numpy(dtype=float).ravel())
        grid[0, 0].set_yticks([-i for i in range(len(order))], _labels(part, order))
        grid[0, 0].set_ylim(-len(order) + 0.4, 0.6)
        grid[-1, 0].set_xlabel(SCORE_NAME)
        grid[-1, 1].set_xlabel("difference")
    first = rows[0][2][0]
    handles = [
        Line2D([], [], linestyle="", markersize=5, color=colour_of(settings, m), marker=marker_of(settings, m),
               label=loss_name(settings, m))
        for m in first[1:]
    ]  # fmt: skip
    handles += significance_handles(colour_of(settings, first[2]), settings["release"]["confidence"])
    figure.legend(handles=handles, loc="outside lower left", ncols=4)
    return figure


def _order(part: pd.DataFrame) -> list[tuple[str, str]]:
    """Level and group of every row, in the order of `GROUPS`."""
    found = set(zip(part["level"], part["group"], strict=True))
    return [pair for pair in GROUPS if pair in found]


def _labels(part: pd.DataFrame, order: Sequence[tuple[str, str]]) -> list[str]:
    cells = part.drop_duplicates(["level", "group"]).set_index(["level", "group"])["n_cells"]
    return [GROUPS[pair] + (f" ({int(cells[pair]):,} cells)" if pd.notna(cells[pair]) else "") for pair in order]


def _values(axes: Axes, mine: pd.DataFrame, base: str, method: str, settings: Mapping[str, Any], rows: int) -> None:
    """Both losses in every row, joined."""
    light_rows(axes, [-i for i in range(rows)])
    for row in mine.itertuples():
        axes.plot([row.base_value, row.value], [row.y, row.y], color=GREY, linewidth=1.2, zorder=1)
    for name, column in ((base, "base_value"), (method, "value")):
        axes.plot(
            mine[column], mine["y"], linestyle="", marker=marker_of(settings, name), color=colour_of(settings, name),
            markersize=5, markeredgewidth=0, zorder=3,
        )  # fmt: skip
    axes.margins(x=0.1)
    axes.locator_params(axis="x", nbins=5)
