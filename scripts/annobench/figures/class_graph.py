"""The classes in their ontology: which of them gain, which lose, and what they are related to."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize, TwoSlopeNorm
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import PathPatch
from matplotlib.path import Path

from annobench.figures.shared.layered import components, place
from annobench.figures.shared.releases import (
    DIVERGING,
    contrast_name,
    differences,
    fitted_of,
    main_contrasts,
    places,
    primary_contrast,
    significant,
    subtitle,
)
from annobench.figures.shared.short_names import in_lines, short_names, text_width
from annobench.figures.shared.style import GREY, LIGHT, new_figure

TABLES = ["nodes", "edges", "contrasts"]
REGIMES = ("release",)
NEEDS = "contrasts"
TITLE = "Differences on the ontology of the classes"
CAPTION = (
    "The training classes in the Cell Ontology, from general (left) to special (right); a line leads from a class to "
    "the next below it among them. Colour: difference in F1 (descendant rule) out of distribution, red where the "
    "hierarchical loss is better, blue where cross-entropy is; grey: no cells out of distribution. Size: training "
    "cells, on a logarithmic scale. Ring: significant over runs after Holm's correction. Classes without relatives "
    "stand in a block. Below, the same for the other models."
)
POINTS = 7.0  # of the names
_WRAP, _LINE = 20, 0.106  # characters and inches of a line of a name
_SMALL, _LARGE = 0.05, 0.19  # diameters, inches
_GAP, _CHANNEL = 0.05, 0.3  # between node and name; room for edges between columns
_WIDTH = 13.0
Spot = tuple[float, float]


class Drawing:
    """Places (inches, y downwards) of all classes of a dataset, and the lines between them."""

    def __init__(self, nodes: pd.DataFrame, edges: pd.DataFrame) -> None:
        self.nodes = nodes.drop_duplicates("label_id").set_index("label_id")
        self.names = {
            node: in_lines(name, _WRAP)
            for node, name in zip(self.nodes.index, short_names(list(self.nodes["label"].astype(str))), strict=True)
        }
        self.spots: dict[Any, Spot] = {}
        self.lines: list[list[Spot]] = []
        self.headings: list[tuple[Spot, str]] = []
        links = [
            (p, c)
            for p, c in zip(edges["parent"], edges["child"], strict=True)
            if p in self.nodes.index and c in self.nodes.index
        ]
        parts = components(list(self.nodes.index), links)
        self.sizes = dict(zip(self.nodes.index, diameter(self.nodes["train_cells"]).tolist(), strict=True))
        self.room = {
            node: max((name.count("\n") + 1) * _LINE + 0.04, self.sizes[node] + 0.04)
            for node, name in self.names.items()
        }
        blocks = [self._block(part, links) for part in parts if len(part) > 1]
        blocks += self._alone([part[0] for part in parts if len(part) == 1])
        self.width, self.height = self._pack(blocks)

    def box(self, node: Any) -> float:
        """Width of a node with its name."""
        return _LARGE + _GAP + 1.03 * text_width(self.names[node], POINTS) + 0.02

    def _block(self, part: Sequence[Any], links: Sequence[tuple[Any, Any]]) -> dict[str, Any]:
        """One connected part with its own origin: a column per layer, wide enough for its names."""
        mine = [link for link in links if link[0] in set(part)]
        laid = place(part, mine, self.room, _LINE / 2)
        left, right, x = [], [], 0.0
        for layer in laid.layers:
            left.append(x)
            right.append(x + max((self.box(n) for n in layer if n in self.room), default=0.0))
            x = right[-1] + _CHANNEL
        at = {node: i for i, layer in enumerate(laid.layers) for node in layer}
        top = min(laid.heights[n] - self.room[n] / 2 for n in part)
        y = {node: height - top for node, height in laid.heights.items()}
        lines = []
        for chain in laid.chains.values():
            route: list[Spot] = [(left[at[chain[0]]] + self.box(chain[0]) + _GAP, y[chain[0]])]
            route.append((right[at[chain[0]]], y[chain[0]]))
            for node in chain[1:]:
                route.append((left[at[node]], y[node]))
                route.append((right[at[node]] if node != chain[-1] else left[at[node]] + _LARGE / 2, y[node]))
            lines.append([(left[at[chain[0]]] + _LARGE / 2, y[chain[0]]), *route])
        height = max(y[n] + self.room[n] / 2 for n in part)
        spots = {node: (left[at[node]] + _LARGE / 2, y[node]) for node in part}
        return {"size": (right[-1], height), "spots": spots, "lines": lines, "heading": ""}

    def _alone(self, nodes: Sequence[Any]) -> list[dict[str, Any]]:
        """Classes without relatives, by name, in columns of equal length that fill the page."""
        if not nodes:
            return []
        order = sorted(nodes, key=lambda node: self.names[node].lower())
        wide = max(self.box(node) for node in order) + 0.15
        columns = min(max(1, int(_WIDTH / wide)), len(order))
        rows = -(-len(order) // columns)
        step = max(self.room[node] for node in order)
        spots = {n: (i // rows * wide + _LARGE / 2, (i % rows + 1.4) * step) for i, n in enumerate(order)}
        heading = f"{len(order)} without relatives among the classes" if len(order) > 1 else "without relatives"
        size = (wide * (1 + (len(order) - 1) // rows), (rows + 1) * step)
        return [{"size": size, "spots": spots, "lines": [], "heading": heading}]

    def _pack(self, blocks: Sequence[Mapping[str, Any]]) -> tuple[float, float]:
        """Blocks on shelves, in their order: each beside or below those on the shelf where there is room."""
        total = max([min(_WIDTH, sum(b["size"][0] + 0.3 for b in blocks)), *(b["size"][0] for b in blocks)])
        x = y = shelf = widest = 0.0
        columns: list[list[float]] = []  # left edge, width and bottom of the columns of a shelf
        for block in blocks:
            wide, high = block["size"]
            free = [c for c in columns if not block["heading"] and c[2] + 0.12 + high <= shelf and wide <= c[1] + 0.2]
            if free:
                corner = (free[0][0], free[0][2] + 0.12)
                free[0][2] += 0.12 + high
            else:
                if x and (x + wide > total or block["heading"]):
                    x, y, shelf, columns = 0.0, y + shelf + 0.2, 0.0, []
                corner = (x, 0.0)
                columns.append([x, wide, high])
                x += wide + 0.3
                shelf = max(shelf, high)
            self._put(block, (corner[0], y + corner[1]))
            widest = max(widest, corner[0] + wide)
        return widest, y + shelf

    def _put(self, block: Mapping[str, Any], corner: Spot) -> None:
        def moved(spot: Spot) -> Spot:
            return spot[0] + corner[0], spot[1] + corner[1]

        self.spots |= {node: moved(spot) for node, spot in block["spots"].items()}
        self.lines += [[moved(spot) for spot in line] for line in block["lines"]]
        if block["heading"]:
            self.headings.append((moved((0.0, 0.1)), block["heading"]))


def draw(tables: Mapping[str, pd.DataFrame], settings: Mapping[str, Any]) -> Figure | None:
    """Of every dataset a page: the primary contrast with names, the other models small below it."""
    contrasts = tables["contrasts"]
    pages = []
    for at in places(settings, "ood", contrasts):
        part = differences(contrasts, at, "class")
        nodes, edges = fitted_of(tables["nodes"], at), fitted_of(tables["edges"], at)
        if len(part) and len(nodes):
            pages.append((at, part, Drawing(nodes, edges)))
    if not pages:
        return None
    sizes = [_page_size(part, drawing, settings) for _, part, drawing in pages]
    width, height = max(w for w, _ in sizes), sum(h for _, h in sizes)
    figure = new_figure(width, height)
    figure.set_layout_engine("none")  # places are inches here
    top = height
    for (at, part, drawing), size in zip(pages, sizes, strict=True):
        _page(figure, (width, height), top, at, part, drawing, settings)
        top -= size[1]
    return figure


_HEAD, _LEGEND, _MARGIN = 0.55, 0.75, 0.15


def _small(part: pd.DataFrame, drawing: Drawing, settings: Mapping[str, Any]) -> tuple[list[Any], float]:
    """The other contrasts, and the scale of their panels."""
    named = main_contrasts(part, settings)
    others = [one for one in named if one != primary_contrast(named, settings)]
    width = max(drawing.width, 6.5)
    return others, min(0.48, (width - 0.3 * (len(others) - 1)) / max(1, len(others)) / drawing.width)


def _page_size(part: pd.DataFrame, drawing: Drawing, settings: Mapping[str, Any]) -> tuple[float, float]:
    others, scale = _small(part, drawing, settings)
    below = scale * drawing.height + 0.4 if others else 0.0
    return max(drawing.width, 6.5) + 2 * _MARGIN, drawing.height + below + _HEAD + _LEGEND + 0.2


def _page(
    figure: Figure, whole: Spot, top: float, at: Any, part: pd.DataFrame, drawing: Drawing, settings: Mapping[str, Any]
) -> None:
    def axes_at(x: float, down: float, wide: float, high: float, scale: float) -> Axes:
        """An axis whose data are inches of the drawing, `down` below the top of the page."""
        rect = (x / whole[0], (top - down - high) / whole[1], wide / whole[0], high / whole[1])
        axes = figure.add_axes(rect)
        axes.set_xlim(0, wide / scale)
        axes.set_ylim(high / scale, 0)
        axes.axis("off")
        return axes

    named = main_contrasts(part, settings)
    main = primary_contrast(named, settings)
    shown = part[part["contrast"].isin([one[0] for one in named])]
    most = max(0.1, np.ceil(10 * shown["difference"].abs().quantile(0.98)) / 10)
    norm = TwoSlopeNorm(0, -most, most)
    title = axes_at(_MARGIN, 0, whole[0] - 2 * _MARGIN, _HEAD, 1)
    title.text(0, 0.15, contrast_name(settings, *main[1:]), fontsize=10, fontweight="bold", va="center")
    title.text(0, 0.36, subtitle(at, settings, "ood"), fontsize=8, va="center", color="#444444")
    axes = axes_at(_MARGIN, _HEAD, drawing.width + _MARGIN, drawing.height, 1)
    _graph(axes, drawing, part[part["contrast"] == main[0]], settings, norm, 1)
    _legend(figure, axes_at, _HEAD + drawing.height, drawing, norm, bool((shown["difference"].abs() > most).any()))
    others, scale = _small(part, drawing, settings)
    down, step = _HEAD + drawing.height + _LEGEND, scale * drawing.width + 0.3
    for i, one in enumerate(others):
        axes = axes_at(_MARGIN + i * step, down + 0.2, scale * drawing.width, scale * drawing.height, scale)
        _graph(axes, drawing, part[part["contrast"] == one[0]], settings, norm, scale)
        axes.text(0, -0.1 / scale, contrast_name(settings, *one[1:]), fontsize=8, fontweight="bold", va="center")


def diameter(cells: Any, most: float | None = None) -> Any:
    """Of a node (inches), between two limits, by the logarithm of its training cells; `most` cells have the largest."""
    numbers = np.maximum(np.nan_to_num(np.asarray(cells, dtype=float)), 1)
    share = np.log10(numbers) / np.log10(max(np.max(numbers) if most is None else most, 10))
    return _SMALL + (_LARGE - _SMALL) * np.clip(share, 0, 1) ** 2


def _graph(
    axes: Axes, drawing: Drawing, part: pd.DataFrame, settings: Mapping[str, Any], norm: Normalize, scale: float
) -> None:
    """Lines, nodes and, in full size, names."""
    for route in drawing.lines:
        axes.add_patch(_curve(route[1:] if scale == 1 else route, scale))  # small, there is no name to lead past
    of = part.drop_duplicates("group").set_index("group")
    known = of["difference"].reindex(drawing.nodes.index).to_numpy(dtype=float)
    sure = pd.Series(significant(of, settings), index=of.index).reindex(drawing.nodes.index).to_numpy()
    spots = np.array([drawing.spots[node] for node in drawing.nodes.index])
    points = 72 * scale * np.array([drawing.sizes[node] for node in drawing.nodes.index])
    seen = np.isfinite(known)
    rings = np.where(sure == True, 1.3, 0.35)  # noqa: E712 - missing is neither
    edge = np.where(sure == True, "black", GREY)  # noqa: E712
    axes.scatter(
        spots[~seen, 0],
        spots[~seen, 1],
        s=points[~seen] ** 2,
        color=LIGHT,
        edgecolor=GREY,
        linewidth=0.35 * scale,
        zorder=3,
    )
    axes.scatter(
        spots[seen, 0], spots[seen, 1], s=points[seen] ** 2, c=known[seen], cmap=DIVERGING, norm=norm,
        edgecolor=edge[seen].tolist(), linewidth=(rings[seen] * scale).tolist(), zorder=4,
    )  # fmt: skip
    if scale < 1:
        return
    for (node, name), there in zip(drawing.names.items(), seen, strict=True):
        x, y = drawing.spots[node]
        colour = "black" if there else "#6B6B6B"
        axes.text(
            x + _LARGE / 2 + _GAP, y, name, fontsize=POINTS, va="center", color=colour, linespacing=1.0, clip_on=False,
            zorder=5,
        )  # fmt: skip
    for (x, y), heading in drawing.headings:
        axes.text(x, y, heading, fontsize=POINTS + 0.5, va="center", color="#444444", fontstyle="italic")


def _curve(route: Sequence[Spot], scale: float) -> PathPatch:
    """Straight within a column, a flat S between columns."""
    points, codes = [route[0]], [Path.MOVETO]
    for (x0, y0), (x1, y1) in pairwise(route):
        if abs(y0 - y1) < 1e-9:
            points.append((x1, y1))
            codes.append(Path.LINETO)
        else:
            middle = (x0 + x1) / 2
            points += [(middle, y0), (middle, y1), (x1, y1)]
            codes += [Path.CURVE4] * 3
    return PathPatch(Path(points, codes), facecolor="none", edgecolor="#B5B5B5", linewidth=0.7 * scale**0.5, zorder=1)


def _legend(figure: Figure, axes_at: Any, down: float, drawing: Drawing, norm: Normalize, beyond: bool) -> None:
    """Colour bar, sizes and what ring and grey mean, on a strip."""
    bar = axes_at(_MARGIN, down + 0.2, 2.2, 0.09, 1)
    bar.axis("on")
    scale = figure.colorbar(
        ScalarMappable(norm, DIVERGING), cax=bar, orientation="horizontal", extend="both" if beyond else "neither"
    )
    scale.outline.set_visible(False)
    scale.ax.tick_params(labelsize=7, length=2)
    most = float(norm.vmax or 1)
    scale.set_ticks([-most, 0, most], labels=[f"\N{MINUS SIGN}{most:g}", "0", f"+{most:g}"])
    scale.set_label("difference in F1", fontsize=7, labelpad=1)
    strip = axes_at(_MARGIN + 2.5, down + 0.05, 6.0, 0.55, 1)
    most = float(drawing.nodes["train_cells"].max())
    sizes = [most, *(10**p for p in range(int(np.log10(max(most, 10))), 1, -1) if 10**p < most)][:4]
    x = 0.1
    strip.text(x, 0.05, "training cells", fontsize=7, va="center")
    for cells in reversed(sizes):
        strip.scatter(x + 0.1, 0.3, s=(72 * diameter(cells, most)) ** 2, color="white", edgecolor=GREY, linewidth=0.6)
        label = f"{round(cells):,}"
        strip.text(x + 0.25, 0.3, label, fontsize=7, va="center")
        x += 0.5 + text_width(label, 7)
    handles = [
        Line2D([], [], linestyle="", marker="o", markersize=7, color="white", markeredgecolor="black",
               markeredgewidth=1.3, label="significant (Holm)"),
        Line2D([], [], linestyle="", marker="o", markersize=7, color=LIGHT, markeredgecolor=GREY, markeredgewidth=0.4,
               label="no cells out of distribution"),
    ]  # fmt: skip
    strip.legend(handles=handles, loc="center left", bbox_to_anchor=(max(x, 0.5) / 6.0, 0.5), fontsize=7)
