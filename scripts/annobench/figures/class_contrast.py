"""Which classes gain and which lose by the hierarchical loss."""

from collections.abc import Mapping
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from annobench.figures.shared.labels import wrapped
from annobench.figures.shared.releases import (
    contrast_name,
    forest,
    light_rows,
    rows_of,
    significance_handles,
    significant,
    subtitle,
    with_zero,
    zero_line,
)
from annobench.figures.shared.short_names import short_names
from annobench.figures.shared.style import COLOURS, new_figure

TABLES = ["contrasts"]
REGIMES = ("release",)
NEEDS = "contrasts"
TITLE = "Differences per class"
CAPTION = (
    "Difference in F1 (descendant rule) of every class out of distribution, the mean over runs, sorted for every model "
    "by itself; red where the hierarchical loss is better, blue where cross-entropy is. Lines: bootstrap over studies "
    "(else donors, else cells). Filled: significant over runs after Holm's correction over the classes."
)
BETTER, WORSE = COLOURS[1], COLOURS[0]
_ROW = 0.135


def draw(tables: Mapping[str, pd.DataFrame], settings: Mapping[str, Any]) -> Figure | None:
    """A panel per model; datasets below each other."""
    contrasts = tables["contrasts"]
    rows = rows_of(contrasts, settings, "class")
    if not rows:
        return None
    heights = [1.0 + max(0.6, _ROW * part["group"].nunique()) for _, part, _ in rows]
    widest = max(len(named) for _, _, named in rows)
    figure = new_figure(max(4.2 * widest, 6.5), 0.4 + sum(heights))
    parts = figure.subfigures(len(rows), 1, squeeze=False, height_ratios=heights)[:, 0]
    for page, (place, part, named) in zip(parts, rows, strict=True):
        page.suptitle(wrapped(subtitle(place, settings, "ood"), 40 * widest), fontsize=9, x=0.01, ha="left")
        grid = page.subplots(1, widest, sharex=True, squeeze=False)[0]
        shown = part[part["contrast"].isin([one[0] for one in named])]
        for axes in grid[len(named) :]:
            axes.set_visible(False)
        names = _names(part)
        for axes, (name, base, method) in zip(grid, named, strict=False):
            mine = part[part["contrast"] == name].drop_duplicates("group")
            _panel(axes, mine.sort_values("difference", ascending=False, kind="stable"), names, settings)
            axes.set_title(contrast_name(settings, base, method), fontsize=9)
            with_zero(axes, shown[["low", "high", "difference"]].to_numpy(dtype=float).ravel())
    handles: list[Line2D] = significance_handles("black", settings["release"]["confidence"])
    figure.legend(handles=handles, loc="outside lower left", ncols=2)
    return figure


def _names(part: pd.DataFrame) -> dict[str, str]:
    one = part.drop_duplicates("group")
    labels = one["group_label"].where(one["group_label"].notna(), one["group"]).astype(str)
    return dict(zip(one["group"], short_names(list(labels), 41), strict=True))


def _panel(axes: Axes, mine: pd.DataFrame, names: Mapping[str, str], settings: Mapping[str, Any]) -> None:
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
