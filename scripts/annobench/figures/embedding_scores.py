"""Scores of embeddings

Every metric of embeddings that the study shows (`scoring.metrics`) in a column, one row per method, the best-ranked
first; ± is half the width of its interval. Below them controls: an embedding of nothing but the labels, and those that
know nothing of the labels. Colour: from the best of these (pale) to the labels alone (dark), so that pale methods are
no better than nothing. A column in red with a dagger is a metric that is not evidence in this evaluation, because a
control wins it; ↓: lower is better.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.figure import Figure

from annobench.figures.shared.heat import colour_bar, heat, name_rows
from annobench.figures.shared.labels import (
    NOT_EVIDENCE,
    evaluations_of,
    interval_words,
    label_of,
    part_of,
    place_title,
    shown_order,
    wrapped,
)
from annobench.figures.shared.needs import OF_EMBEDDINGS
from annobench.figures.shared.settings import FigureSettings, Place
from annobench.figures.shared.style import COLOURS, GREY, Tables, headline, new_figure

TABLES = ("summary", "audit", "ranking")
NEEDS = ("embedding_scores",)
ORDER = 45
_BLIND = ("shuffled", "noise", "batch_alone", "depth_alone")
_FIELD, _ROW, _NAMES, _HEAD = 0.78, 0.21, 2.9, 1.0  # inches
_WIDE = 12  # columns beside each other


def draw(tables: Tables, settings: FigureSettings) -> Figure | None:
    """A heat map per evaluation, or several where there are many metrics."""
    audit = tables["audit"]
    audit = audit[audit["family"].isin(OF_EMBEDDINGS)]
    summary = tables["summary"]
    summary = summary[(summary["split"] == "all") & (summary["dataset"] != "all")]
    summary = summary[summary["metric"].isin(audit["metric"]) & summary["value"].notna()]
    places = evaluations_of(summary)
    if not places:
        return None
    blocks = []
    for place in places:
        part = part_of(summary, place)
        metrics = list(dict.fromkeys(part["metric"]))
        for i in range(0, len(metrics), _WIDE):
            of_place = {"summary": part, "audit": part_of(audit, place), "ranking": tables["ranking"]}
            blocks.append(Block(place, metrics[i : i + _WIDE], settings, **of_place))
    heights = [_HEAD + 0.35 + _ROW * len(block.rows) for block in blocks]
    widest = max(len(block.metrics) for block in blocks)
    figure = new_figure(_NAMES + 0.7 + _FIELD * max(widest, 5), sum(heights))
    bands = figure.subfigures(len(blocks), 1, squeeze=False, height_ratios=heights)[:, 0]
    for band, block in zip(bands, blocks, strict=True):
        rest = max(widest, 5) - len(block.metrics)
        ratios = [len(block.metrics), *([rest] if rest else [])]
        grid = band.subplots(1, len(ratios), squeeze=False, width_ratios=ratios)[0]
        for axes in grid[1:]:
            axes.set_visible(False)
        mesh = block.draw(grid[0])
        words = interval_words(block.summary, settings)
        headline(band, f"{place_title(block.place, settings)} (±: {words})")
        colour_bar(band, mesh, list(grid), "0: best control\n1: labels alone", inches=0.8)
    return figure


class Block:
    """Metrics of one evaluation."""

    def __init__(
        self,
        place: Place,
        metrics: Sequence[str],
        settings: FigureSettings,
        *,
        summary: pd.DataFrame,
        audit: pd.DataFrame,
        ranking: pd.DataFrame,
    ) -> None:
        self.place, self.metrics, self.settings = place, list(metrics), settings
        self.summary = summary[summary["metric"].isin(self.metrics)]
        audit = audit[audit["variant"].isin(["-", "cells"])].drop_duplicates("metric").set_index("metric")
        self.audit = audit.reindex(self.metrics)
        self.methods, _, labels = shown_order(self.summary["method"], ranking, settings)
        known = [name for name in ("oracle", *_BLIND) if name in audit and self.audit[name].notna().any()]
        self.controls = known
        names = {"oracle": "Truth (labels alone)"}
        self.rows = {m: labels[m] for m in self.methods} | {c: names.get(c) or label_of(c, {}) for c in known}

    def draw(self, axes: Axes) -> QuadMesh:
        """The heat map, a line between methods and controls."""
        of_methods = self.summary.pivot_table(index="method", columns="metric", values=["value", "low", "high"])
        values = of_methods["value"].reindex(index=self.methods, columns=self.metrics)
        half = pd.DataFrame(np.nan, index=self.methods, columns=self.metrics)
        if {"low", "high"} <= set(of_methods.columns.get_level_values(0)):
            half = ((of_methods["high"] - of_methods["low"]) / 2).reindex(index=self.methods, columns=self.metrics)
        of_controls = self.audit[self.controls].T.astype(float)
        table = pd.concat([values, of_controls])
        notes = pd.concat([values.map(_number) + half.map(_plus_minus), of_controls.map(_number)])
        mesh = heat(axes, table.apply(self._scaled), notes=notes, fontsize=7)
        axes.axhline(len(self.methods), color="black", linewidth=1)
        name_rows(axes, list(self.rows.values()), fontsize=7.5)
        for text, name in zip(axes.get_yticklabels(), self.rows, strict=True):
            text.set_color(GREY if name in self.controls else "black")
        doubted = [self.audit["verdict"].get(metric) == NOT_EVIDENCE for metric in self.metrics]
        words = [self.settings.metric(metric) for metric in self.metrics]
        names = [
            wrapped(one.label + (" ↓" if one.lower_is_better else "") + ("†" if bad else ""), 12)
            for one, bad in zip(words, doubted, strict=True)
        ]
        axes.xaxis.tick_top()
        axes.set_xticks(np.arange(len(names)) + 0.5, names)
        axes.tick_params(axis="x", rotation=0, length=0, labelsize=7.5)
        for text, bad in zip(axes.get_xticklabels(), doubted, strict=True):
            text.set_color(COLOURS[1] if bad else "black")
        return mesh

    def _scaled(self, column: "pd.Series[float]") -> "pd.Series[float]":
        """Values of a metric, from 0 for the best control that knows no labels to 1 for the labels alone."""
        blind = column.reindex(list(_BLIND)).dropna()
        lower = self.settings.metric(str(column.name)).lower_is_better
        nothing = (blind.min() if lower else blind.max()) if len(blind) else 0.0
        whole = column.get("oracle", np.nan)
        gap = whole - nothing
        # where labels alone are no better than the best control, the metric tells nothing
        scaled = (column - nothing) / gap if np.isfinite(gap) and gap * (-1 if lower else 1) > 0 else column * 0.0
        return scaled.clip(0, 1)


def _number(value: float) -> str:
    return f"{value:z.2f}" if np.isfinite(value) else ""


def _plus_minus(half: float) -> str:
    return f" ±{half:.2f}" if np.isfinite(half) and half >= 0.005 else ""
