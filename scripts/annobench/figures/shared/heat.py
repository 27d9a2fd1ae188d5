"""Heat maps, one look for all."""

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.collections import QuadMesh
from seaborn.utils import relative_luminance

from annobench.figures.shared.short_names import shortened
from annobench.figures.shared.style import GREY, SEQUENTIAL, clean_axes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap
    from matplotlib.figure import Figure, SubFigure


_DARK = 0.4  # luminance below which a text is white


def heat(
    axes: "Axes",
    table: pd.DataFrame,
    *,
    limits: tuple[float, float] = (0.0, 1.0),
    colours: "Colormap | str" = SEQUENTIAL,
    notes: pd.DataFrame | None = None,
    fontsize: float = 6.5,
    square: bool = False,
    gap: float = 0.5,
) -> QuadMesh:
    """Draw a table as a heat map, missing values white; names of rows and columns are left to the caller.

    Parameters
    ----------
    notes
        Texts of the fields, in the shape of the table; none where it is None.
    gap
        White lines between fields, in points.
    """
    figure = axes.get_figure(root=True)
    assert figure is not None
    figure.set_visible(False)  # seaborn draws the whole figure to look for tick labels that overlap: there are none
    try:
        sns.heatmap(
            table.astype(float), ax=axes, vmin=limits[0], vmax=limits[1], cmap=colours, cbar=False, square=square,
            linewidths=gap, linecolor="white", xticklabels=False, yticklabels=False,
        )  # fmt: skip
    finally:
        figure.set_visible(True)
    axes.set_xlabel("")
    axes.set_ylabel("")
    clean_axes(axes)
    mesh = next(one for one in axes.collections if isinstance(one, QuadMesh))
    if notes is not None:
        _write(axes, mesh, table, notes, fontsize)
    return mesh


def _write(axes: "Axes", mesh: QuadMesh, table: pd.DataFrame, notes: pd.DataFrame, fontsize: float) -> None:
    """Write texts into the fields that have one: seaborn makes thousands of empty ones, and none for missing values."""
    values, texts = table.to_numpy(dtype=float), notes.to_numpy(dtype=str)
    for row, column in zip(*(texts != "").nonzero(), strict=True):
        value = values[row, column]
        dark = np.isfinite(value) and relative_luminance(mesh.to_rgba(value)) < _DARK
        text = axes.text(
            column + 0.5, row + 0.5, texts[row, column], ha="center", va="center", fontsize=fontsize,
            color="white" if dark else "black" if np.isfinite(value) else GREY,
        )  # fmt: skip
        text.set_in_layout(False)  # it lies within its field


def shares(table: pd.DataFrame, least: float = 0.0) -> pd.DataFrame:
    """Numbers between 0 and 1 as texts of two digits, `.92`; empty below `least` and where there is none."""

    def text(value: float) -> str:
        return "" if not np.isfinite(value) or value < least else f"{value:.2f}".removeprefix("0")

    return table.astype(float).map(text)


def name_columns(axes: "Axes", names: "Sequence[str]", *, length: int = 34, fontsize: float = 7) -> None:
    """Names of columns, upright below them."""
    axes.set_xticks(np.arange(len(names)) + 0.5, [shortened(name, length) for name in names])
    axes.tick_params(axis="x", rotation=90, labelsize=fontsize)


def name_rows(axes: "Axes", names: "Sequence[str]", *, fontsize: float = 7) -> None:
    """Names of rows beside them."""
    axes.set_yticks(np.arange(len(names)) + 0.5, names)
    axes.tick_params(axis="y", rotation=0, labelsize=fontsize)


def colour_bar(
    figure: "Figure | SubFigure", mesh: QuadMesh, axes: "Sequence[Axes]", label: str, *, inches: float = 1.6
) -> None:
    """A slim bar of fixed height (inches) beside some panels."""
    height = figure.bbox.height / figure.dpi
    bar = figure.colorbar(
        mesh, ax=list(axes), shrink=min(1.0, inches / height), pad=0.01, aspect=12, anchor=(0, 1), panchor=False
    )
    bar.set_label(label, fontsize=8)
    bar.ax.tick_params(labelsize=7, length=2)
    bar.outline.set_visible(False)
