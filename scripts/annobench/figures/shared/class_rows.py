"""A tree of classes whose terms are rows: panels beside it show values of the classes."""

import pandas as pd
from matplotlib.axes import Axes

from annobench.figures.shared.short_names import shortened, text_width
from annobench.figures.shared.style import GREY

TREE = 3.0  # inches: as wide as deep trees need
_POINTS, _STEP, _GAP = 7, 0.18, 0.08  # size of the names; inches from a term to its children, and to its name


def draw_class_rows(axes: Axes, tree: pd.DataFrame) -> None:
    """Terms as rows of height 1, their middles at 0.5, 1.5 and so on, indented by their depth, joined to their parents.

    x is in inches: names that would reach beyond the panel are cut.
    """
    row = {node: i + 0.5 for i, node in enumerate(tree.index)}
    depth: dict[str, int] = {}
    for node, parent in tree["parent"].items():
        depth[node] = depth[parent] + 1 if parent else 0
    step = min(_STEP, 1.1 / max(1, *depth.values()))
    for node, term in tree.iterrows():
        x, y = 0.06 + depth[node] * step, row[node]
        if term["parent"]:
            above = row[term["parent"]]
            axes.plot([x - step, x - step, x - 0.03], [above + 0.25, y, y], color=GREY, linewidth=0.7)
        colour = "black" if term["is_class"] else GREY
        axes.plot(x, y, "o", color=colour, markersize=3)
        axes.text(x + _GAP, y, _fitting(term["label"], TREE - x - _GAP), va="center", fontsize=_POINTS, color=colour)
    axes.set_xlim(0, TREE)
    axes.set_ylim(len(tree), 0)
    axes.axis("off")


def _fitting(label: str, inches: float) -> str:
    """A name as long as there is room."""
    name = shortened(label, 60)
    while len(name) > 4 and text_width(name, _POINTS) > inches:
        name = f"{name.rstrip('…')[:-1]}…"
    return name
