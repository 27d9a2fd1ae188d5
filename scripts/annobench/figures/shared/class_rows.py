"""A tree of classes whose terms are rows: panels beside it show values of the classes."""

import pandas as pd
from matplotlib.axes import Axes

from annobench.figures.shared.short_names import shortened
from annobench.figures.shared.style import GREY


def draw_class_rows(axes: Axes, tree: pd.DataFrame) -> None:
    """Terms as rows, indented by their depth, joined to their parents."""
    row = {node: i for i, node in enumerate(tree.index)}
    depth: dict[str, int] = {}
    for node, parent in tree["parent"].items():
        depth[node] = depth[parent] + 1 if parent else 0
    step = 0.9
    for node, term in tree.iterrows():
        x, y = depth[node] * step, row[node]
        if term["parent"]:
            above = row[term["parent"]]
            axes.plot([x - step, x - step, x - 0.15], [above + 0.25, y, y], color=GREY, linewidth=0.7)
        axes.plot(x, y, "o", color="black" if term["is_class"] else GREY, markersize=3)
        axes.text(
            x + 0.25,
            y,
            shortened(term["label"], 44),
            va="center",
            fontsize=7.5,
            color="black" if term["is_class"] else GREY,
        )
    axes.set_xlim(-0.5, max(depth.values()) * step + 7)
    axes.set_ylim(len(tree) - 0.5, -0.5)
    axes.axis("off")
