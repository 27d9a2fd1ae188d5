"""Cells in space

The test cells of one split at their positions in the tissue: true types, types by the best-ranked method of the
evaluation, the cells where the two differ, and the confidence of the method. The bar is in the unit of the
coordinates, usually micrometres for imaging data. Light grey: unknown.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize, to_hex
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from annobench.figures.shared.labels import best_method, chosen_evaluation, method_labels, part_of, place_title
from annobench.figures.shared.settings import FigureSettings
from annobench.figures.shared.short_names import shortened
from annobench.figures.shared.style import COLOURS, LIGHT, SEQUENTIAL, Tables, new_figure

TABLES = ("spatial", "ranking")
NEEDS = ("spatial",)
ORDER = 160
UNKNOWN = "unknown"
_PANEL = 3.8  # inches


def draw(tables: Tables, settings: FigureSettings) -> Figure | None:
    """Four maps of one method in one evaluation."""
    spatial = tables["spatial"].dropna(subset=["x", "y"])
    if spatial.empty:
        return None
    place = chosen_evaluation(spatial, settings)
    part = part_of(spatial, place)
    best = best_method(tables["ranking"], place, part["name"])
    cells = part[part["name"] == best].fillna({"true": UNKNOWN, "predicted": UNKNOWN})
    label = method_labels(tables["ranking"]).get(str(best), str(best))
    colours = _colours([*cells["true"], *cells["predicted"]])
    wide, high = (max(float(np.ptp(cells[axis])), 1e-9) for axis in "xy")
    side = float(np.clip(high / wide, 0.3, 2.0))
    figure = new_figure(2 * _PANEL + 1.1, 1.5 + 2 * _PANEL * side)
    grid = figure.subplots(2, 2, sharex=True, sharey=True)
    size = float(np.clip(0.5 * (72 * _PANEL) ** 2 * side / len(cells), 0.3, 16))
    wrong = cells["true"] != cells["predicted"]
    _scatter(grid[0, 0], cells, [colours[t] for t in cells["true"]], size)
    _scatter(grid[0, 1], cells, [colours[t] for t in cells["predicted"]], size)
    order = cells.assign(wrong=wrong).sort_values("wrong", kind="stable")
    _scatter(grid[1, 0], order, [COLOURS[1] if w else LIGHT for w in order["wrong"]], size)
    sure = cells["confidence"].to_numpy(dtype=float)
    known = np.isfinite(sure)
    if known.any():
        least, most = np.nanquantile(sure, [0.02, 0.98])  # every method uses a range of its own
        scale = ScalarMappable(Normalize(least, most), SEQUENTIAL)
        _scatter(grid[1, 1], cells[known], [to_hex(colour) for colour in scale.to_rgba(sure[known])], size)
        bar = figure.colorbar(
            scale, ax=list(grid[:, 1]), shrink=0.35, pad=0.01, anchor=(0, 0.08), aspect=20, extend="both"
        )
        bar.outline.set_visible(False)
    else:
        _scatter(grid[1, 1], cells, [LIGHT] * len(cells), size)
    titles = ("Truth", label, f"Wrong: {wrong.mean():.0%} of {len(cells):,} cells", "Confidence")
    for axes, title in zip(grid.flat, titles, strict=True):
        axes.set_title(title, fontsize=9)
    _scale_bar(grid[0, 0], cells)
    figure.suptitle(place_title(place, settings), fontsize=9, x=0.01, ha="left")
    handles = [
        Line2D([], [], linestyle="", marker="o", markersize=5, color=colour, label=shortened(name))
        for name, colour in colours.items()
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=4)
    return figure


def _colours(names: Sequence[str]) -> dict[str, str]:
    """A colour per type, the most frequent first; unknown is light grey."""
    counts = pd.Series([name for name in names if name != UNKNOWN], dtype=object).value_counts(sort=True)
    order = sorted(counts.index, key=lambda name: (-counts[name], name))
    more = [to_hex(colour) for colour in colormaps["tab20b"].colors]  # type: ignore[attr-defined]
    palette = [*COLOURS, *more]
    colours = {name: palette[i % len(palette)] for i, name in enumerate(order)}
    return colours | ({UNKNOWN: LIGHT} if UNKNOWN in set(names) else {})


def _scatter(axes: Axes, cells: pd.DataFrame, colours: Sequence[str], size: float) -> None:
    axes.scatter(cells["x"], cells["y"], c=colours, s=size, linewidth=0, rasterized=True)
    axes.set_aspect("equal")
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)


def _scale_bar(axes: Axes, cells: pd.DataFrame) -> None:
    """A bar of a round length, about a fifth of the width, below the map."""
    wide = max(float(np.ptp(cells["x"])), 1e-9)
    power = 10.0 ** np.floor(np.log10(wide / 5))
    length = next(step * power for step in (5, 2, 1) if step * power <= wide / 5)
    x, y = float(cells["x"].min()), float(cells["y"].min()) - 0.035 * max(float(np.ptp(cells["y"])), 1e-9)
    axes.plot([x, x + length], [y, y], color="black", linewidth=2, solid_capstyle="butt", clip_on=False)
    axes.annotate(f"{length:g}", (x + length, y), xytext=(4, 0), textcoords="offset points", va="center", fontsize=7)
