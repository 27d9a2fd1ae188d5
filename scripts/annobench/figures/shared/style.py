"""One look for all figures: fonts, colours, markers, and how a figure is written to disk."""

import importlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from annobench.config.controls import CONTROLS
from annobench.core.files import atomic
from annobench.figures.shared.settings import FigureSettings

if TYPE_CHECKING:
    from matplotlib.axes._secondary_axes import SecondaryAxis

Tables = Mapping[str, pd.DataFrame]

# Okabe and Ito's palette: distinct for colour-blind eyes too; markers and lines repeat the distinction
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
DASHES = ("-", "--", ":", "-.")
GREY = "#8C8C8C"
LIGHT = "#D9D9D9"
DARK = "#444444"
SEQUENTIAL = "cividis"
RC_SETTINGS: Any = {  # matplotlib types the keys as literals
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": DARK,
    "axes.grid": False,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "legend.fontsize": 8,
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
    with plt.rc_context(RC_SETTINGS):
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


def logarithmic(axes: Axes) -> None:
    """A logarithmic x axis whose ticks are plain numbers: matplotlib's own need mathematics, which is off."""
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(numticks=5))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}" if value < 1e4 else f"{value:.0e}"))
    axes.xaxis.set_minor_formatter(NullFormatter())


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


def spread_labels(
    axes: Axes, x: float, wanted: Mapping[str, float], labels: Mapping[str, str], looks: Looks, *, gap: float
) -> None:
    """Write labels to the right of an axis near their heights, at least `gap` (data units) apart."""
    order = sorted(wanted, key=lambda name: wanted[name])
    heights: list[float] = []
    for name in order:
        heights.append(max(wanted[name], heights[-1] + gap) if heights else wanted[name])
    top = 0.95 * axes.get_ylim()[1]  # below the title
    if heights and heights[-1] > top:  # push back down from the top
        heights[-1] = top
        for i in range(len(heights) - 2, -1, -1):
            heights[i] = min(heights[i], heights[i + 1] - gap)
    for name, height in zip(order, heights, strict=True):
        axes.annotate(
            labels[name],
            xy=(x, wanted[name]),
            xytext=(x * 1.35, height),
            color=looks.colour(name),
            fontsize=8,
            va="center",
            annotation_clip=False,
            arrowprops={
                "arrowstyle": "-",
                "color": GREY,
                "shrinkA": 2,
                "shrinkB": 4,
                "linewidth": 0.5,
                "relpos": (0, 0.5),
            },
        )
