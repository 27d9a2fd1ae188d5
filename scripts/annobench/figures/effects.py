"""What each factor changes

Difference that a change of one factor makes, all else equal. Black diamond: the mean over all pairs, with its interval;
coloured: single methods, or what a pair of methods shares. First factors of methods, a panel per evaluation, in the
primary metric where it is one of labels, else in macro F1: an arrow leads from the base level, and rows rest on as many
pairs as they show points. Then panel training, balancing and merging of labels; merging only makes labels coarser, so
what it adds is not a gain. Last confidence rules against the method's own confidence. Shaded: the better side. †: the
audit calls the metric not evidence, in so many of the evaluations and rules.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.lines import Line2D

from annobench.figures.shared.labels import (
    doubts,
    evaluation_title,
    evaluations_of,
    interval_words,
    method_looks,
    ordered_methods,
    part_of,
    shown_order,
    wrapped,
)
from annobench.figures.shared.points import point_intervals
from annobench.figures.shared.settings import FigureSettings, MetricWords
from annobench.figures.shared.style import (
    COLOURS,
    DARK,
    GREY,
    LIGHT,
    Looks,
    Tables,
    direction,
    legend_below,
    legend_rows,
    looks_handles,
    new_figure,
)
from annobench.figures.shared.words import MODEL_LABELS, capitalised, spelled

TABLES = ("effects", "ranking", "audit")
NEEDS = ("factors",)
ORDER = 100
LABELS = ("macro_f1", "balanced_accuracy", "accuracy")
CONFIDENCE = ("aurc", "ece", "unrelated_tissue_found")
OF_EVALUATIONS = ("training", "balance", "merging", "confidence rule")  # all other factors are of methods
ACROSS = 4  # panels side by side, at most
_WIDE, _MEAN = 11.5, "mean over methods"  # inches
Change = tuple[str, str, str, str]  # dataset, factor, from, to; the last three empty for the heading of a dataset
_KEYS = ["dataset", "factor", "from", "to"]


def draw(tables: Tables, settings: FigureSettings) -> Figure | None:
    """Blocks from top to bottom: one for every factor of methods, one for label metrics and one for confidence."""
    effects = tables["effects"].dropna(subset=["difference"])
    of_methods = ~effects["factor"].isin(OF_EVALUATIONS)
    metric = settings.primary if settings.primary in LABELS else LABELS[0]
    blocks: list[FactorBlock | MetricBlock] = []
    taken = list(ordered_methods(tables["ranking"], settings)[0])  # no look means two things in one figure
    for _, part in effects[of_methods & (effects["metric"] == metric)].groupby("factor", sort=False):
        of_factor = FactorBlock(part, metric, tables, settings, taken)
        blocks.append(of_factor)
        taken += of_factor.settings_shared
    blocks.sort(key=lambda block: -block.height)  # the factor with most levels first
    for metrics in (LABELS, CONFIDENCE):
        if len(part := effects[~of_methods & effects["metric"].isin(metrics)]):
            blocks.append(MetricBlock(part, metrics, tables, settings))
    if not blocks:
        return None
    heights = [block.height for block in blocks]
    figure = new_figure(_WIDE, sum(heights))
    for part, block in zip(
        figure.subfigures(len(blocks), 1, squeeze=False, height_ratios=heights)[:, 0], blocks, strict=True
    ):
        block.draw(part)
    return figure


class FactorBlock:
    """One factor of methods: a panel per evaluation, a row per change of level, a point per pair of methods."""

    def __init__(
        self, effects: pd.DataFrame, metric: str, tables: Tables, settings: FigureSettings, taken: Sequence[str]
    ) -> None:
        effects = effects.assign(setting=effects["setting"].fillna("").map(_setting))
        self.effects, self.metric, self.audit, self.settings = effects, metric, tables["audit"], settings
        self.factor = str(effects["factor"].iloc[0])
        self.places = [place for place in evaluations_of(effects) if place[1] != "all"]
        self.changes = list(dict.fromkeys(zip(effects["from_label"], effects["to_label"], strict=True)))
        self.settings_shared = list(dict.fromkeys(effects.loc[effects["method"] != "all", "setting"]))
        self.looks = Looks([*taken, *self.settings_shared], [])
        self.lines = -(-len(self.places) // ACROSS)
        legend = 0.2 * legend_rows([*self.settings_shared, _MEAN], _WIDE)
        self.height = 0.4 + legend + self.lines * (1.0 + 0.3 * len(self.changes))

    def draw(self, part: SubFigure) -> None:
        """Draw into a part of the figure."""
        across = -(-len(self.places) // self.lines)
        grid = part.subplots(self.lines, across, sharex=True, sharey=True, squeeze=False)
        words = self.settings.metric(self.metric)
        for axes, place in zip(grid.flat, self.places, strict=False):
            mine = part_of(self.effects, place)
            _shade_better_side(axes, self.effects, words)  # the same axis everywhere
            for y, change in enumerate(self.changes):
                self._row(axes, mine, y, change)
            title = evaluation_title(place, self.settings).split("\n")
            axes.set_title("\n".join(wrapped(line, 30) for line in title), fontsize=8)
            axes.set_xlabel(f"difference in {words.label}", fontsize=7.5)
            axes.tick_params(axis="x", labelbottom=True)
            _bare(axes)
            axes.set_ylim(len(self.changes) - 0.4, -0.6)
        for axes in grid.flat[len(self.places) :]:
            axes.set_visible(False)
        for axes in grid[:, 0]:
            axes.set_yticks(range(len(self.changes)), [f"{first} → {second}" for first, second in self.changes])
        doubt = doubts(self.audit, self.metric)
        part.suptitle(
            capitalised(spelled(self.factor)) + (f"  {doubt}" if doubt else ""), x=0.01, ha="left", fontweight="bold"
        )
        labels = {name: name or "the only pair" for name in self.settings_shared}
        handles = looks_handles(self.settings_shared, labels, self.looks)
        legend_below(part, [*handles, _mean(f"mean over pairs ({interval_words(self.effects, self.settings)})")])

    def _row(self, axes: Axes, mine: pd.DataFrame, y: int, change: tuple[str, str]) -> None:
        axes.axhline(y, color=LIGHT, linewidth=0.4, zorder=0)
        rows = mine[(mine["from_label"] == change[0]) & (mine["to_label"] == change[1])]
        if rows.empty:
            axes.text(0.98, y, "–", transform=axes.get_yaxis_transform(), ha="right", va="center", color=GREY)
            return
        singles = rows[rows["method"] != "all"]
        above = 0.2 if len(singles) > 1 else 0.0  # the mean stands above the pairs, and hides none
        steps = np.arange(len(singles)) / max(len(singles) - 1, 1)
        point_intervals(
            axes, singles.assign(y=y + above * (2 * steps - 0.2)), x="difference", y="y", hue="setting", size=4,
            looks={name: self.looks.point(name) for name in self.settings_shared}, width=0.8, markeredgewidth=0,
        )  # fmt: skip
        _draw_mean(axes, rows[rows["method"] == "all"], y - above)


class MetricBlock:
    """Factors of evaluations: a panel per metric, a row per change of level, a point per method."""

    def __init__(self, effects: pd.DataFrame, metrics: Sequence[str], tables: Tables, settings: FigureSettings) -> None:
        self.effects, self.metrics, self.audit, self.settings = effects, metrics, tables["audit"], settings
        ranking = tables["ranking"]
        self.methods, _, self.labels = shown_order([m for m in effects["method"] if m != "all"], ranking, settings)
        self.looks = method_looks(ranking, settings, self.methods)
        self.rows = _changes(effects, settings)
        row = 0.2 + 0.022 * len(self.methods)
        self.height = 1.1 + row * len(self.rows) + 0.2 * legend_rows([*self.labels.values(), _MEAN], _WIDE)

    def draw(self, part: SubFigure) -> None:
        """Draw into a part of the figure."""
        grid = part.subplots(1, len(self.metrics), sharey=True)
        for axes, metric in zip(grid, self.metrics, strict=True):
            mine, words = self.effects[self.effects["metric"] == metric], self.settings.metric(metric)
            _shade_better_side(axes, mine, words)
            _panel(axes, mine, self.rows, self.methods, self.looks)
            _titles(axes, words, doubts(self.audit, metric))
        _rows(grid[0], self.rows)
        handles = looks_handles(self.methods, self.labels, self.looks)
        legend_below(part, [*handles, _mean(f"{_MEAN} ({interval_words(self.effects, self.settings)})")])


def _changes(block: pd.DataFrame, settings: FigureSettings) -> dict[Change, tuple[float, str]]:
    """Height and label of every change, grouped by dataset under headings."""
    rows: dict[Change, tuple[float, str]] = {}
    y, before = 0.0, ""
    keys = block[[*_KEYS, "from_label", "to_label"]].drop_duplicates()
    order = {dataset: i for i, dataset in enumerate(dict.fromkeys(keys["dataset"]))}
    for key in sorted(keys.itertuples(index=False, name=None), key=lambda key: order[key[0]]):
        dataset, factor, first, second, *names = map(str, key)
        if dataset != before:
            rows[dataset, "", "", ""] = (y, settings.dataset_label(dataset))
            y += 1
        change = " → ".join(names)
        rows[dataset, factor, first, second] = (y, change if factor == "training" else f"{_factor(factor)}: {change}")
        y, before = y + 1, dataset
    return rows


def _factor(factor: str) -> str:
    return {"confidence rule": "rule"}.get(factor, spelled(factor))


def _rows(axes: Axes, rows: Mapping[Change, tuple[float, str]]) -> None:
    axes.set_yticks([y for y, _ in rows.values()], [label for _, label in rows.values()])
    for text, key in zip(axes.get_yticklabels(), rows, strict=True):
        text.set_fontweight("normal" if key[1] else "bold")
    axes.set_ylim(max(y for y, _ in rows.values()) + 0.6, -0.6)


def _shade_better_side(axes: Axes, part: pd.DataFrame, metric: MetricWords) -> None:
    """Set limits that hold all numbers and zero, and shade the side on which the metric is better."""
    numbers = part[["difference", "low", "high"]].to_numpy(dtype=float)
    numbers = numbers[np.isfinite(numbers)]
    least, most = min([0.0, *numbers]), max([0.0, *numbers])
    room = max(0.15 * (most - least), 0.01)
    least, most = least - room, most + room
    better = (least, 0) if metric.lower_is_better else (0, most)
    axes.axvspan(*better, color="#EEF5FA", zorder=0)
    axes.axvline(0, color=DARK, linewidth=0.8, zorder=1)
    axes.set_xlim(least, most)


def _panel(
    axes: Axes, part: pd.DataFrame, rows: Mapping[Change, tuple[float, str]], methods: Sequence[str], looks: Looks
) -> None:
    """One metric: single methods, and their mean with its interval."""
    for key, (y, _) in rows.items():
        if not key[1]:
            continue
        axes.axhline(y, color=LIGHT, linewidth=0.4, zorder=0)
        mine = part[(part[_KEYS].astype(str) == list(key)).all(axis=1)]
        singles = mine[mine["method"] != "all"]
        if mine.empty:
            axes.text(0.98, y, "–", transform=axes.get_yaxis_transform(), ha="right", va="center", color=GREY)
        places = [methods.index(one) / max(len(methods) - 1, 1) for one in singles["method"]]
        singles = singles.assign(y=[y - 0.2 + 0.6 * place for place in places], low=np.nan, high=np.nan)
        point_intervals(
            axes, singles, x="difference", y="y", hue="method", looks={m: looks.point(m) for m in methods}, size=4,
            markeredgewidth=0,
        )  # fmt: skip
        every = mine[mine["method"] == "all"] if (mine["method"] == "all").any() else mine
        _draw_mean(axes, every.head(1), y - 0.36)
    _bare(axes)


def _setting(name: str) -> str:
    """What two methods share, with the names of networks as they are written."""
    return "; ".join(MODEL_LABELS.get(word, word) for word in name.split("; "))


def _mean(label: str) -> Line2D:
    return Line2D([], [], color="black", marker="D", markersize=4.5, linewidth=1.6, label=label)


def _draw_mean(axes: Axes, rows: pd.DataFrame, y: float) -> None:
    """The mean above the pairs or methods, so that it hides none."""
    point_intervals(
        axes, rows.assign(y=y), x="difference", y="y", color="black", markers="D", size=4, width=1.6, zorder=4
    )


def _bare(axes: Axes) -> None:
    axes.spines["left"].set_visible(False)
    axes.tick_params(axis="y", length=0)
    axes.locator_params(axis="x", nbins=4)


def _titles(axes: Axes, metric: MetricWords, doubt: str) -> None:
    axes.set_title(capitalised(metric.label) + ("†" if doubt else ""), fontsize=9, pad=14)
    axes.set_xlabel("difference", fontsize=8)
    if doubt:
        axes.annotate(
            doubt, (0.5, 0), xytext=(0, -38), xycoords="axes fraction", textcoords="offset points", ha="center",
            fontsize=8, color=COLOURS[1],
        )  # fmt: skip
    direction(axes, higher_is_better=not metric.lower_is_better)
