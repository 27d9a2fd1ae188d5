"""Confusion

Share of the cells of each true type (rows) that the best-ranked method of the evaluation assigns to each label
(columns), over all its test sets; shares of the labels each have a matrix. Types are in the order of the Cell Ontology,
so that neighbours are related. Numbers: test cells, each counted once, however many fits test it. ∅: no training cell
of any fit has the type; ◐: none in some fits.
"""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from annobench.figures.shared.labels import evaluation_title, method_labels, shown_apart, tree_order
from annobench.figures.shared.settings import FigureSettings
from annobench.figures.shared.short_names import shortened
from annobench.figures.shared.style import SEQUENTIAL, Tables, clean_axes, new_figure
from annobench.figures.shared.trained import counted, explain, marks_of

TABLES = ("ranking", "confusion", "classes", "trees", "splits")
ORDER = 50


def draw(tables: Tables, settings: FigureSettings) -> Figure | None:
    """One matrix per evaluation, and per share of the labels, side by side."""
    ranking = tables["ranking"]
    labels = method_labels(ranking)
    best = ranking[(ranking["rank"] == 1) & (ranking["dataset"] != "all")]
    names = tables["classes"].drop_duplicates("label_id").set_index("label_id")["label"].to_dict()
    names |= tables["trees"].drop_duplicates("label_id").set_index("label_id")["label"].to_dict()
    parts = [
        (row, split, part[part["method"] == row.method])
        for row in best.itertuples()
        for split, part in shown_apart(tables["confusion"], (row.dataset, row.evaluation), tables["splits"])
    ]
    parts = [(row, split, part) for row, split, part in parts if len(part)]  # a method may predict no labels
    matrices = [(row, split, part, _matrix(tables, row.dataset, part)) for row, split, part in parts]
    if not matrices:
        return None
    widths = [len(m.columns) for *_, m in matrices]
    figure = new_figure(sum(1.9 + 0.3 * w for w in widths) + 0.6, 2.8 + 0.3 * max(len(m) for *_, m in matrices))
    panels = figure.subplots(1, len(matrices), squeeze=False, width_ratios=widths)[0]
    shown: set[str] = set()
    for axes, (row, split, part, matrix) in zip(panels, matrices, strict=True):
        cells, marks = part.groupby("true")["cells"].sum(min_count=1), marks_of(part, "true")
        shown |= {marks[label] for label in matrix.index}
        share = matrix.div(matrix.sum(axis=1), axis=0)
        image = axes.imshow(share, cmap=SEQUENTIAL, vmin=0, vmax=1)
        _write_shares(axes, share)
        axes.set_xticks(range(len(share.columns)), [shortened(names.get(c, c)) for c in share.columns], rotation=90)
        axes.set_yticks(
            range(len(share)), [f"{shortened(names.get(c, c))} ({counted(cells[c], marks[c])})" for c in share.index]
        )
        axes.tick_params(labelsize=7)
        clean_axes(axes)
        title = evaluation_title((row.dataset, row.evaluation), settings)
        axes.set_title("\n".join([title, *([split] if split else []), labels[row.method]]))
        axes.set_xlabel("predicted")
        axes.set_ylabel("true (cells)")
    bar = figure.colorbar(image, ax=figure.axes, shrink=0.5, pad=0.01, label="share of the true type")
    bar.outline.set_visible(False)
    explain(figure, shown)
    return figure


def _matrix(tables: Tables, dataset: str, part: pd.DataFrame) -> pd.DataFrame:
    """Tests by true and predicted type, both in the order of the tree; predictions outside of it come last."""
    matrix = part.pivot(index="true", columns="predicted", values="n").fillna(0)
    order = tree_order(tables["trees"][tables["trees"]["dataset"] == dataset])
    rows = [c for c in order if c in matrix.index]
    columns = [*rows, *(c for c in order if c in matrix.columns and c not in rows)]
    columns += sorted(set(matrix.columns) - set(order))
    return matrix.reindex(index=rows, columns=columns, fill_value=0)


def _write_shares(axes: Axes, share: pd.DataFrame) -> None:
    """Write the shares of five percent and more into their fields."""
    for i, j in zip(*(share.to_numpy() >= 0.05).nonzero(), strict=True):
        value = share.iat[i, j]
        axes.text(
            j, i, f"{value:.2f}".lstrip("0"), ha="center", va="center", fontsize=6,
            color="white" if value < 0.5 else "black",
        )  # fmt: skip
