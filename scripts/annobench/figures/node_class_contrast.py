"""Internal classes and leaves

Difference in F1 (descendant rule) out of distribution of internal classes (with other training classes below them),
connected leaves (none below, some above) and isolated leaves (no relatives): single classes (dots) and their mean
(diamond) with its interval. Filled diamond: significant over runs after Holm's correction. The loss of a leaf's own
cells is the same under both losses, so what changes there comes through other classes.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from annobench.figures.shared.labels import wrapped
from annobench.figures.shared.releases import (
    blocks_of,
    contrast_label,
    differences,
    fitted_of,
    significant,
    subtitle,
    with_zero,
    zero_line,
)
from annobench.figures.shared.settings import FigureSettings, Place
from annobench.figures.shared.style import COLOURS, GREY, Tables, direction, light_rows, new_figure
from annobench.figures.shared.words import NODE_CLASS_LABELS

TABLES = ("contrasts", "nodes")
REGIMES = ("release",)
NEEDS = ("contrasts",)
ORDER = 220


def draw(tables: Tables, settings: FigureSettings) -> Figure | None:
    """Node classes in rows, models in columns; datasets below each other."""
    contrasts = tables["contrasts"]
    blocks = blocks_of(contrasts[contrasts["group"].isin(NODE_CLASS_LABELS)], settings, "node_class")
    if not blocks:
        return None
    heights = [1.2 + 0.42 * block.differences["group"].nunique() for block in blocks]
    widest = max(len(block.contrasts) for block in blocks)
    figure = new_figure(max(1.8 + 2.7 * widest, 6.5), 0.4 + sum(heights))
    parts = figure.subfigures(len(blocks), 1, squeeze=False, height_ratios=heights)[:, 0]
    for page, block in zip(parts, blocks, strict=True):
        page.suptitle(wrapped(subtitle(block.place, settings), 25 + 30 * widest), fontsize=9, x=0.01, ha="left")
        grid = page.subplots(1, widest, sharex=True, sharey=True, squeeze=False)[0]
        order = [kind for kind in NODE_CLASS_LABELS if kind in set(block.differences["group"])]
        classes = _classes(contrasts, tables["nodes"], block.place)
        for axes in grid[len(block.contrasts) :]:
            axes.set_visible(False)
        numbers: list[float] = []
        for axes, contrast in zip(grid, block.contrasts, strict=False):
            light_rows(axes, [-i for i in range(len(order))])
            zero_line(axes)
            numbers += _single_classes(axes, classes[classes["contrast"] == contrast.name], order)
            numbers += _means(axes, block.of(contrast).drop_duplicates("group").set_index("group"), order, settings)
            axes.set_title(contrast_label(contrast, settings.of_release), fontsize=9, pad=13)
            axes.set_xlabel("difference in F1")
            axes.locator_params(axis="x", nbins=5)
            direction(axes, higher_is_better=True)
        with_zero(grid[0], numbers)
        counts = classes[classes["contrast"] == block.contrasts[0].name]["node_class"].value_counts()
        counts["leaf"] = counts.get("leaf_connected", 0) + counts.get("leaf_isolated", 0)
        labels = [NODE_CLASS_LABELS[kind] + (f" ({counts[kind]})" if counts.get(kind) else "") for kind in order]
        grid[0].set_yticks([-i for i in range(len(order))], labels)
        grid[0].set_ylim(-len(order) + 0.4, 0.6)
    figure.legend(handles=_handles(), loc="outside lower left", ncols=3)
    return figure


def _handles() -> list[Line2D]:
    mean, colour = "mean, significant (Holm)", COLOURS[0]
    return [
        Line2D([], [], linestyle="", marker="o", color=GREY, markersize=3, label="one class"),
        Line2D([], [], linestyle="", marker="D", color=colour, markersize=6, label=mean),
        Line2D(
            [], [], linestyle="", marker="D", color=colour, markersize=6, markerfacecolor="white",
            label="mean, not significant",
        ),
    ]  # fmt: skip


def _classes(contrasts: pd.DataFrame, nodes: pd.DataFrame, place: Place) -> pd.DataFrame:
    """Differences of classes with their node class, which is never `leaf`, but one of the two kinds of leaves."""
    kinds = fitted_of(nodes, place).drop_duplicates("label_id").set_index("label_id")["node_class"]
    part = differences(contrasts, place, "class")
    return part.assign(node_class=part["group"].map(kinds))


def _single_classes(axes: Axes, classes: pd.DataFrame, order: Sequence[str]) -> list[float]:
    """A dot for every class; returns the numbers that are shown."""
    numbers: list[float] = []
    for i, kind in enumerate(order):
        wanted = ["leaf_connected", "leaf_isolated"] if kind == "leaf" else [kind]
        values = np.sort(classes.loc[classes["node_class"].isin(wanted), "difference"].to_numpy(dtype=float))
        side = 0.22 * np.cos(np.pi * np.arange(len(values)))  # neighbours to either side
        depth = 0.4 + 0.6 * np.modf(np.arange(len(values)) * 0.618)[0]
        axes.scatter(values, -i + side * depth, s=8, color=GREY, alpha=0.75, linewidth=0, zorder=2)
        numbers += values.tolist()
    return numbers


def _means(axes: Axes, means: pd.DataFrame, order: Sequence[str], settings: FigureSettings) -> list[float]:
    """A diamond with an interval for every node class; returns the numbers that are shown."""
    sure = dict(zip(means.index, significant(means, settings), strict=True))
    numbers: list[float] = []
    for i, kind in enumerate(order):
        if kind in means.index:
            row = means.loc[kind]
            axes.plot([row["low"], row["high"]], [-i, -i], color=COLOURS[0], linewidth=1.6, zorder=3)
            face = COLOURS[0] if sure[kind] else "white"
            axes.plot(row["difference"], -i, "D", color=COLOURS[0], markerfacecolor=face, markersize=6, zorder=4)
            numbers += [row["low"], row["high"], row["difference"]]
    return numbers
