"""Confidence of right, wrong and unrelated cells

Share of cells that a cut keeps, that is whose confidence is at least the number below: of cells that are annotated
correctly, of cells that are annotated wrongly, and of cells that belong to no type of the training data (noise,
shuffled expression, another tissue). Rows are the best-ranked methods with decision values (how many of how many is
said above), columns are confidence rules, for one evaluation of each dataset (of several shares of the labels, the
largest). A good rule keeps the first high and all others low. Dashed: the published cut, below which a cell is called
unknown.
"""

import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.typing import LineStyleType

from annobench.figures.shared.labels import (
    choice_words,
    chosen_per_dataset,
    last_part,
    part_of,
    place_title,
    shown_order,
    wrapped,
)
from annobench.figures.shared.settings import FigureSettings
from annobench.figures.shared.style import COLOURS, GREY, Tables, headline, legend_below, new_figure
from annobench.figures.shared.words import RULE_LABELS
from annobench.score.confidence import PUBLISHED

TABLES = ("confidences", "ranking", "splits")
NEEDS = ("decisions",)
ORDER = 140
RULES = ("raw", "zscore", "calibrated")
CELLS: dict[str, tuple[str, str, LineStyleType, float]] = {  # label, colour, dashes, width
    "right": ("right", COLOURS[0], "-", 2.0),
    "wrong": ("wrong", COLOURS[1], "-", 2.0),
    "noise": ("noise", "#000000", ":", 1.2),
    "shuffled": ("shuffled expression", COLOURS[2], "--", 1.2),
    "unrelated_tissue": ("another tissue", COLOURS[3], "-.", 1.2),
}
MOST, DATASETS = 3, 2  # methods and datasets: more panels than these tell nothing


def draw(tables: Tables, settings: FigureSettings) -> Figure | None:
    """Blocks of panels, one evaluation of each dataset: methods in rows, rules in columns."""
    table, endings = last_part(tables["confidences"], tables["splits"])
    methods, _, _ = shown_order(table["method"], tables["ranking"], settings)
    table = table[table["method"].isin(methods) & table["rule"].isin(RULES)]
    if table.empty:
        return None
    blocks = []
    for place in chosen_per_dataset(table, settings, "method", DATASETS):
        part = part_of(table, place)
        names, _, labels = shown_order(part["method"], tables["ranking"], settings, place)
        blocks.append((place, part, names[:MOST], len(names), labels))
    heights = [0.75 + 1.5 * len(names) for _, _, names, _, _ in blocks]
    figure = new_figure(10.4, sum(heights) + 0.3)
    bands = figure.subfigures(len(blocks), 1, squeeze=False, height_ratios=heights)[:, 0]
    for band, (place, part, names, every, labels) in zip(bands, blocks, strict=True):
        grid = band.subplots(len(names), len(RULES), sharex=True, sharey=True, squeeze=False)
        words = choice_words(len(names), every, "methods with decision values").lower()
        headline(band, place_title(place, settings) + endings[place] + (f" ({words})" if words else ""))
        for axes_row, method in zip(grid, names, strict=True):
            for axes, rule in zip(axes_row, RULES, strict=True):
                _panel(axes, part[(part["method"] == method) & (part["rule"] == rule)], rule)
            axes_row[0].set_ylabel(wrapped(labels[method], 17), fontsize=8, rotation=0, ha="right", va="center")
        band.supylabel("share of cells kept", fontsize=8)
        for axes, rule in zip(grid[0], RULES, strict=True):
            axes.set_title(f"rule: {RULE_LABELS[rule]}", fontsize=9, fontweight="normal")
        for axes in grid[-1]:
            axes.set_xlabel("confidence is at least", fontsize=8)
    handles = [
        Line2D([], [], color=colour, linestyle=dash, linewidth=width, label=label)
        for cells, (label, colour, dash, width) in CELLS.items()
        if cells in set(table["cells"])
    ]
    handles.append(Line2D([], [], color=GREY, linestyle=(0, (4, 2)), linewidth=0.8, label="published cut"))
    legend_below(figure, handles)
    return figure


def _panel(axes: Axes, part: pd.DataFrame, rule: str) -> None:
    """What a cut keeps of every kind of cells; a bin of confidences counts at its middle."""
    bins = int(part["bin"].max()) + 1 if len(part) else 1
    known = part.dropna(subset=["share"]).assign(confidence=(part["bin"] + 0.5) / bins)
    for cells, (_, colour, dash, width) in CELLS.items():
        mine = known[known["cells"] == cells]
        if mine["share"].sum() > 0:
            sns.ecdfplot(
                mine, x="confidence", weights="share", complementary=True, ax=axes, color=colour, linestyle=dash,
                linewidth=width,
            )  # fmt: skip
    if part.empty:
        axes.text(0.5, 0.5, "–", ha="center", va="center", color=GREY, transform=axes.transAxes)
    elif rule in PUBLISHED:
        axes.axvline(PUBLISHED[rule], color=GREY, linestyle=(0, (4, 2)), linewidth=0.8)
    axes.set(xlim=(0, 1), ylim=(0, 1.02), xlabel="", ylabel="")
    axes.set_yticks([0, 0.5, 1], ["0", ".5", "1"])
    axes.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", ".25", ".5", ".75", "1"])
