"""Audit: which metric is evidence in which evaluation, and which control says that it is not."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from annobench.figures.shared.labels import NOT_EVIDENCE, RULE_NAMES, VERDICT_COLOURS, clean_axes, words, wrapped
from annobench.figures.shared.style import evaluation_name, evaluations_of, new_figure

TABLES = ["audit"]
REGIMES = ()
TITLE = "Which metric is evidence"
CAPTION = (
    "The verdict on every metric in every evaluation. Blue: the truth wins and every control loses. Red with a "
    "letter: not evidence of good annotation, since a control that must not win does: no information (N: majority, "
    "random, shuffled or noise labels do as well as the best method or the truth), merging (M: the truth with "
    "subtypes merged beats the truth), circular (C: labels by the highest markers beat the truth), unrelated "
    "tissue (T: a model of another tissue is as good as the best method), unrelated cells (U: the rule accepts half "
    "of them or more). Metrics of a family with the same verdicts everywhere share a row. Costs and "
    "metrics that only describe are left out."
)
LETTERS = {
    "no information": "N",
    "merging": "M",
    "circular": "C",
    "unrelated tissue": "T",
    "unrelated cells": "U",
}
_LONGEST = 68
_ROW = 0.19


def draw(tables: Mapping[str, pd.DataFrame], settings: Mapping[str, Any]) -> Figure | None:
    """Metrics in rows by family, evaluations in columns by dataset."""
    audit = tables["audit"]
    audit = audit[audit["verdict"].isin(list(VERDICT_COLOURS))]
    if audit.empty:
        return None
    columns = evaluations_of(audit)
    columns.sort(key=lambda one: [d for d, _ in evaluations_of(audit)].index(one[0]))
    rows = _grouped(audit, columns)
    heights: list[float] = []
    families: dict[str, float] = {}
    y = 0.0
    for family, _, _ in rows:
        if family not in families:
            y += 0.0 if not families else 0.5
            families[family] = y
        heights.append(y)
        y += 1
    figure = new_figure(6.0 + 0.3 * max(len(columns), 4), 1.9 + _ROW * y)
    axes = figure.subplots()
    for (_, _, cells), height in zip(rows, heights, strict=True):
        for x, (verdict, because) in enumerate(cells):
            _cell(axes, x, height, verdict, because)
    _names(axes, rows, heights, families)
    _columns(axes, columns, settings)
    axes.set_xlim(-0.5, len(columns) - 0.5)
    axes.set_ylim(y - 0.4, -0.6)
    clean_axes(axes)
    _legend(figure, audit)
    return figure


def _grouped(audit: pd.DataFrame, columns: Sequence[tuple[str, str]]) -> list[tuple[str, str, tuple[Any, ...]]]:
    """Family, label and cells (verdict, rule that decided) of every row; same verdicts of a family share one."""
    found: dict[tuple[str, tuple[Any, ...]], list[tuple[str, str, str]]] = {}
    keys = ["family", "metric", "variant", "rule"]
    audit = audit.assign(because=audit["because"].fillna(""))
    order = {family: i for i, family in enumerate(dict.fromkeys(audit["family"]))}
    for key, part in audit.groupby(keys, sort=False):
        said = dict(zip(evaluations_of(part), part[["verdict", "because"]].itertuples(index=False), strict=True))
        cells = tuple(tuple(said.get(column, ("", ""))) for column in columns)
        found.setdefault((str(key[0]), cells), []).append((str(key[1]), str(key[2]), str(key[3])))
    rows = [(family, _label(metrics), cells) for (family, cells), metrics in found.items()]
    # within a family from what is evidence everywhere to what is nowhere
    return sorted(rows, key=lambda row: (order[row[0]], sum(verdict == NOT_EVIDENCE for verdict, _ in row[2])))


def _label(metrics: Sequence[tuple[str, str, str]]) -> str:
    """One metric with its readings and rules, or how many there are and as many names as fit."""
    qualified: dict[str, dict[str, list[str]]] = {}
    for metric, variant, rule in metrics:
        rules = qualified.setdefault(metric, {}).setdefault("" if variant == "-" else variant, [])
        rules += [] if rule == "-" else [RULE_NAMES.get(rule, rule)]
    names = []
    for metric, variants in qualified.items():
        parts = [" ".join(filter(None, (v, _rules(rules)))) for v, rules in variants.items() if v or rules]
        names.append(words(metric) + (f" ({'; '.join(parts)})" if parts and not _plain(variants) else ""))
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
    return "all rules" if set(rules) == set(RULE_NAMES.values()) else ", ".join(rules)


def _plain(variants: Mapping[str, Sequence[str]]) -> bool:
    """Whether there is but the plain label set, which needs no mention."""
    return list(variants) == ["truth"]


def _cell(axes: Axes, x: float, y: float, verdict: str, because: str) -> None:
    if not verdict:
        return
    axes.add_patch(
        Rectangle((x - 0.46, y - 0.44), 0.92, 0.88, facecolor=VERDICT_COLOURS[verdict], edgecolor="none", zorder=1)
    )
    mark = LETTERS.get(because, "×") if verdict == NOT_EVIDENCE else {"informative": "✓", "untested": "–"}[verdict]
    bad = verdict == NOT_EVIDENCE
    axes.text(
        x, y, mark, ha="center", va="center", fontsize=7, zorder=2,
        color="white" if bad else "#5A6B78", fontweight="bold" if bad else "normal",
    )  # fmt: skip


def _names(axes: Axes, rows: Sequence[Any], heights: Sequence[float], families: Mapping[str, float]) -> None:
    axes.set_yticks(heights, [label for _, label, _ in rows], fontsize=7)
    last = {family: height for (family, _, _), height in zip(rows, heights, strict=True)}
    right = axes.secondary_yaxis("right")
    right.set_yticks(
        [(first + last[family]) / 2 for family, first in families.items()], [words(f) for f in families], fontsize=8
    )
    for label in right.get_yticklabels():
        label.set_fontweight("bold")
    clean_axes(right)


def _columns(axes: Axes, columns: Sequence[tuple[str, str]], settings: Mapping[str, Any]) -> None:
    """Names of evaluations above, of datasets below; datasets are set apart by a line."""
    names = [evaluation_name(*column, settings) for column in columns]
    at: dict[str, list[int]] = {}
    for i, (dataset, _) in enumerate(columns):
        at.setdefault(dataset, []).append(i)
    for places in list(at.values())[1:]:
        axes.axvline(places[0] - 0.5, color="#444444", linewidth=0.8)
    axes.xaxis.tick_top()
    axes.set_xticks(range(len(columns)), names, rotation=45, ha="left", rotation_mode="anchor", fontsize=7)
    below = axes.secondary_xaxis("bottom")
    titles = [wrapped(settings["datasets"].get(d, d), max(12, 6 * len(places))) for d, places in at.items()]
    below.set_xticks([(places[0] + places[-1]) / 2 for places in at.values()], titles, fontsize=7.5)
    clean_axes(below)


def _legend(figure: Figure, audit: pd.DataFrame) -> None:
    handles = [Rectangle((0, 0), 1, 1, facecolor=colour, label=_meaning(v)) for v, colour in VERDICT_COLOURS.items()]
    seen = set(audit.loc[audit["verdict"] == NOT_EVIDENCE, "because"].dropna())
    said = [f"{letter} {rule}" for rule, letter in LETTERS.items() if rule in seen]
    legend = figure.legend(
        handles=handles,
        loc="outside lower left",
        ncols=3,
        handlelength=1,
        handleheight=1,
        title=f"not evidence, by:  {',  '.join(said)}" if said else None,
        alignment="left",
    )
    legend.get_title().set_fontsize(8)


def _meaning(verdict: str) -> str:
    return {"informative": "✓  informative", NOT_EVIDENCE: "not evidence", "untested": "–  untested"}[verdict]
