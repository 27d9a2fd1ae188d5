"""Risk and coverage

Share of errors (risk) among the cells that are kept when only the share of cells with the highest confidence is kept
(coverage), for every method, one line per confidence rule, in one evaluation of each dataset (of several shares of
the labels, the largest). A good rule falls to
the left. The dotted line is the risk when cells are set aside at random. Numbers: area under the curve (AURC, lower
is better), in the order and colours of the rules.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from annobench.figures.shared.labels import chosen_per_dataset, last_part, part_of, place_title, shown_order
from annobench.figures.shared.settings import FigureSettings
from annobench.figures.shared.style import COLOURS, DASHES, GREY, Tables, new_figure
from annobench.figures.shared.words import RULE_LABELS

TABLES = ("curves", "rules", "ranking", "splits")
NEEDS = ("decisions",)
ORDER = 150


def draw(tables: Tables, settings: FigureSettings) -> Figure | None:
    """A block per dataset, a panel per method, a line per rule."""
    table, endings = last_part(tables["curves"], tables["splits"])
    rule_values, _ = last_part(tables["rules"], tables["splits"])
    methods, _, labels = shown_order(table["method"], tables["ranking"], settings)
    table = table[table["method"].isin(methods)]
    if table.empty:
        return None
    places = chosen_per_dataset(table, settings, "method")
    shown = {place: [m for m in methods if m in set(part_of(table, place)["method"])] for place in places}
    columns = min(4, max(map(len, shown.values())))
    heights = [-(-len(names) // columns) for names in shown.values()]
    rules = [rule for rule in RULE_LABELS if rule in set(table["rule"])]
    figure = new_figure(0.8 + 2.3 * max(columns, 2), 0.7 + sum(0.6 + 1.9 * h for h in heights))
    blocks = figure.subfigures(len(places), 1, squeeze=False, height_ratios=[0.3 + h for h in heights])[:, 0]
    handles: list[Line2D] = []
    for block, (place, names), rows in zip(blocks, shown.items(), heights, strict=True):
        part = part_of(table, place)
        areas = part_of(rule_values, place)
        areas = areas[(areas["metric"] == "aurc") & (areas["merging"] == "none")]
        grid = block.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
        top = min(1.0, float(np.nanmax([part["risk"].max(), 0.05])) * 1.05)
        block.suptitle(place_title(place, settings) + endings[place], fontsize=9, fontweight="bold", x=0.01, ha="left")
        for axes in grid.flat[len(names) :]:
            axes.set_visible(False)
        for axes, method in zip(grid.flat, names, strict=False):
            lines = _panel(axes, part[part["method"] == method], areas[areas["method"] == method], rules)
            handles = handles if len(handles) >= len(lines) else lines
            axes.set_title(labels[method].replace(", ", ",\n"), fontsize=8, fontweight="normal", pad=16)
            axes.set_ylim(0, top)
        for axes in grid.flat[max(len(names) - columns, 0) : len(names)]:
            axes.tick_params(labelbottom=True)
        block.supxlabel("coverage", fontsize=8)
        block.supylabel("risk", fontsize=8)
    figure.legend(handles=handles, loc="outside lower left", ncols=len(handles))
    return figure


def _panel(axes: Axes, part: pd.DataFrame, areas: pd.DataFrame, rules: Sequence[str]) -> list[Line2D]:
    """The lines of one method, and the area under each in its colour."""
    lines: list[Line2D] = []
    whole = part.dropna(subset=["risk"]).sort_values("coverage")
    if len(whole):
        axes.axhline(whole["risk"].iloc[-1], color=GREY, linestyle=":", linewidth=1)
    for i, rule in enumerate(rules):
        mine = whole[whole["rule"] == rule]
        lines += axes.plot(
            mine["coverage"], mine["risk"], linewidth=1.4, label=RULE_LABELS[rule], color=COLOURS[i],
            linestyle=DASHES[i % len(DASHES)],
        )  # fmt: skip
        area = areas.loc[areas["rule"] == rule, "value"].dropna()
        if len(area):
            axes.annotate(
                f"{area.iloc[0]:.3f}".removeprefix("0"), (0.26 * i, 1), xytext=(0, 4),
                xycoords="axes fraction", textcoords="offset points", fontsize=7, color=COLOURS[i],
            )  # fmt: skip
    axes.set_xlim(0, 1)
    axes.set_xticks([0, 0.5, 1], ["0", ".5", "1"])
    return lines
