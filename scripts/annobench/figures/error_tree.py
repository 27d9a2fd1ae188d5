"""Where errors go on the Cell Ontology

Cells of every type (rows) by how the prediction of the best-ranked method relates to it, beside the tree of the types
in the Cell Ontology: the type itself, a type below it (more special), above it (more general), one with the same parent
in the tree, one elsewhere, or unknown. Shares of the labels each have a panel. Grey terms only join types and are not
classes themselves. Numbers on the right: test cells, each counted once, however many fits test it. ∅: no training cell
of any fit has the type; ◐: none in some fits.
"""

import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from annobench.figures.shared.class_rows import TREE, draw_class_rows
from annobench.figures.shared.heat import name_rows
from annobench.figures.shared.labels import method_labels, part_of, shown_apart, tree_order, wrapped
from annobench.figures.shared.pages import in_rows
from annobench.figures.shared.settings import FigureSettings
from annobench.figures.shared.style import COLOURS, GREY, LIGHT, WIDEST, Tables, headline, legend_below, new_figure
from annobench.figures.shared.trained import counted, handles_of, marks_of

TABLES = ("ranking", "error_relations", "classes", "trees", "splits")
ORDER = 71
_LOOKS = {
    "exact": (COLOURS[0], "the type itself"),
    "below": (COLOURS[5], "below it"),
    "above": (COLOURS[2], "above it"),
    "sibling": (COLOURS[4], "same parent"),
    "elsewhere": (COLOURS[1], "elsewhere"),
    "unknown": (LIGHT, "unknown"),
}
_PANEL, _ROW = 2.9, 0.24  # inches: width of a panel, height of a row


def draw(tables: Tables, settings: FigureSettings) -> Figure | None:
    """Rows of panels: the tree of a dataset, then bars for the best method of its evaluations and shares."""
    ranking, trees = tables["ranking"], tables["trees"].fillna({"parent": ""})
    labels = method_labels(ranking)
    best = ranking[(ranking["rank"] == 1) & ranking["dataset"].isin(trees["dataset"])]
    rows = []
    for dataset, part in best.groupby("dataset", sort=False):
        panels = [
            (wrapped(settings.evaluation_label((dataset, row.evaluation)), 34), split, row, relations)
            for row in part.itertuples()
            for split, shown in shown_apart(tables["error_relations"], (dataset, row.evaluation), tables["splits"])
            if len(relations := shown[shown["method"] == row.method])  # a method may predict no labels
        ]
        pages = in_rows(panels, [_PANEL] * len(panels), WIDEST - TREE)
        rows += [(dataset, page) for page in pages]
    if not rows:
        return None
    orders = {dataset: tree_order(trees[trees["dataset"] == dataset]) for dataset, _ in rows}
    heights = [1.5 + _ROW * len(orders[dataset]) for dataset, _ in rows]
    widest = max(len(page) for _, page in rows)
    figure = new_figure(TREE + _PANEL * widest, sum(heights) + 0.4)
    bands = figure.subfigures(len(rows), 1, squeeze=False, height_ratios=heights)[:, 0]
    seen: set[str] = set()
    for band, (dataset, page) in zip(bands, rows, strict=True):
        grid = band.subplots(1, 1 + widest, squeeze=False, width_ratios=[TREE, *[_PANEL] * widest])[0]
        for axes in grid[1 + len(page) :]:
            axes.set_visible(False)
        tree = trees[trees["dataset"] == dataset]
        draw_class_rows(grid[0], tree.set_index("label_id").loc[orders[dataset]])
        headline(band, settings.dataset_label(dataset))
        for axes, (title, split, row, part) in zip(grid[1:], page, strict=False):
            classes = part_of(tables["classes"], (dataset, row.evaluation))
            classes = classes[(classes["method"] == row.method) & classes["split"].isin(part["split"])]
            marks = marks_of(classes, "label_id")
            seen |= {marks.get(label, "") for label in part["label_id"]}
            _bars(axes, part, orders[dataset], marks)
            lines = [title, *([split] if split else []), wrapped(labels[row.method], 34)]
            axes.set_title("\n".join(lines), fontsize=9, fontweight="normal")
    relations = {relation for *_, page in rows for *_, part in page for relation in part["relation"]}
    handles = [Patch(color=colour, label=text) for key, (colour, text) in _LOOKS.items() if key in relations]
    legend_below(figure, [*handles, *handles_of(seen)])
    return figure


def _bars(axes: Axes, part: pd.DataFrame, order: list[str], marks: dict[str, str]) -> None:
    """Shares of the relations of every type, stacked, with its number of cells on the right."""
    at = {label: i + 0.5 for i, label in enumerate(order)}
    shown = part[part["label_id"].isin(order)].assign(row=part["label_id"].map(at))
    sns.histplot(
        shown, y="row", weights="share", hue="relation", hue_order=list(reversed(_LOOKS)), multiple="stack",
        palette={key: colour for key, (colour, _) in _LOOKS.items()}, bins=range(len(order) + 1), shrink=0.75,
        alpha=1, linewidth=0, legend=False, ax=axes,
    )  # fmt: skip
    cells = part.groupby("label_id")["cells"].sum(min_count=1)
    axes.yaxis.tick_right()
    name_rows(axes, [counted(cells[c], marks.get(c, "")) if c in cells else "" for c in order])
    axes.tick_params(axis="y", colors=GREY, length=0)
    axes.spines["left"].set_visible(False)
    axes.set_xlim(0, 1)
    axes.set_ylim(len(order), 0)
    axes.set_xlabel("share of cells", fontsize=8)
    axes.set_ylabel("")
