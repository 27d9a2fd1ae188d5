"""Risk and coverage

Share of errors (risk) among the cells that are kept when only the share of cells with the highest confidence is kept
(coverage), one line per confidence rule, in one evaluation of each dataset (of several shares of the labels, the
largest). A panel for each of the best-ranked methods with decision values; how many of how many is said above. A good
rule falls to the left. The dotted grey line is the risk when cells are set aside at random. AURC: the area under each
line in its colour, in the order of the rules; lower is better.
"""

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

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
from annobench.figures.shared.style import (
    GREY,
    Looks,
    Tables,
    beside_title,
    headline,
    legend_below,
    new_figure,
)
from annobench.figures.shared.words import RULE_LABELS

TABLES = ("curves", "rules", "ranking", "splits")
NEEDS = ("decisions",)
ORDER = 150
_DASHES: tuple[tuple[float, ...] | str, ...] = ("", (4, 1.5), (1, 1), (5, 1.5, 1, 1.5))  # empty is solid
MOST, ACROSS, DATASETS = 6, 3, 2  # panels of a dataset, how many side by side, datasets


def draw(tables: Tables, settings: FigureSettings) -> Figure | None:
    """A block per dataset, a panel per method, a line per rule."""
    table, endings = last_part(tables["curves"], tables["splits"])
    methods, _, labels = shown_order(table["method"], tables["ranking"], settings)
    table = table[table["method"].isin(methods)]
    if table.empty:
        return None
    places = chosen_per_dataset(table, settings, "method", DATASETS)
    every = {p: shown_order(part_of(table, p)["method"], tables["ranking"], settings, p)[0] for p in places}
    shown = {place: names[:MOST] for place, names in every.items()}
    columns = min(ACROSS, max(map(len, shown.values())))
    rows = {place: -(-len(names) // columns) for place, names in shown.items()}
    rules = [rule for rule in RULE_LABELS if rule in set(table["rule"])]
    looks = Looks(rules, [])
    figure = new_figure(max(0.5 + 3.1 * columns, 6.5), 0.5 + sum(0.75 + 2.2 * n for n in rows.values()))
    blocks = figure.subfigures(len(places), 1, squeeze=False, height_ratios=[0.75 + 2.2 * n for n in rows.values()])
    for block, (place, names) in zip(blocks[:, 0], shown.items(), strict=True):
        part = part_of(table, place)
        areas = part_of(last_part(tables["rules"], tables["splits"])[0], place)
        areas = areas[(areas["metric"] == "aurc") & (areas["merging"] == "none")]
        grid = block.subplots(rows[place], columns, sharex=True, sharey=True, squeeze=False)
        top = min(1.0, float(np.nanmax([part["risk"].max(), 0.05])) * 1.05)
        words = choice_words(len(names), len(every[place]), "methods with decision values").lower()
        headline(block, place_title(place, settings) + endings[place] + (f" ({words})" if words else ""))
        for axes in grid.flat[len(names) :]:
            axes.set_visible(False)
        for axes, method in zip(grid.flat, names, strict=False):
            _panel(axes, part[part["method"] == method], areas[areas["method"] == method], looks, rules)
            axes.set_title(wrapped(labels[method], 40), fontsize=9, fontweight="normal", pad=16)
            axes.set_ylim(0, top)
        for axes in grid.flat[max(len(names) - columns, 0) : len(names)]:
            axes.tick_params(labelbottom=True)
            axes.set_xlabel("coverage", fontsize=8)
        for axes in grid[:, 0]:
            axes.set_ylabel("risk", fontsize=8)
    handles = [
        Line2D(
            [], [], color=looks.colour(rule), dashes=_dashes(i) or (None, None), linewidth=1.4, label=RULE_LABELS[rule]
        )
        for i, rule in enumerate(rules)
    ]
    handles.append(Line2D([], [], color=GREY, linestyle=":", linewidth=1, label="cells set aside at random"))
    legend_below(figure, handles)
    return figure


def _dashes(i: int) -> tuple[float, ...] | str:
    """Dashes of the i-th rule, as seaborn has them."""
    return _DASHES[i % len(_DASHES)]


def _panel(axes: Axes, part: pd.DataFrame, areas: pd.DataFrame, looks: Looks, rules: list[str]) -> None:
    """The lines of one method, and the area under each in its colour."""
    whole = part.dropna(subset=["risk"]).sort_values("coverage")
    if len(whole):
        axes.axhline(whole["risk"].iloc[-1], color=GREY, linestyle=":", linewidth=1)
        sns.lineplot(
            whole, x="coverage", y="risk", hue="rule", hue_order=rules, style="rule", style_order=rules, errorbar=None,
            palette={rule: looks.colour(rule) for rule in rules}, legend=False, linewidth=1.4, ax=axes,
            dashes={rule: _dashes(i) for i, rule in enumerate(rules)},
        )  # fmt: skip
    numbers = areas.dropna(subset=["value"]).drop_duplicates("rule").set_index("rule")["value"]
    beside_title(
        axes, "AURC", {rule: f"{numbers[rule]:.3f}".removeprefix("0") for rule in rules if rule in numbers}, looks
    )
    axes.set(xlim=(0, 1), xlabel="", ylabel="")
    axes.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", ".25", ".5", ".75", "1"])
