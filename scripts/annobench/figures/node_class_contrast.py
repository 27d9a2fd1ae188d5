"""Who gains by the hierarchical loss: internal classes, leaves with relatives, leaves without?"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from annobench.figures.shared.labels import direction, wrapped
from annobench.figures.shared.releases import (
    NODE_CLASSES,
    Place,
    contrast_name,
    differences,
    fitted_of,
    light_rows,
    rows_of,
    significant,
    subtitle,
    with_zero,
    zero_line,
)
from annobench.figures.shared.style import COLOURS, GREY, new_figure

TABLES = ["contrasts", "nodes"]
REGIMES = ("release",)
NEEDS = "contrasts"
TITLE = "Internal classes and leaves"
CAPTION = (
    "Difference in F1 (descendant rule) out of distribution of internal classes (others among the training classes "
    "are below them), connected leaves (none below, some above) and isolated leaves (no relatives): single classes "
    "(dots) and their mean (diamond) with its interval. Filled diamond: significant over runs after Holm's "
    "correction. The loss of a leaf's own cells is the same under both; what changes there comes through other classes."
)


def draw(tables: Mapping[str, pd.DataFrame], settings: Mapping[str, Any]) -> Figure | None:
    """Node classes in rows, models in columns; datasets below each other."""
    contrasts = tables["contrasts"]
    rows = rows_of(contrasts[contrasts["group"].isin(NODE_CLASSES)], settings, "node_class")
    if not rows:
        return None
    heights = [1.2 + 0.42 * part["group"].nunique() for _, part, _ in rows]
    widest = max(len(named) for _, _, named in rows)
    figure = new_figure(max(1.8 + 2.7 * widest, 6.5), 0.4 + sum(heights))
    parts = figure.subfigures(len(rows), 1, squeeze=False, height_ratios=heights)[:, 0]
    for page, (place, part, named) in zip(parts, rows, strict=True):
        page.suptitle(wrapped(subtitle(place, settings), 25 + 30 * widest), fontsize=9, x=0.01, ha="left")
        grid = page.subplots(1, widest, sharex=True, sharey=True, squeeze=False)[0]
        order = [kind for kind in NODE_CLASSES if kind in set(part["group"])]
        classes = _classes(contrasts, tables["nodes"], place)
        for axes in grid[len(named) :]:
            axes.set_visible(False)
        numbers: list[float] = []
        for axes, (name, base, method) in zip(grid, named, strict=False):
            mine = part[part["contrast"] == name].drop_duplicates("group").set_index("group")
            numbers += _panel(axes, mine, classes[classes["contrast"] == name], order, settings)
            axes.set_title(contrast_name(settings, base, method), fontsize=9, pad=13)
            axes.set_xlabel("difference in F1")
            axes.locator_params(axis="x", nbins=5)
            direction(axes, True)
        with_zero(grid[0], numbers)
        counts = classes[classes["contrast"] == named[0][0]]["node_class"].value_counts()
        counts["leaf"] = counts.get("leaf_connected", 0) + counts.get("leaf_isolated", 0)
        labels = [NODE_CLASSES[kind] + (f" ({counts[kind]})" if counts.get(kind) else "") for kind in order]
        grid[0].set_yticks([-i for i in range(len(order))], labels)
        grid[0].set_ylim(-len(order) + 0.4, 0.6)
    look: dict[str, Any] = {"linestyle": "", "marker": "D", "color": COLOURS[0], "markersize": 6}
    handles = [
        Line2D([], [], linestyle="", marker="o", color=GREY, markersize=3, label="one class"),
        Line2D([], [], label="mean, significant (Holm)", **look),
        Line2D([], [], label="mean, not significant", markerfacecolor="white", **look),
    ]
    figure.legend(handles=handles, loc="outside lower left", ncols=3)
    return figure


def _classes(contrasts: pd.DataFrame, nodes: pd.DataFrame, place: Place) -> pd.DataFrame:
    """Differences of classes with their node class; `leaf` is not among them, both kinds of leaves are."""
    kinds = fitted_of(nodes, place).drop_duplicates("label_id").set_index("label_id")["node_class"]
    found = differences(contrasts, place, "class")
    return found.assign(node_class=found["group"].map(kinds))


def _panel(
    axes: Axes, mine: pd.DataFrame, classes: pd.DataFrame, order: list[str], settings: Mapping[str, Any]
) -> list[float]:
    """One contrast; returns the numbers that it shows."""
    light_rows(axes, [-i for i in range(len(order))])
    zero_line(axes)
    sure = dict(zip(mine.index, significant(mine, settings), strict=True))
    numbers: list[float] = []
    for i, kind in enumerate(order):
        wanted = ["leaf_connected", "leaf_isolated"] if kind == "leaf" else [kind]
        values = np.sort(classes.loc[classes["node_class"].isin(wanted), "difference"].to_numpy(dtype=float))
        spread = 0.22 * np.cos(np.pi * np.arange(len(values)))  # neighbours to either side
        depth = 0.4 + 0.6 * np.modf(np.arange(len(values)) * 0.618)[0]
        axes.scatter(values, -i + spread * depth, s=8, color=GREY, alpha=0.75, linewidth=0, zorder=2)
        numbers += values.tolist()
        if kind in mine.index:
            row = mine.loc[kind]
            axes.plot([row["low"], row["high"]], [-i, -i], color=COLOURS[0], linewidth=1.6, zorder=3)
            face = COLOURS[0] if sure[kind] else "white"
            axes.plot(row["difference"], -i, "D", color=COLOURS[0], markerfacecolor=face, markersize=6, zorder=4)
            numbers += [row["low"], row["high"], row["difference"]]
    return numbers
