"""Probes per class

F1 of every type by logistic regression on the embedding, from all folds together, mean over seeds and splits: one
column per method; shares of the labels each have a heat map. Types are in the order of the first column. Labels that
are too small for the folds are left out.
"""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from annobench.figures.shared.labels import evaluations_of, place_title, shown_apart, shown_order, wrapped
from annobench.figures.shared.settings import FigureSettings
from annobench.figures.shared.short_names import shortened
from annobench.figures.shared.style import SEQUENTIAL, Tables, clean_axes, new_figure

TABLES = ("probe_classes", "ranking", "splits")
NEEDS = ("probes",)
ORDER = 47
FOLDS, CLASSIFIER = "cells", "logistic_regression"


def draw(tables: Tables, settings: FigureSettings) -> Figure | None:
    """A heat map per evaluation and share of the labels."""
    scores = tables["probe_classes"]
    scores = scores[(scores["folds_of"] == FOLDS) & (scores["classifier"] == CLASSIFIER)]
    if scores.empty:
        return None
    panels = [
        (place_title(place, settings), split, _table(part, tables["ranking"], settings, place))
        for place in evaluations_of(scores)
        for split, part in shown_apart(scores, place, tables["splits"])
    ]
    heights = [0.16 * len(table) + 1.5 for *_, table in panels]
    widest = max(len(table.columns) for *_, table in panels)
    figure = new_figure(3.4 + 0.75 * widest, sum(heights))
    grid = figure.subplots(len(panels), 1, squeeze=False, height_ratios=heights)[:, 0]
    for axes, (place_name, split, table) in zip(grid, panels, strict=True):
        axes.imshow(table.to_numpy(), vmin=0, vmax=1, cmap=SEQUENTIAL, aspect="auto")
        for (row, column), value in np.ndenumerate(table.to_numpy()):
            if np.isfinite(value):
                colour = "black" if value > 0.6 else "white"
                axes.text(column, row, f"{value:.2f}", ha="center", va="center", fontsize=6, color=colour)
        axes.set_yticks(range(len(table)), [shortened(str(label)) for label in table.index], fontsize=7)
        axes.set_xticks(range(len(table.columns)), list(table.columns), rotation=30, ha="right", fontsize=7)
        title = wrapped(place_name, 14 + 14 * len(table.columns)) + (f"\n{split}" if split else "")
        axes.set_title(title, fontsize=9)
        clean_axes(axes)
    return figure


def _table(part: pd.DataFrame, ranking: pd.DataFrame, settings: FigureSettings, place: tuple[str, str]) -> pd.DataFrame:
    """Types in rows, methods in columns, best first."""
    table = part.pivot_table(index="label", columns="method", values="f1", aggfunc="mean")
    methods, controls, labels = shown_order(table.columns, ranking, settings, place)
    table = table[[*methods, *controls]]
    return table.sort_values(next(iter(table.columns)), ascending=False, kind="stable").rename(columns=labels)
