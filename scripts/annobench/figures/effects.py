"""What each factor changes

Difference that a change of one factor makes, all else equal: the mean over methods and pairs of evaluations (black
diamond, with its interval) and single methods (coloured). Top: panel training, balancing and merging of labels;
merging only makes labels coarser, so what it adds is not a gain. Bottom: confidence rules against the method's own
confidence. Shaded: the better side. †: the audit calls the metric not evidence, in so many of the evaluations and
rules.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from annobench.figures.shared.labels import doubts, method_looks, shown_order
from annobench.figures.shared.settings import FigureSettings, MetricWords
from annobench.figures.shared.style import COLOURS, DARK, GREY, LIGHT, Looks, Tables, direction, new_figure
from annobench.figures.shared.words import LEVEL_LABELS, capitalised, spelled

TABLES = ("effects", "ranking", "audit")
NEEDS = ("factors",)
ORDER = 100
LABELS = ("macro_f1", "balanced_accuracy", "accuracy")
CONFIDENCE = ("aurc", "ece", "unrelated_tissue_found")
Change = tuple[str, str, str, str]  # dataset, factor, from, to; the last three empty for the heading of a dataset
_KEYS = ["dataset", "factor", "from", "to"]


def draw(tables: Tables, settings: FigureSettings) -> Figure | None:
    """A row of panels for label metrics and one for confidence; changes of levels in the rows of a panel."""
    effects = tables["effects"].dropna(subset=["difference"])
    blocks = [
        (block, metrics) for metrics in (LABELS, CONFIDENCE) if len(block := effects[effects["metric"].isin(metrics)])
    ]
    if not blocks:
        return None
    methods, _, labels = shown_order([m for m in effects["method"] if m != "all"], tables["ranking"], settings)
    looks = method_looks(tables["ranking"], settings, methods)
    changes = [_changes(block, settings) for block, _ in blocks]
    sizes = [len(rows) + 0.6 * len({key[0] for key in rows}) for rows in changes]
    figure = new_figure(10.5, 0.7 + sum(0.95 + 0.27 * size for size in sizes))
    parts = figure.subfigures(len(blocks), 1, squeeze=False, height_ratios=[3.2 + size for size in sizes])[:, 0]
    for part, (block, metrics), rows in zip(parts, blocks, changes, strict=True):
        grid = part.subplots(1, len(metrics), sharey=True)
        for axes, metric in zip(grid, metrics, strict=True):
            mine, words = block[block["metric"] == metric], settings.metric(metric)
            _shade_better_side(axes, mine, words)
            _panel(axes, mine, rows, methods, looks)
            _titles(axes, words, doubts(tables["audit"], metric))
        _rows(grid[0], rows)
    handles = [Line2D([], [], linestyle="", markersize=5, label=labels[m], **looks.point(m)) for m in methods]
    handles.append(Line2D([], [], color="black", marker="D", markersize=5, label="mean over methods"))
    figure.legend(handles=handles, loc="outside lower left", ncols=3)
    return figure


def _changes(block: pd.DataFrame, settings: FigureSettings) -> dict[Change, tuple[float, str]]:
    """Height and label of every change, grouped by dataset under headings."""
    rows: dict[Change, tuple[float, str]] = {}
    y, before = 0.0, ""
    keys = block[_KEYS].drop_duplicates()
    order = {dataset: i for i, dataset in enumerate(dict.fromkeys(keys["dataset"]))}
    for key in sorted(keys.itertuples(index=False, name=None), key=lambda key: order[key[0]]):
        dataset, factor, first, second = map(str, key)
        if dataset != before:
            rows[dataset, "", "", ""] = (y, settings.dataset_label(dataset))
            y += 1
        change = f"{_level(first)} → {_level(second)}"
        rows[dataset, factor, first, second] = (y, change if factor == "training" else f"{_factor(factor)}: {change}")
        y, before = y + 1, dataset
    return rows


def _level(level: str) -> str:
    return LEVEL_LABELS.get(level, spelled(level))


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
        for row in singles.itertuples():
            shift = (methods.index(row.method) / max(len(methods) - 1, 1) - 0.5) * 0.5
            look = looks.point(row.method)
            axes.scatter(row.difference, y + shift, s=13, alpha=0.9, linewidth=0, zorder=3, **look)
        every = mine[mine["method"] == "all"] if (mine["method"] == "all").any() else singles
        for row in every.head(1).itertuples():
            axes.plot([row.low, row.high], [y, y], color="black", linewidth=1.6, zorder=4)
            axes.plot(row.difference, y, "D", color="black", markersize=4.5, zorder=5)
    axes.spines["left"].set_visible(False)
    axes.tick_params(axis="y", length=0)
    axes.locator_params(axis="x", nbins=5)


def _titles(axes: Axes, metric: MetricWords, doubt: str) -> None:
    axes.set_title(capitalised(metric.label) + ("†" if doubt else ""), fontsize=9, pad=14)
    axes.set_xlabel("difference", fontsize=8)
    if doubt:
        axes.annotate(
            doubt, (0.5, 0), xytext=(0, -38), xycoords="axes fraction", textcoords="offset points", ha="center",
            fontsize=8, color=COLOURS[1],
        )  # fmt: skip
    direction(axes, higher_is_better=not metric.lower_is_better)
