"""Classes on the Cell Ontology

Mean F1 of every type (rows) for every method (columns), beside the tree of the types in the Cell Ontology; shares of
the labels each have a panel. Grey terms only join types and are not classes themselves. Numbers: test cells, each
counted once, however many fits test it. ∅: no training cell of any fit has the type; ◐: none in some fits.
"""

from matplotlib.figure import Figure

from annobench.figures.shared.class_rows import draw_class_rows
from annobench.figures.shared.labels import method_labels, ordered_methods, shown_apart, tree_order
from annobench.figures.shared.settings import FigureSettings
from annobench.figures.shared.style import GREY, SEQUENTIAL, Tables, clean_axes, new_figure
from annobench.figures.shared.trained import counted, explain, marks_of

TABLES = ("ranking", "classes", "trees", "splits")
ORDER = 70


def draw(tables: Tables, settings: FigureSettings) -> Figure | None:
    """One row of panels per dataset: its tree, then a heat map per evaluation and share of the labels."""
    methods, _ = ordered_methods(tables["ranking"], settings)
    labels = method_labels(tables["ranking"])
    classes, trees = tables["classes"], tables["trees"].fillna({"parent": ""})
    datasets = [d for d in dict.fromkeys(tables["ranking"]["dataset"]) if d in set(trees["dataset"])]
    if not datasets:
        return None
    panels = {
        d: [
            (evaluation, split, part)
            for evaluation in dict.fromkeys(classes.loc[classes["dataset"] == d, "evaluation"])
            for split, part in shown_apart(classes, (d, evaluation), tables["splits"])
        ]
        for d in datasets
    }
    widest = max(map(len, panels.values()))
    shown: set[str] = set()
    heights = [len(trees[trees["dataset"] == d]) + 1 for d in datasets]
    figure = new_figure(4.6 + widest * (0.6 + 0.29 * len(methods)), 2.6 + 0.25 * sum(heights))
    grid = figure.subplots(
        len(datasets), 1 + widest, squeeze=False, height_ratios=heights, width_ratios=[14, *[len(methods)] * widest]
    )
    for axes_row, dataset in zip(grid, datasets, strict=True):
        tree = trees[trees["dataset"] == dataset]
        order = tree_order(tree)
        draw_class_rows(axes_row[0], tree.set_index("label_id").loc[order])
        axes_row[0].set_title(settings.dataset_label(dataset))
        for axes, panel in zip(axes_row[1:], [*panels[dataset], *[None] * widest], strict=False):
            if panel is None:
                axes.set_visible(False)
                continue
            evaluation, split, part = panel
            values = part.pivot(index="label_id", columns="method", values="f1").reindex(index=order, columns=methods)
            image = axes.imshow(values, cmap=SEQUENTIAL, vmin=0, vmax=1, aspect="auto")
            cells, marks = part.groupby("label_id")["cells"].max(), marks_of(part, "label_id")
            shown |= set(marks.values())
            names = [counted(cells[c], marks[c]) if c in cells else "" for c in order]
            axes.set_yticks(range(len(order)), names, color=GREY)
            axes.yaxis.tick_right()
            axes.set_xticks(range(len(methods)), [labels[m] for m in methods], rotation=90)
            axes.tick_params(labelsize=7)
            clean_axes(axes)
            title = [settings.evaluation_label((dataset, evaluation)), *([split] if split else [])]
            axes.set_title("\n".join(title), fontsize=9)
            axes.set_ylim(len(order) - 0.5, -0.5)
    figure.colorbar(image, ax=grid, shrink=0.4, pad=0.01, label="F1").outline.set_visible(False)
    explain(figure, shown)
    return figure
