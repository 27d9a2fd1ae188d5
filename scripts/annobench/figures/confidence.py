"""Confidence of right, wrong and unrelated cells

Distribution of the confidence in cells that are annotated correctly, in cells that are annotated wrongly, and in
cells that belong to no type of the training data (noise, shuffled expression, another tissue), for every method
under three confidence rules, in one evaluation of each dataset (of several shares of the labels, the largest). A
good rule puts the first to the right and all others to the left. Dashed: the published threshold, below which a
cell is called unknown. Heights are on a square-root scale.
"""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from annobench.figures.shared.labels import chosen_per_dataset, last_part, part_of, shown_order, wrapped
from annobench.figures.shared.settings import FigureSettings
from annobench.figures.shared.style import COLOURS, GREY, Tables, new_figure
from annobench.figures.shared.words import RULE_LABELS
from annobench.score.confidence import PUBLISHED

TABLES = ("confidences", "ranking", "splits")
NEEDS = ("decisions",)
ORDER = 140
RULES = ("raw", "zscore", "calibrated")
CELLS = {
    "right": ("right", COLOURS[0], "-", 1.4),
    "wrong": ("wrong", COLOURS[1], "-", 1.4),
    "noise": ("noise", "#000000", ":", 1.1),
    "shuffled": ("shuffled expression", COLOURS[2], "--", 1.1),
    "unrelated_tissue": ("another tissue", COLOURS[3], "-.", 1.3),
}


def draw(tables: Tables, settings: FigureSettings) -> Figure | None:
    """Methods in rows; rules in columns, for one evaluation of each dataset."""
    table, endings = last_part(tables["confidences"], tables["splits"])
    methods, _, labels = shown_order(table["method"], tables["ranking"], settings)
    table = table[table["method"].isin(methods) & table["rule"].isin(RULES)]
    if table.empty:
        return None
    places = chosen_per_dataset(table, settings, "method")
    rows = [m for m in methods if any(m in set(part_of(table, place)["method"]) for place in places)]
    figure = new_figure(1.3 + 4.2 * len(places), 1.3 + 0.95 * len(rows))
    parts = figure.subfigures(
        1, len(places), squeeze=False, wspace=0.02, width_ratios=[5.4, *[4.2] * (len(places) - 1)]
    )[0]
    titles = [wrapped(settings.dataset_label(place[0]), 44) for place in places]
    lines = max(title.count("\n") for title in titles)
    titles = [  # all of as many lines, so that panels side by side are level
        f"{title}\n{settings.evaluation_label(place)}{endings[place]}" + "\n " * (lines - title.count("\n"))
        for title, place in zip(titles, places, strict=True)
    ]
    for i, (part, place) in enumerate(zip(parts, places, strict=True)):
        mine = part_of(table, place)
        grid = part.subplots(len(rows), len(RULES), sharex=True, sharey=True, squeeze=False)
        part.suptitle(titles[i], fontsize=9, fontweight="bold")
        for axes_row, method in zip(grid, rows, strict=True):
            for axes, rule in zip(axes_row, RULES, strict=True):
                _panel(axes, mine[(mine["method"] == method) & (mine["rule"] == rule)], rule)
            if i == 0:
                axes_row[0].set_ylabel(wrapped(labels[method], 15), rotation=0, ha="right", va="center", fontsize=8)
        for axes, rule in zip(grid[0], RULES, strict=True):
            axes.set_title(RULE_LABELS[rule], fontsize=8, loc="center", fontweight="normal")
        part.supxlabel("confidence", fontsize=8)
    handles = [
        grid[0, 0].plot([], [], color=colour, linestyle=dash, linewidth=1.5, label=label)[0]
        for cells, (label, colour, dash, _) in CELLS.items()
        if cells in set(table["cells"])
    ]
    figure.legend(handles=handles, loc="outside lower left", ncols=len(handles))
    return figure


def _panel(axes: Axes, part: pd.DataFrame, rule: str) -> None:
    bins = int(part["bin"].max()) + 1 if len(part) else 1
    edges = np.linspace(0, 1, bins + 1)
    for cells, (_, colour, dash, width) in CELLS.items():
        mine = part[part["cells"] == cells].set_index("bin")["share"]
        if len(mine) and mine.notna().any():
            shares = mine.reindex(range(bins)).fillna(0).to_numpy()
            axes.stairs(shares, edges, color=colour, linestyle=dash, linewidth=width, fill=False)
            if cells == "right":
                axes.stairs(shares, edges, color=colour, fill=True, alpha=0.15)
    if part.empty:
        axes.text(0.5, 0.25, "–", ha="center", va="center", color=GREY, transform=axes.transAxes)
    elif rule in PUBLISHED:
        axes.axvline(PUBLISHED[rule], color=GREY, linestyle="--", linewidth=0.8)
    axes.set_yscale("function", functions=(lambda v: np.sqrt(np.clip(v, 0, None)), np.square))
    axes.set_ylim(0, 1)
    axes.set_xlim(0, 1)
    axes.set_yticks([0, 0.1, 0.5, 1], ["0", ".1", ".5", "1"], fontsize=6.5)
    axes.set_xticks([0, 0.5, 1], ["0", ".5", "1"], fontsize=6.5)
