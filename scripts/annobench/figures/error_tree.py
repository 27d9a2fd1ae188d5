"""Where errors go on the Cell Ontology

Cells of every type (rows) by how the prediction of the best-ranked method relates to it, beside the tree of the types
in the Cell Ontology: the type itself, a type below it (more special), above it (more general), one with the same parent
in the tree, one elsewhere, or unknown. Shares of the labels each have a panel. Grey terms only join types and are not
classes themselves. Numbers: test cells, each counted once, however many fits test it.
"""

from matplotlib.figure import Figure

from annobench.figures.shared.class_rows import draw_class_rows
from annobench.figures.shared.labels import method_labels, shown_apart, tree_order
from annobench.figures.shared.settings import FigureSettings
from annobench.figures.shared.style import COLOURS, GREY, LIGHT, Tables, new_figure
from annobench.figures.shared.trained import counted

TABLES = ("ranking", "error_relations", "trees", "splits")
ORDER = 71
_LOOKS = {
    "exact": (COLOURS[0], "the type itself"),
    "below": (COLOURS[5], "below it"),
    "above": (COLOURS[2], "above it"),
    "sibling": (COLOURS[4], "same parent"),
    "elsewhere": (COLOURS[1], "elsewhere"),
    "unknown": (LIGHT, "unknown"),
}


def draw(tables: Tables, settings: FigureSettings) -> Figure | None:
    """One row of panels per dataset: its tree, then bars for the best method of every evaluation and share."""
    ranking, trees = tables["ranking"], tables["trees"].fillna({"parent": ""})
    labels = method_labels(ranking)
    best = ranking[(ranking["rank"] == 1) & ranking["dataset"].isin(trees["dataset"])]
    panels = {
        dataset: [
            (row, split, shown[shown["method"] == row.method])
            for row in part.itertuples()
            for split, shown in shown_apart(tables["error_relations"], (dataset, row.evaluation), tables["splits"])
            or [("", tables["error_relations"].head(0))]  # a method without labels keeps its place
        ]
        for dataset, part in best.groupby("dataset", sort=False)
    }
    if not panels:
        return None
    widest = max(map(len, panels.values()))
    heights = [len(trees[trees["dataset"] == dataset]) + 1 for dataset in panels]
    figure = new_figure(4.6 + 2.6 * widest, 2.0 + 0.25 * sum(heights))
    grid = figure.subplots(
        len(panels), 1 + widest, squeeze=False, height_ratios=heights, width_ratios=[14, *[9] * widest]
    )
    for axes_row, (dataset, rows) in zip(grid, panels.items(), strict=True):
        tree = trees[trees["dataset"] == dataset]
        order = tree_order(tree)
        draw_class_rows(axes_row[0], tree.set_index("label_id").loc[order])
        axes_row[0].set_title(settings.dataset_label(dataset))
        for axes, one in zip(axes_row[1:], [*rows, *[None] * widest], strict=False):
            if one is None:
                axes.set_visible(False)
                continue
            row, split, part = one
            shares = part.pivot(index="label_id", columns="relation", values="share").reindex(order).fillna(0.0)
            left = shares.sum(axis=1) * 0
            for relation, (colour, text) in _LOOKS.items():
                if relation in shares:
                    axes.barh(range(len(order)), shares[relation], left=left, color=colour, label=text, height=0.7)
                    left = left + shares[relation]
            cells = part.groupby("label_id")["cells"].sum(min_count=1)
            axes.set_yticks(range(len(order)), [counted(cells[c]) if c in cells else "" for c in order], color=GREY)
            axes.yaxis.tick_right()
            axes.tick_params(labelsize=7, length=0)
            axes.spines["left"].set_visible(False)
            axes.set_xlim(0, 1)
            axes.set_ylim(len(order) - 0.5, -0.5)
            axes.set_xlabel("share of cells")
            title = [settings.evaluation_label((dataset, row.evaluation)), *([split] if split else [])]
            axes.set_title("\n".join([*title, labels[row.method]]), fontsize=9)
    pairs = [pair for axes in figure.axes for pair in zip(*axes.get_legend_handles_labels(), strict=True)]
    handles = {text: handle for handle, text in pairs}
    shown = [text for _, text in _LOOKS.values() if text in handles]
    figure.legend([handles[text] for text in shown], shown, loc="outside lower center", ncols=len(_LOOKS))
    return figure
