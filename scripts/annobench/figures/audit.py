"""Which metric is evidence

The verdict on every metric in every evaluation. Blue: the truth wins and every control loses, and so it does in 95 % of
the resamples of test cells, donors or studies, or of seeds or splits. Orange: that is undecided. Red with a letter: not
evidence of good annotation, because a control that must not win does. N, no information: majority, random, shuffled or
noise labels, or such embeddings, score at least as well as the best method or the truth. M, merging: the truth with
subtypes merged scores better than the truth. C, circular: labels by the highest markers score better than the truth. T,
unrelated tissue: a model of another tissue scores at least as well as the best method or the truth. U, unrelated cells:
the rule accepts half of them or more. B, D: an embedding of nothing but the batch, or the depth, does as well as the
best method or as one of nothing but the labels. Of predicted expression: 0, no effect, A, the mean effect, W, another
condition or S, effects of the other sign score at least as well as the best method or the truth. Metrics of a family
with the same verdicts everywhere share a row. Costs and metrics that only describe are left out.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from annobench.figures.shared.labels import NOT_EVIDENCE, VERDICT_COLOURS, evaluations_of, wrapped
from annobench.figures.shared.settings import FigureSettings, Place
from annobench.figures.shared.style import DARK, Tables, clean_axes, new_figure
from annobench.figures.shared.words import RULE_LABELS, spelled

TABLES = ("audit",)
ORDER = 80
LETTERS = {
    "no information": "N",
    "merging": "M",
    "circular": "C",
    "unrelated tissue": "T",
    "unrelated cells": "U",
    "batch alone": "B",
    "depth alone": "D",
    "no effect": "0",
    "mean effect": "A",
    "wrong condition": "W",
    "wrong direction": "S",
}
MEANINGS = {
    "informative": "✓  informative",
    NOT_EVIDENCE: NOT_EVIDENCE,
    "undecided": "?  undecided",
    "untested": "–  untested",
}
MARKS = {"informative": "✓", "undecided": "?", "untested": "–"}
_LONGEST = 68
_ROW = 0.19
Cells = tuple[tuple[str, str], ...]  # verdict and the rule that decided, of every evaluation; empty where not audited


@dataclass(frozen=True)
class Line:
    """A row of the figure: metrics of one family with the same verdicts everywhere."""

    family: str
    label: str
    cells: Cells


def draw(tables: Tables, settings: FigureSettings) -> Figure | None:
    """Metrics in rows by family, evaluations in columns by dataset."""
    audit = tables["audit"]
    audit = audit[audit["verdict"].isin(list(VERDICT_COLOURS))]
    if audit.empty:
        return None
    columns = evaluations_of(audit)
    columns.sort(key=lambda one: [d for d, _ in evaluations_of(audit)].index(one[0]))
    lines = _lines(audit, columns, settings)
    heights: list[float] = []
    families: dict[str, float] = {}
    y = 0.0
    for line in lines:
        if line.family not in families:
            y += 0.0 if not families else 0.5
            families[line.family] = y
        heights.append(y)
        y += 1
    figure = new_figure(6.0 + 0.3 * max(len(columns), 4), 1.9 + _ROW * y)
    axes = figure.subplots()
    for line, height in zip(lines, heights, strict=True):
        for x, (verdict, because) in enumerate(line.cells):
            _cell(axes, x, height, verdict, because)
    _names(axes, lines, heights, families)
    _columns(axes, columns, settings)
    axes.set_xlim(-0.5, len(columns) - 0.5)
    axes.set_ylim(y - 0.4, -0.6)
    clean_axes(axes)
    _legend(figure, audit)
    return figure


def _lines(audit: pd.DataFrame, columns: Sequence[Place], settings: FigureSettings) -> list[Line]:
    """Metrics of a family with the same verdicts in one line; in a family, evidence everywhere comes first."""
    alike: dict[tuple[str, Cells], list[tuple[str, str, str]]] = {}
    audit = audit.assign(because=audit["because"].fillna(""))
    for key, part in audit.groupby(["family", "metric", "variant", "rule"], sort=False):
        family, metric, variant, rule = map(str, key)
        verdicts = dict(zip(evaluations_of(part), zip(part["verdict"], part["because"], strict=True), strict=True))
        cells = tuple(verdicts.get(column, ("", "")) for column in columns)
        alike.setdefault((family, cells), []).append((metric, variant, rule))
    lines = [Line(family, _label(metrics, settings), cells) for (family, cells), metrics in alike.items()]
    order = {family: i for i, family in enumerate(dict.fromkeys(audit["family"]))}
    return sorted(lines, key=lambda line: (order[line.family], sum(v == NOT_EVIDENCE for v, _ in line.cells)))


def _label(metrics: Sequence[tuple[str, str, str]], settings: FigureSettings) -> str:
    """One metric with its readings and rules; of several how many there are, and as many names as fit."""
    qualified: dict[str, dict[str, list[str]]] = {}
    for metric, variant, rule in metrics:
        rules = qualified.setdefault(metric, {}).setdefault("" if variant == "-" else variant, [])
        rules += [] if rule == "-" else [RULE_LABELS.get(rule, rule)]
    names = []
    for metric, variants in qualified.items():
        parts = [" ".join(filter(None, (v, _rules(rules)))) for v, rules in variants.items() if v or rules]
        plain = list(variants) == ["truth"]  # the usual label set needs no mention
        names.append(settings.metric(metric).label + (f" ({'; '.join(parts)})" if parts and not plain else ""))
    label = ", ".join(names)
    if len(label) <= _LONGEST or len(names) == 1:
        return label
    label = f"{len(metrics)} metrics: "
    for i, name in enumerate(names):
        if i and len(label) + len(name) > _LONGEST:
            return f"{label}…"
        label += f"{name}, "
    return label.rstrip(", ")


def _rules(rules: Sequence[str]) -> str:
    return "all rules" if set(rules) == set(RULE_LABELS.values()) else ", ".join(rules)


def _cell(axes: Axes, x: float, y: float, verdict: str, because: str) -> None:
    if not verdict:
        return
    axes.add_patch(
        Rectangle((x - 0.46, y - 0.44), 0.92, 0.88, facecolor=VERDICT_COLOURS[verdict], edgecolor="none", zorder=1)
    )
    mark = LETTERS.get(because, "×") if verdict == NOT_EVIDENCE else MARKS[verdict]
    bad = verdict == NOT_EVIDENCE
    axes.text(
        x, y, mark, ha="center", va="center", fontsize=7, zorder=2,
        color="white" if bad else "#5A6B78", fontweight="bold" if bad else "normal",
    )  # fmt: skip


def _names(axes: Axes, lines: Sequence[Line], heights: Sequence[float], families: Mapping[str, float]) -> None:
    """Metrics on the left, families on the right."""
    axes.set_yticks(heights, [line.label for line in lines], fontsize=7)
    last = {line.family: height for line, height in zip(lines, heights, strict=True)}
    middles = [(first + last[family]) / 2 for family, first in families.items()]
    right = axes.secondary_yaxis("right")
    right.set_yticks(middles, [spelled(family) for family in families], fontsize=8, fontweight="bold")
    clean_axes(right)


def _columns(axes: Axes, columns: Sequence[Place], settings: FigureSettings) -> None:
    """Evaluations above, datasets below, set apart by a line."""
    names = [settings.evaluation_label(column) for column in columns]
    at: dict[str, list[int]] = {}
    for i, (dataset, _) in enumerate(columns):
        at.setdefault(dataset, []).append(i)
    for places in list(at.values())[1:]:
        axes.axvline(places[0] - 0.5, color=DARK, linewidth=0.8)
    axes.xaxis.tick_top()
    axes.set_xticks(range(len(columns)), names, rotation=45, ha="left", rotation_mode="anchor", fontsize=7)
    below = axes.secondary_xaxis("bottom")
    titles = [wrapped(settings.dataset_label(d), max(12, 6 * len(places))) for d, places in at.items()]
    below.set_xticks([(places[0] + places[-1]) / 2 for places in at.values()], titles, fontsize=6.5)
    clean_axes(below)


def _legend(figure: Figure, audit: pd.DataFrame) -> None:
    handles = [
        Rectangle((0, 0), 1, 1, facecolor=colour, label=MEANINGS[verdict])
        for verdict, colour in VERDICT_COLOURS.items()
    ]
    rules = set(audit.loc[audit["verdict"] == NOT_EVIDENCE, "because"].dropna())
    letters = [f"{letter} {rule}" for rule, letter in LETTERS.items() if rule in rules]
    legend = figure.legend(
        handles=handles,
        loc="outside lower left",
        ncols=3,
        handlelength=1,
        handleheight=1,
        title=f"not evidence, by:  {',  '.join(letters)}" if letters else None,
        alignment="left",
    )
    legend.get_title().set_fontsize(8)
