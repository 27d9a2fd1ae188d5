"""Confusion

Share of the cells of each true type (rows) that the best-ranked method of the evaluation assigns to each label
(columns), over all its test sets; shares of the labels each have a matrix. Of many large matrices those with most
errors are shown; how many of how many is said above. Shares of 0.05 and more are written out.
Types are in the order of the Cell Ontology, so that neighbours are related. Numbers beside the types: test cells, each
counted once, however many fits test it. ∅: no training cell of any fit has the type; ◐: none in some fits.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.figure import Figure

from annobench.figures.shared.heat import colour_bar, heat, name_columns, name_rows, shares
from annobench.figures.shared.labels import method_labels, shown_apart, tree_order, wrapped
from annobench.figures.shared.pages import in_rows
from annobench.figures.shared.settings import FigureSettings
from annobench.figures.shared.short_names import shortened, text_width
from annobench.figures.shared.style import WIDEST, Tables, new_figure
from annobench.figures.shared.trained import counted, explain, marks_of

TABLES = ("ranking", "confusion", "classes", "trees", "splits")
ORDER = 50
_NAMES, _TITLE, _LEAST = 2.9, 1.1, 2.9  # inches beside and above a matrix, and of a matrix
_ROWS = 120  # of all matrices together


@dataclass(frozen=True, eq=False)
class Matrix:
    """One panel: tests by true and predicted type, the names of its rows and columns, its title, and its marks."""

    tests: pd.DataFrame
    rows: list[str]
    columns: list[str]
    title: str
    marks: set[str]

    @property
    def field(self) -> float:
        """Side of a field, inches: smaller where there are many."""
        return min(0.29, (WIDEST - _NAMES - 0.8) / len(self.columns))

    @property
    def width(self) -> float:
        """Of the panel without the names of its rows, inches: at least as wide as titles need."""
        return max(self.field * len(self.columns), _LEAST)

    @property
    def points(self) -> float:
        """Size of the names."""
        return min(7.5, 32 * self.field)

    @property
    def size(self) -> tuple[float, float]:
        """Width and height with names, inches."""
        below = max(text_width(shortened(name), self.points) for name in self.columns) + 0.4
        beside = max(text_width(name, self.points) for name in self.rows) + 0.5
        return beside + self.width, _TITLE + below + self.field * len(self.rows)


def draw(tables: Tables, settings: FigureSettings) -> Figure | None:
    """One matrix per evaluation, and per share of the labels, in rows as wide as the page."""
    ranking = tables["ranking"]
    labels = method_labels(ranking)
    best = ranking[(ranking["rank"] == 1) & (ranking["dataset"] != "all")]
    names = tables["classes"].drop_duplicates("label_id").set_index("label_id")["label"].to_dict()
    names |= tables["trees"].drop_duplicates("label_id").set_index("label_id")["label"].to_dict()
    matrices = []
    for row in best.itertuples():
        place = (row.dataset, row.evaluation)
        for split, part in shown_apart(tables["confusion"], place, tables["splits"]):
            title = ", ".join([settings.evaluation_label(place), *([split] if split else [])])
            title = f"{settings.dataset_label(row.dataset)}\n{title}\n{labels[row.method]}"
            tree = tables["trees"][tables["trees"]["dataset"] == row.dataset]
            one = _matrix(part[part["method"] == row.method], tree, names, title)
            matrices += [one] if one.rows else []  # a method may predict no labels
    if not matrices:
        return None
    every, matrices = len(matrices), _telling(matrices)
    pages = in_rows(matrices, [one.size[0] for one in matrices], WIDEST - 0.8)
    heights = [max(one.size[1] for one in page) for page in pages]
    figure = new_figure(0.8 + max(sum(one.size[0] for one in page) for page in pages), sum(heights))
    parts = figure.subfigures(len(pages), 1, squeeze=False, height_ratios=heights)[:, 0]
    for part, page in zip(parts, pages, strict=True):
        width = figure.get_figwidth() - 0.8
        rest = width - sum(one.size[0] for one in page)  # so that fields have one size in all rows
        ratios = [one.width for one in page] + ([rest] if rest > 0.5 else [])
        grid = part.subplots(1, len(ratios), squeeze=False, width_ratios=ratios)[0]
        for axes in grid[len(page) :]:
            axes.set_visible(False)
        mesh = [_draw(axes, one) for axes, one in zip(grid, page, strict=False)][-1]
        colour_bar(part, mesh, list(grid), "share of the true type")
    if len(matrices) < every:
        parts[0].suptitle(f"The {len(matrices)} of {every} test sets with most errors", fontsize=8, x=0.01, ha="left")
    explain(figure, {mark for one in matrices for mark in one.marks})
    return figure


def _telling(matrices: list[Matrix]) -> list[Matrix]:
    """All matrices, or where they have many rows together those with most errors, as many as can be read."""
    order = sorted(matrices, key=lambda one: np.diag(one.tests).sum() / one.tests.to_numpy().sum())
    kept: list[Matrix] = []
    rows = 0
    for one in order:
        rows += len(one.rows)
        kept += [one] if rows <= _ROWS or not kept else []
    return [one for one in matrices if one in kept]


def _draw(axes: Axes, one: Matrix) -> QuadMesh:
    share = one.tests.div(one.tests.sum(axis=1), axis=0)
    mesh = heat(axes, share, notes=shares(share, 0.05), fontsize=min(6.5, 22 * one.field), square=True)
    axes.set_anchor("NW")
    name_columns(axes, one.columns, fontsize=one.points)
    name_rows(axes, one.rows, fontsize=one.points)
    title = "\n".join(wrapped(line, int(12.5 * one.width)) for line in one.title.split("\n"))
    axes.set_title(title, fontsize=8.5)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true (cells)")
    return mesh


def _matrix(part: pd.DataFrame, tree: pd.DataFrame, names: dict[str, str], title: str) -> Matrix:
    """Tests by true and predicted type, both in the order of the tree; predictions outside of it come last."""
    tests = part.pivot(index="true", columns="predicted", values="n").fillna(0)
    order = tree_order(tree)
    rows = [c for c in order if c in tests.index]
    columns = [*rows, *(c for c in order if c in tests.columns and c not in rows)]
    columns += sorted(set(tests.columns) - set(order))
    cells, marks = part.groupby("true")["cells"].sum(min_count=1), marks_of(part, "true")
    return Matrix(
        tests.reindex(index=rows, columns=columns, fill_value=0),
        [f"{shortened(names.get(c, c))} ({counted(cells[c], marks[c])})" for c in rows],
        [names.get(c, c) for c in columns],
        title,
        {marks[c] for c in rows},
    )
