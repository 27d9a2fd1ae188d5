"""Differences on the ontology of the classes

The training classes in the Cell Ontology, from general (left) to specific (right); a line leads from a class to the
next class below it. Colour: difference in F1 (descendant rule) out of distribution, red where the hierarchical loss
is better, blue where cross-entropy is better; grey: no cells out of distribution. Size: training cells, on a
logarithmic scale. Ring: significant over runs after Holm's correction. Classes without relatives form a block of
their own. Below: the same for the other models.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import TwoSlopeNorm
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import PathPatch
from matplotlib.path import Path

from annobench.config.contrasts import Contrast
from annobench.figures.shared.layered import Edge, Node, components, place
from annobench.figures.shared.releases import (
    Block,
    blocks_of,
    contrast_label,
    fitted_of,
    primary_contrast,
    significant,
    subtitle,
)
from annobench.figures.shared.settings import FigureSettings
from annobench.figures.shared.short_names import in_lines, short_names, text_width
from annobench.figures.shared.style import DARK, DIVERGING, GREY, LIGHT, Tables, new_figure

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

TABLES = ("nodes", "edges", "contrasts")
REGIMES = ("release",)
NEEDS = ("contrasts",)
ORDER = 210
POINTS = 7.0  # of the names
_WRAP, _LINE = 20, 0.106  # characters and inches of a line of a name
_SMALL, _LARGE = 0.05, 0.19  # diameters, inches
_GAP, _CHANNEL = 0.05, 0.3  # between node and name; room for edges between columns
_WIDTH = 13.0
_HEAD, _LEGEND, _MARGIN = 0.55, 0.75, 0.15
Spot = tuple[float, float]


def draw(tables: Tables, settings: FigureSettings) -> Figure | None:
    """A page per dataset: the primary contrast with names, the other models small below it."""
    pages = []
    for block in blocks_of(tables["contrasts"], settings, "class"):
        nodes, edges = fitted_of(tables["nodes"], block.place), fitted_of(tables["edges"], block.place)
        if len(nodes):
            pages.append(Page(block, Drawing(nodes, edges), settings))
    if not pages:
        return None
    width, height = max(page.size[0] for page in pages), sum(page.size[1] for page in pages)
    figure = new_figure(width, height)
    figure.set_layout_engine("none")  # places are in inches
    top = height
    for page in pages:
        page.draw(Sheet(figure, top))
        top -= page.size[1]
    return figure


# the drawing of a graph, in inches


@dataclass
class Piece:
    """Nodes and lines with an origin of their own: a connected part, or all classes without relatives."""

    size: Spot
    spots: dict[Node, Spot]
    lines: list[list[Spot]] = field(default_factory=list)
    heading: str = ""


class Drawing:
    """Places (inches, y downwards) of all classes of a dataset, and the lines between them."""

    def __init__(self, nodes: pd.DataFrame, edges: pd.DataFrame) -> None:
        self.nodes = nodes.drop_duplicates("label_id").set_index("label_id")
        ids: list[Node] = list(self.nodes.index)
        short = short_names(list(self.nodes["label"].astype(str)))
        self.names = {node: in_lines(name, _WRAP) for node, name in zip(ids, short, strict=True)}
        self.sizes = dict(zip(ids, diameter(self.nodes["train_cells"]).tolist(), strict=True))
        self.room = {
            node: max((name.count("\n") + 1) * _LINE + 0.04, self.sizes[node] + 0.04)
            for node, name in self.names.items()
        }
        pairs = zip(edges["parent"], edges["child"], strict=True)
        links = [(parent, child) for parent, child in pairs if parent in self.names and child in self.names]
        self.spots: dict[Node, Spot] = {}
        self.lines: list[list[Spot]] = []
        self.headings: list[tuple[Spot, str]] = []
        parts = components(ids, links)
        pieces = [self._connected(part, links) for part in parts if len(part) > 1]
        self.width, self.height = self._pack(pieces + self._alone([part[0] for part in parts if len(part) == 1]))

    def box(self, node: Node) -> float:
        """Width of a node with its name."""
        return _LARGE + _GAP + 1.03 * text_width(self.names[node], POINTS) + 0.02

    def _connected(self, part: Sequence[Node], links: Sequence[Edge]) -> Piece:
        """One connected part: a column per layer, wide enough for its names."""
        laid = place(part, [link for link in links if link[0] in set(part)], self.room, _LINE / 2)
        left, right, x = [], [], 0.0
        for layer in laid.layers:
            left.append(x)
            right.append(x + max((self.box(n) for n in layer if n in self.room), default=0.0))
            x = right[-1] + _CHANNEL
        at = {node: i for i, layer in enumerate(laid.layers) for node in layer}
        top = min(laid.heights[n] - self.room[n] / 2 for n in part)
        y = {node: height - top for node, height in laid.heights.items()}
        lines = []
        for first, *others in laid.chains.values():
            route = [(left[at[first]] + _LARGE / 2, y[first])]
            route += [(left[at[first]] + self.box(first) + _GAP, y[first]), (right[at[first]], y[first])]
            for node in others:
                route.append((left[at[node]], y[node]))
                route.append((right[at[node]] if node != others[-1] else left[at[node]] + _LARGE / 2, y[node]))
            lines.append(route)
        height = max(y[n] + self.room[n] / 2 for n in part)
        return Piece((right[-1], height), {node: (left[at[node]] + _LARGE / 2, y[node]) for node in part}, lines)

    def _alone(self, nodes: Sequence[Node]) -> list[Piece]:
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
        return [Piece(size, spots, heading=heading)]

    def _pack(self, pieces: Sequence[Piece]) -> Spot:
        """Put pieces on shelves, in their order: each beside or below those on the shelf where there is room."""
        widths = [piece.size[0] for piece in pieces]
        total = max([min(_WIDTH, sum(wide + 0.3 for wide in widths)), *widths])
        x = y = shelf = widest = 0.0
        columns: list[list[float]] = []  # left edge, width and bottom of the columns of a shelf
        for piece in pieces:
            wide, high = piece.size
            free = [c for c in columns if not piece.heading and c[2] + 0.12 + high <= shelf and wide <= c[1] + 0.2]
            if free:
                corner = (free[0][0], free[0][2] + 0.12)
                free[0][2] += 0.12 + high
            else:
                if x and (x + wide > total or piece.heading):
                    x, y, shelf, columns = 0.0, y + shelf + 0.2, 0.0, []
                corner = (x, 0.0)
                columns.append([x, wide, high])
                x += wide + 0.3
                shelf = max(shelf, high)
            self._put(piece, (corner[0], y + corner[1]))
            widest = max(widest, corner[0] + wide)
        return widest, y + shelf

    def _put(self, piece: Piece, corner: Spot) -> None:
        def moved(spot: Spot) -> Spot:
            return spot[0] + corner[0], spot[1] + corner[1]

        self.spots |= {node: moved(spot) for node, spot in piece.spots.items()}
        self.lines += [[moved(spot) for spot in line] for line in piece.lines]
        if piece.heading:
            self.headings.append((moved((0.0, 0.1)), piece.heading))


def diameter(cells: "ArrayLike", most: float | None = None) -> "NDArray[np.float64]":
    """Diameters of nodes (inches), by the logarithm of their training cells; `most` cells have the largest."""
    numbers = np.maximum(np.nan_to_num(np.asarray(cells, dtype=float)), 1)
    share = np.log10(numbers) / np.log10(max(np.max(numbers) if most is None else most, 10))
    sizes: NDArray[np.float64] = _SMALL + (_LARGE - _SMALL) * np.clip(share, 0, 1) ** 2
    return sizes


# the page of a dataset


@dataclass(frozen=True)
class Sheet:
    """A part of a figure that starts `top` inches above its lower edge."""

    figure: Figure
    top: float

    def axes(self, x: float, down: float, wide: float, high: float, *, scale: float = 1.0) -> Axes:
        """Axes at a place in inches, `down` below the top, whose data are inches of a drawing of some scale."""
        width, height = self.figure.get_size_inches()
        axes = self.figure.add_axes((x / width, (self.top - down - high) / height, wide / width, high / height))
        axes.set_xlim(0, wide / scale)
        axes.set_ylim(high / scale, 0)
        axes.axis("off")
        return axes


class Page:
    """The drawing of a dataset with its primary contrast, the other contrasts below it, and a legend between."""

    def __init__(self, block: Block, drawing: Drawing, settings: FigureSettings) -> None:
        self.block, self.drawing, self.settings = block, drawing, settings
        self.main = primary_contrast(block.contrasts, settings.of_release)
        self.others = [one for one in block.contrasts if one != self.main]
        width = max(drawing.width, 6.5)
        small = (width - 0.3 * (len(self.others) - 1)) / max(1, len(self.others)) / drawing.width
        self.scale = min(0.48, small)  # of the other contrasts
        below = self.scale * drawing.height + 0.4 if self.others else 0.0
        self.size = (width + 2 * _MARGIN, drawing.height + below + _HEAD + _LEGEND + 0.2)
        gaps = block.shown["difference"].abs()
        self.most = max(0.1, np.ceil(10 * gaps.quantile(0.98)) / 10)
        self.beyond = bool((gaps > self.most).any())
        self.norm = TwoSlopeNorm(0, -self.most, self.most)

    def draw(self, sheet: Sheet) -> None:
        """Draw the page on a sheet."""
        drawing, release = self.drawing, self.settings.of_release
        title = sheet.axes(_MARGIN, 0, sheet.figure.get_size_inches()[0] - 2 * _MARGIN, _HEAD)
        title.text(0, 0.15, contrast_label(self.main, release), fontsize=10, fontweight="bold", va="center")
        title.text(0, 0.36, subtitle(self.block.place, self.settings, "ood"), fontsize=8, va="center", color=DARK)
        axes = sheet.axes(_MARGIN, _HEAD, drawing.width + _MARGIN, drawing.height)
        self._graph(axes, self.main, 1)
        _names(axes, drawing, self._differences(self.main).notna())
        self._colour_bar(sheet, _HEAD + drawing.height)
        _key(sheet, _HEAD + drawing.height, float(drawing.nodes["train_cells"].max()))
        down, step = _HEAD + drawing.height + _LEGEND, self.scale * drawing.width + 0.3
        for i, contrast in enumerate(self.others):
            size = (self.scale * drawing.width, self.scale * drawing.height)
            axes = sheet.axes(_MARGIN + i * step, down + 0.2, *size, scale=self.scale)
            self._graph(axes, contrast, self.scale)
            label = contrast_label(contrast, release)
            axes.text(0, -0.1 / self.scale, label, fontsize=8, fontweight="bold", va="center")

    def _differences(self, contrast: Contrast) -> pd.Series:
        """Difference of every node; missing where it has no cells out of distribution."""
        part = self.block.of(contrast).drop_duplicates("group").set_index("group")
        return part["difference"].reindex(self.drawing.nodes.index)

    def _graph(self, axes: Axes, contrast: Contrast, scale: float) -> None:
        """Lines and nodes."""
        drawing = self.drawing
        for route in drawing.lines:
            axes.add_patch(_curve(route if scale < 1 else route[1:], scale))  # in full size the name comes first
        part = self.block.of(contrast).drop_duplicates("group").set_index("group")
        sure = pd.Series(significant(part, self.settings), index=part.index)
        sure = sure.reindex(drawing.nodes.index, fill_value=False).to_numpy(dtype=bool)
        known = self._differences(contrast).to_numpy(dtype=float)
        seen = np.isfinite(known)
        spots = np.array([drawing.spots[node] for node in drawing.nodes.index])
        areas = (72 * scale * np.array([drawing.sizes[node] for node in drawing.nodes.index])) ** 2
        axes.scatter(
            spots[~seen, 0], spots[~seen, 1], s=areas[~seen], color=LIGHT, edgecolor=GREY, linewidth=0.35 * scale,
            zorder=3,
        )  # fmt: skip
        axes.scatter(
            spots[seen, 0], spots[seen, 1], s=areas[seen], c=known[seen], cmap=DIVERGING, norm=self.norm,
            edgecolor=np.where(sure, "black", GREY)[seen].tolist(),
            linewidth=(np.where(sure, 1.3, 0.35)[seen] * scale).tolist(), zorder=4,
        )  # fmt: skip

    def _colour_bar(self, sheet: Sheet, down: float) -> None:
        axes = sheet.axes(_MARGIN, down + 0.2, 2.2, 0.09)
        axes.axis("on")
        bar = sheet.figure.colorbar(
            ScalarMappable(self.norm, DIVERGING),
            cax=axes,
            orientation="horizontal",
            extend="both" if self.beyond else "neither",
        )
        bar.outline.set_visible(False)
        bar.ax.tick_params(labelsize=7, length=2)
        labels = [f"\N{MINUS SIGN}{self.most:g}", "0", f"+{self.most:g}"]
        bar.set_ticks([-self.most, 0, self.most], labels=labels)
        bar.set_label("difference in F1", fontsize=7, labelpad=1)


def _names(axes: Axes, drawing: Drawing, seen: pd.Series) -> None:
    """Names beside the nodes, grey where there are no cells, and headings."""
    for (node, name), there in zip(drawing.names.items(), seen, strict=True):
        x, y = drawing.spots[node]
        axes.text(
            x + _LARGE / 2 + _GAP, y, name, fontsize=POINTS, va="center", color="black" if there else "#6B6B6B",
            linespacing=1.0, clip_on=False, zorder=5,
        )  # fmt: skip
    for (x, y), heading in drawing.headings:
        axes.text(x, y, heading, fontsize=POINTS + 0.5, va="center", color=DARK, fontstyle="italic")


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


def _key(sheet: Sheet, down: float, most: float) -> None:
    """What sizes, rings and grey mean, on a strip; `most` training cells have the largest node."""
    strip = sheet.axes(_MARGIN + 2.5, down + 0.05, 6.0, 0.55)
    sizes = [most, *(10.0**p for p in range(int(np.log10(max(most, 10))), 1, -1) if 10**p < most)][:4]
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
