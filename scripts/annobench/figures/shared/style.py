"""One look for all figures: fonts, colours, markers, and how a figure gets onto disk."""

import importlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from annobench.config.names import METRIC_NAMES
from annobench.core.files import atomic

# Okabe and Ito's palette: told apart by colour-blind eyes too; markers and lines repeat the distinction
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
DASHES = ("-", "--", ":", "-.")
GREY = "#8C8C8C"
LIGHT = "#D9D9D9"
SEQUENTIAL = "cividis"
_SETTINGS: Any = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#444444",
    "axes.grid": False,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "legend.fontsize": 8,
    "legend.frameon": False,
    "pdf.fonttype": 42,
    "svg.fonttype": "none",
}


def draw_figure(name: str, tables: Mapping[str, str], settings: Mapping[str, Any], *, pdf: str, png: str) -> None:
    """Draw a figure from CSV tables and write it as PDF and PNG, without dates in the files."""
    module = importlib.import_module(f"annobench.figures.{name}")
    with plt.rc_context(_SETTINGS):
        figure = module.draw({key: pd.read_csv(path) for key, path in tables.items()}, settings)
        if figure is None:
            figure = new_figure(4, 1)
            figure.text(0.5, 0.5, f"{module.TITLE}: nothing to draw yet", ha="center", va="center")
        with atomic(Path(pdf)) as path:
            figure.savefig(path, format="pdf", bbox_inches="tight", metadata={"CreationDate": None})
        with atomic(Path(png)) as path:
            figure.savefig(path, format="png", dpi=200, bbox_inches="tight", metadata={"Software": None})
        plt.close(figure)


class Looks:
    """Colour, marker and line of every method, the same in all panels of a figure; controls are grey."""

    def __init__(self, methods: Sequence[str], controls: Sequence[str]) -> None:
        self._looks: dict[str, dict[str, Any]] = {}
        for i, method in enumerate(methods):
            turn = i // len(COLOURS)  # a colour that comes again has another marker and another line
            marker = MARKERS[(i + turn) % len(MARKERS)]
            self._looks[method] = {
                "color": COLOURS[i % len(COLOURS)],
                "marker": marker,
                "linestyle": DASHES[turn % len(DASHES)],
            }
        for i, control in enumerate(controls):
            self._looks[control] = {
                "color": GREY,
                "marker": MARKERS[i % len(MARKERS)],
                "linestyle": DASHES[i % len(DASHES)],
            }

    def of(self, method: str, *keys: str) -> dict[str, Any]:
        """Keyword arguments for matplotlib."""
        look = self._looks[method]
        return {key: look[key] for key in keys} if keys else dict(look)


def ordered_methods(ranking: pd.DataFrame) -> tuple[list[str], list[str], dict[str, str]]:
    """Methods from best to worst mean score, controls likewise, and the label of each."""
    mean = (
        ranking[ranking["dataset"] != "all"]
        .groupby("method")["score"]
        .mean()
        .sort_values(ascending=False, kind="stable")
    )
    kind = ranking.drop_duplicates("method").set_index("method")["kind"]
    labels = ranking.drop_duplicates("method").set_index("method")["label"].to_dict()
    methods = [m for m in mean.index if kind[m] == "method"]
    return methods, [m for m in mean.index if kind[m] == "control"], labels


def evaluations_of(table: pd.DataFrame) -> list[tuple[str, str]]:
    """Dataset and name of every evaluation of a table, in its order."""
    return list(dict.fromkeys(zip(table["dataset"], table["evaluation"], strict=True)))


def evaluation_name(dataset: str, evaluation: str, settings: Mapping[str, Any]) -> str:
    """What an evaluation of a dataset is called."""
    return "mean" if dataset == "all" else str(settings["evaluations"].get(f"{dataset}/{evaluation}", evaluation))


def evaluation_title(dataset: str, evaluation: str, settings: Mapping[str, Any]) -> str:
    """Two lines: the dataset and the evaluation."""
    name = "All evaluations" if dataset == "all" else settings["datasets"].get(dataset, dataset).split(",")[0]
    return f"{name}\n{evaluation_name(dataset, evaluation, settings)}"


def metric_name(settings: Mapping[str, Any]) -> str:
    """The primary metric, for people."""
    return METRIC_NAMES[settings["primary"]]


def spread_labels(
    axes: Axes, x: float, wanted: Mapping[str, float], labels: Mapping[str, str], looks: Looks, gap: float
) -> None:
    """Write labels at the right of an axis near their heights, at least `gap` (data units) apart."""
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
            color=looks.of(name)["color"],
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


def new_figure(width: float, height: float) -> Figure:
    """An empty figure (inches) with room kept between its parts."""
    return plt.figure(figsize=(width, height), layout="constrained")
