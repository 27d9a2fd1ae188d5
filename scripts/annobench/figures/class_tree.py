"""Classes on the Cell Ontology

Mean F1 of every type (rows) for every method (columns), beside the tree of the types in the Cell Ontology. Grey terms
only join types and are not classes themselves. Cell numbers are means per test set.
"""

from matplotlib.figure import Figure

from annobench.figures.shared.class_rows import draw_class_rows
from annobench.figures.shared.labels import method_labels, ordered_methods, part_of, tree_order
from annobench.figures.shared.settings import FigureSettings
from annobench.figures.shared.style import GREY, SEQUENTIAL, Tables, clean_axes, new_figure

TABLES = ("ranking", "classes", "trees")
ORDER = 70


def draw(tables: Tables, settings: FigureSettings) -> Figure | None:
    """One row of panels per dataset: its tree, then a heat map per evaluation."""
    methods, _ = ordered_methods(tables["ranking"], settings)
    labels = method_labels(tables["ranking"])
    classes, trees = tables["classes"], tables["trees"].fillna({"parent": ""})
    datasets = [d for d in dict.fromkeys(tables["ranking"]["dataset"]) if d in set(trees["dataset"])]
    if not datasets:
        return None
    evaluations = {d: list(dict.fromkeys(classes.loc[classes["dataset"] == d, "evaluation"])) for d in datasets}
    widest = max(map(len, evaluations.values()))
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
        for axes, evaluation in zip(axes_row[1:], [*evaluations[dataset], *[None] * widest], strict=False):
            if evaluation is None:
                axes.set_visible(False)
                continue
            part = part_of(classes, (dataset, evaluation))
            values = part.pivot(index="label_id", columns="method", values="f1").reindex(index=order, columns=methods)
            image = axes.imshow(values, cmap=SEQUENTIAL, vmin=0, vmax=1, aspect="auto")
            cells = part.drop_duplicates("label_id").set_index("label_id")["cells"]
            axes.set_yticks(range(len(order)), [f"{cells[c]:.0f}" if c in cells else "" for c in order], color=GREY)
            axes.yaxis.tick_right()
            axes.set_xticks(range(len(methods)), [labels[m] for m in methods], rotation=90)
            axes.tick_params(labelsize=7)
            clean_axes(axes)
            axes.set_title(settings.evaluation_label((dataset, evaluation)), fontsize=9)
            axes.set_ylim(len(order) - 0.5, -0.5)
    figure.colorbar(image, ax=grid, shrink=0.4, pad=0.01, label="F1").outline.set_visible(False)
    return figure
