"""One look for all figures: fonts, colours, markers, and how a figure is written to disk."""

import importlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from cycler import cycler
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure, SubFigure
from matplotlib.legend import Legend
from matplotlib.lines import Line2D
from matplotlib.ticker import EngFormatter, LogLocator, NullFormatter

from annobench.config.controls import CONTROLS
from annobench.core.files import atomic
from annobench.figures.shared.settings import FigureSettings
from annobench.figures.shared.short_names import FONT, text_width

if TYPE_CHECKING:
    from matplotlib.axes._secondary_axes import SecondaryAxis

Tables = Mapping[str, pd.DataFrame]

# seaborn's palette for colour-blind eyes, the most distinct first, and black; of its ten one is the grey of controls,
# and two are too pale for points. Markers and lines repeat the distinction
_COLOUR_BLIND = sns.color_palette("colorblind").as_hex()
COLOURS = (*(str(_COLOUR_BLIND[i]) for i in (0, 3, 2, 4, 1, 9, 5)), "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<")
DASHES = ("-", "--", ":", "-.")
GREY = "#8C8C8C"
LIGHT = "#D9D9D9"
DARK = "#444444"
SEQUENTIAL = ListedColormap(sns.color_palette("mako_r", 300)[:250], "sequential")  # low is pale; short of black
DIVERGING = "vlag"  # blue below, red above
WIDEST = 12.8  # inches: as wide as the column of the report
THEME: Any = {  # matplotlib types the keys as literals
    **sns.axes_style("ticks"),
    **sns.plotting_context("paper"),
    "font.family": FONT,
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": DARK,
    "axes.prop_cycle": cycler(color=COLOURS),
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "xtick.major.size": 3.5,
    "ytick.major.size": 3.5,
    "xtick.minor.size": 2,
    "legend.fontsize": 8,
    "legend.title_fontsize": 8,
    "legend.frameon": False,
    "text.parse_math": False,  # a label of a user may hold a dollar
    "pdf.fonttype": 42,
    "svg.fonttype": "none",
}


def draw_figure(name: str, tables: Mapping[str, str], settings: FigureSettings, *, pdf: str, png: str) -> None:
    """Draw a figure and write it as PDF and PNG, without dates in the files.

    Parameters
    ----------
    name
        File of the figure in annobench/figures, whose `draw(tables, settings)` returns a figure, or None where the
        tables hold nothing to draw yet.
    tables
        Table -> its CSV file.
    settings
        What the figure uses of the study.
    pdf, png
        Files to write.
    """
    module = importlib.import_module(f"annobench.figures.{name}")
    with plt.rc_context(THEME):
        figure = module.draw({key: pd.read_csv(path) for key, path in tables.items()}, settings)
        if figure is None:
            figure = new_figure(4, 1)
            figure.text(0.5, 0.5, f"{settings.title}: nothing to draw yet", ha="center", va="center")
        with atomic(Path(pdf)) as path:
            figure.savefig(path, format="pdf", bbox_inches="tight", metadata={"CreationDate": None})
        with atomic(Path(png)) as path:
            figure.savefig(path, format="png", dpi=200, bbox_inches="tight", metadata={"Software": None})
        plt.close(figure)


def new_figure(width: float, height: float) -> Figure:
    """An empty figure (inches) whose parts keep clear of each other."""
    return plt.figure(figsize=(width, height), layout="constrained")


class PointLook(TypedDict):
    """Keyword arguments of matplotlib for points."""

    color: str
    marker: str


class LineLook(PointLook):
    """Keyword arguments of matplotlib for lines with points."""

    linestyle: str


class Looks:
    """Colour, marker and line of every method, the same in all panels of a figure.

    A colour of the palette that is used again comes with another marker and another line. Controls share a colour.
    """

    def __init__(self, methods: Sequence[str], controls: Sequence[str]) -> None:
        self._looks: dict[str, LineLook] = {}
        for i, method in enumerate(methods):
            turn = i // len(COLOURS)
            self._looks[method] = {
                "color": COLOURS[i % len(COLOURS)],
                "marker": MARKERS[(i + turn) % len(MARKERS)],
                "linestyle": DASHES[turn % len(DASHES)],
            }
        for i, control in enumerate(controls):
            self._looks[control] = {
                "color": control_colour(control),
                "marker": MARKERS[i % len(MARKERS)],
                "linestyle": DASHES[i % len(DASHES)],
            }

    def colour(self, method: str) -> str:
        """Colour of a method."""
        return self._looks[method]["color"]

    def point(self, method: str) -> PointLook:
        """Colour and marker of a method."""
        look = self._looks[method]
        return {"color": look["color"], "marker": look["marker"]}

    def line(self, method: str) -> LineLook:
        """Colour, marker and line of a method."""
        return self._looks[method]


def control_colour(name: str) -> str:
    """Colour of a control; a study may have controls of its own, which are grey."""
    return CONTROLS[name].colour if name in CONTROLS else GREY


def logarithmic(axes: Axes, unit: str = "") -> None:
    """A logarithmic x axis with ticks such as 10 k: matplotlib's own need mathematics, which is off."""
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(numticks=5))
    axes.xaxis.set_minor_formatter(NullFormatter())
    metric_prefixes(axes, unit)


def metric_prefixes(axes: Axes, unit: str = "") -> None:
    """Ticks of the x axis with metric prefixes: 10 k, 1 M, 3 ms."""
    axes.xaxis.set_major_formatter(EngFormatter(unit))


def clean_axes(axes: "Axes | SecondaryAxis") -> None:
    """Remove spines and ticks, for heat maps and tables."""
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)


def light_rows(axes: Axes, heights: Sequence[float]) -> None:
    """A hair line under every row, and no frame on the left."""
    for y in heights:
        axes.axhline(y, color=LIGHT, linewidth=0.4, zorder=0)
    axes.spines["left"].set_visible(False)
    axes.tick_params(axis="y", length=0)


def direction(axes: Axes, *, higher_is_better: bool) -> None:
    """State above a panel which way is better."""
    axes.annotate(
        "better →" if higher_is_better else "← better",
        (1.0 if higher_is_better else 0.0, 1.0),
        xytext=(0, 3),
        xycoords="axes fraction",
        textcoords="offset points",
        ha="right" if higher_is_better else "left",
        va="bottom",
        fontsize=7,
        color=GREY,
    )


def legend_below(figure: Figure | SubFigure, handles: Sequence[Artist], *, title: str | None = None) -> Legend:
    """A legend below a figure, in as many columns as fit its width."""
    columns = _columns([str(handle.get_label()) for handle in handles], figure.bbox.width / figure.dpi)
    return figure.legend(
        handles=handles, loc="outside lower left", ncols=columns, title=title, alignment="left", handlelength=1.8
    )


def legend_rows(labels: Sequence[str], width: float) -> int:
    """How many lines a legend below a figure of some width (inches) has."""
    return -(-len(labels) // _columns(labels, width))


def _columns(labels: Sequence[str], width: float) -> int:
    """The most columns, filled one after the other, that are not wider than a figure (inches)."""
    widths = [text_width(label, THEME["legend.fontsize"]) + 0.55 for label in labels]
    for columns in range(len(labels), 1, -1):
        if sum(max(part) for part in np.array_split(widths, columns)) < width - 0.2:  # as matplotlib fills them
            return columns
    return 1


def looks_handles(
    names: Sequence[str], labels: Mapping[str, str], looks: Looks, *, lines: bool = False
) -> list[Line2D]:
    """Legend entries of methods and controls, in their order."""
    shown = [looks.line(name) if lines else {**looks.point(name), "linestyle": ""} for name in names]
    return [
        Line2D([], [], markersize=5, markeredgewidth=0, linewidth=1.2, label=labels[name], **look)
        for name, look in zip(names, shown, strict=True)
    ]


def headline(figure: Figure | SubFigure, text: str) -> None:
    """What a figure, or a part of it, shows: above its panels, on the left."""
    figure.suptitle(text, fontsize=9.5, fontweight="bold", x=0.01, ha="left")


def beside_title(axes: Axes, name: str, numbers: Mapping[str, str], looks: Looks) -> None:
    """Numbers above a panel, each in the colour of its line, after what they are."""
    places = np.linspace(0.17, 0.17 + 0.14 * len(numbers), len(numbers), endpoint=False)
    above: Any = {"xycoords": "axes fraction", "xytext": (0, 4), "textcoords": "offset points", "fontsize": 7.5}
    axes.annotate(name, (0, 1), **above)
    for x, (line, number) in zip(places, numbers.items(), strict=True):
        axes.annotate(number, (x, 1), color=looks.colour(line), **above)
