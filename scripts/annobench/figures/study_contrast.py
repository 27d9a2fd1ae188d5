"""Does every new study gain by the hierarchical loss?"""

from collections.abc import Mapping
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from annobench.figures.confusion import shorten
from annobench.figures.shared.labels import direction, wrapped
from annobench.figures.shared.releases import (
    SCORE,
    contrast_name,
    forest,
    light_rows,
    primary_contrast,
    rows_of,
    significance_handles,
    subtitle,
    with_zero,
    zero_line,
)
from annobench.figures.shared.style import COLOURS, GREY, new_figure

TABLES = ["contrasts"]
REGIMES = ("release",)
NEEDS = "contrasts"
TITLE = "Differences per study"
CAPTION = (
    "Difference in macro F1 (descendant rule, classes that the study has) of every study of the newer release, the "
    "mean over runs, with its bootstrap interval where there is one. Studies are in the order of the first panel. "
    "Filled: significant over runs after Holm's correction over the studies."
)


def draw(tables: Mapping[str, pd.DataFrame], settings: Mapping[str, Any]) -> Figure | None:
    """Studies in rows, models in columns; datasets below each other."""
    contrasts = tables["contrasts"]
    rows = rows_of(contrasts, settings, "study", SCORE)
    if not rows:
        return None
    heights = [1.1 + 0.19 * part["group"].nunique() for _, part, _ in rows]
    widest = max(len(named) for _, _, named in rows)
    figure = new_figure(max(2.6 + 2.4 * widest, 6.5), 0.4 + sum(heights))
    parts = figure.subfigures(len(rows), 1, squeeze=False, height_ratios=heights)[:, 0]
    for page, (place, part, named) in zip(parts, rows, strict=True):
        page.suptitle(wrapped(subtitle(place, settings), 30 + 30 * widest), fontsize=9, x=0.01, ha="left")
        grid = page.subplots(1, widest, sharex=True, sharey=True, squeeze=False)[0]
        shown = part[part["contrast"].isin([one[0] for one in named])]
        first = part[part["contrast"] == primary_contrast(named, settings)[0]].drop_duplicates("group")
        order = list(first.sort_values("difference", ascending=False, kind="stable")["group"])
        order += sorted(set(part["group"]) - set(order))
        labels = part.drop_duplicates("group").set_index("group")["group_label"]
        for axes in grid[len(named) :]:
            axes.set_visible(False)
        for axes, (name, base, method) in zip(grid, named, strict=False):
            mine = part[part["contrast"] == name].drop_duplicates("group")
            light_rows(axes, [-i for i in range(len(order))])
            zero_line(axes)
            forest(axes, mine, [-order.index(group) for group in mine["group"]], settings, COLOURS[0], size=4.5)
            for group in set(order) - set(mine["group"]):
                axes.text(0, -order.index(group), "–", ha="center", va="center", color=GREY)
            with_zero(axes, shown[["low", "high", "difference"]].to_numpy(dtype=float).ravel())
            axes.set_title(contrast_name(settings, base, method), fontsize=9, pad=13)
            axes.set_xlabel("difference in macro F1")
            axes.locator_params(axis="x", nbins=5)
            direction(axes, True)
        texts = [shorten(str(labels[group] if pd.notna(labels[group]) else group), 46) for group in order]
        grid[0].set_yticks([-i for i in range(len(order))], texts, fontsize=7.5)
        grid[0].set_ylim(-len(order) + 0.4, 0.6)
    figure.legend(handles=significance_handles(COLOURS[0], settings["release"]["confidence"]),
                  loc="outside lower left", ncols=2)  # fmt: skip
    return figure
