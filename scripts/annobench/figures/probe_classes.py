"""Probes per class

F1 of every type by logistic regression on the embedding, from all folds together, mean over seeds and splits: one
column per method, the best-ranked first; shares of the labels each have a heat map. Types are in the order of the first
column. Labels that are too small for the folds are left out.
"""

import pandas as pd
from matplotlib.figure import Figure

from annobench.figures.shared.heat import colour_bar, heat, name_columns, name_rows, shares
from annobench.figures.shared.labels import evaluations_of, shown_apart, shown_order, wrapped
from annobench.figures.shared.pages import in_rows
from annobench.figures.shared.settings import FigureSettings, Place
from annobench.figures.shared.short_names import shortened
from annobench.figures.shared.style import WIDEST, Tables, new_figure

TABLES = ("probe_classes", "ranking", "splits")
NEEDS = ("probes",)
ORDER = 47
FOLDS, CLASSIFIER = "cells", "logistic_regression"
_NAMES, _FIELD, _ROW = 2.6, 0.36, 0.17  # inches: names of types, width of a column, height of a row


def draw(tables: Tables, settings: FigureSettings) -> Figure | None:
    """A heat map per evaluation and share of the labels, in rows as wide as the page."""
    scores = tables["probe_classes"]
    scores = scores[(scores["folds_of"] == FOLDS) & (scores["classifier"] == CLASSIFIER)]
    if scores.empty:
        return None
    panels = [
        (_title(place, settings), split, _table(part, tables["ranking"], settings, place))
        for place in evaluations_of(scores)
        for split, part in shown_apart(scores, place, tables["splits"])
    ]
    rows = in_rows(panels, [_NAMES + max(_FIELD * len(t.columns), 1.0) for *_, t in panels], WIDEST - 0.7)
    heights = [2.7 + _ROW * max(len(table) for *_, table in row) for row in rows]
    widest = max(sum(_NAMES + max(_FIELD * len(t.columns), 1.0) for *_, t in row) for row in rows)
    figure = new_figure(widest + 0.7, sum(heights))
    bands = figure.subfigures(len(rows), 1, squeeze=False, height_ratios=heights)[:, 0]
    for band, row in zip(bands, rows, strict=True):
        used = sum(_NAMES + max(_FIELD * len(t.columns), 1.0) for *_, t in row)
        ratios = [max(_FIELD * len(t.columns), 1.0) for *_, t in row] + ([widest - used] if widest - used > 0.5 else [])
        most = max(len(table) for *_, table in row)
        grid = band.subplots(1, len(ratios), squeeze=False, width_ratios=ratios)[0]
        for axes in grid[len(row) :]:
            axes.set_visible(False)
        for axes, (name, split, table) in zip(grid, row, strict=False):
            mesh = heat(axes, table, notes=shares(table))
            axes.set_ylim(most, 0)  # rows as high in all panels of a line
            name_rows(axes, [shortened(str(label)) for label in table.index])
            axes.xaxis.tick_top()
            name_columns(axes, list(table.columns), length=60)
            axes.tick_params(axis="x", length=0)
            axes.set_title(name + (f"\n{split}" if split else ""), fontsize=8.5)
        colour_bar(band, mesh, list(grid), "F1 of the probe")
    return figure


def _title(place: Place, settings: FigureSettings) -> str:
    return f"{wrapped(settings.dataset_label(place[0]), 36)}\n{settings.evaluation_label(place)}"


def _table(part: pd.DataFrame, ranking: pd.DataFrame, settings: FigureSettings, place: Place) -> pd.DataFrame:
    """Types in rows, methods in columns, best first."""
    table = part.pivot_table(index="label", columns="method", values="f1", aggfunc="mean")
    methods, controls, labels = shown_order(table.columns, ranking, settings, place)
    table = table[[*methods, *controls]]
    return table.sort_values(next(iter(table.columns)), ascending=False, kind="stable").rename(columns=labels)
