"""Cells in space

The test cells of one split at their positions in the tissue: true types, types by the best-ranked method of the
evaluation, the cells where the two differ, and the confidence of the method. Cells without a known type are neither
right nor wrong: where no cell has one there are no panels of the truth and of errors, and the method is the best of
the whole study. Axes name the unit that the dataset states. Light grey: unknown, or in the map of errors right.
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
from matplotlib.ticker import MaxNLocator

from annobench.figures.shared.labels import (
    best_method,
    chosen_evaluation,
    label_of,
    method_labels,
    part_of,
    place_title,
)
from annobench.figures.shared.settings import FigureSettings, Place
from annobench.figures.shared.short_names import shortened
from annobench.figures.shared.style import COLOURS, DARK, LIGHT, SEQUENTIAL, Tables, headline, legend_below, new_figure

TABLES = ("spatial", "ranking")
NEEDS = ("spatial",)
ORDER = 160
UNKNOWN = "unknown"
_PANEL = 3.8  # inches


def draw(tables: Tables, settings: FigureSettings) -> Figure | None:
    """Maps of one method in one evaluation: four, or two where no cell has a known type."""
    spatial = tables["spatial"].dropna(subset=["x", "y"])
    if spatial.empty:
        return None
    place = chosen_evaluation(spatial, settings)
    part = part_of(spatial, place)
    best = _method(tables["ranking"], place, part["name"])
    cells = part[part["name"] == best].fillna({"true": UNKNOWN, "predicted": UNKNOWN})
    label = label_of(best, method_labels(tables["ranking"]))
    with_truth = cells["true"] != UNKNOWN
    shown = [*(["truth"] if with_truth.any() else []), "predicted", *(["wrong"] if with_truth.any() else []), "sure"]
    colours = _colours([*(cells["true"] if with_truth.any() else ()), *cells["predicted"]])
    wide, high = (max(float(np.ptp(cells[axis])), 1e-9) for axis in "xy")
    side = float(np.clip(high / wide, 0.3, 2.0))
    rows = len(shown) // 2
    figure = new_figure(2 * _PANEL + 1.1, 1.5 + rows * _PANEL * side)
    grid = figure.subplots(rows, 2, sharex=True, sharey=True, squeeze=False)
    size = float(np.clip(0.5 * (72 * _PANEL) ** 2 * side / len(cells), 0.3, 16))
    for axes, what in zip(grid.flat, shown, strict=True):
        if what == "truth":
            _scatter(axes, cells, [colours[t] for t in cells["true"]], size)
            axes.set_title(_counted("Truth", with_truth), fontsize=9)
        elif what == "predicted":
            _scatter(axes, cells, [colours[t] for t in cells["predicted"]], size)
            axes.set_title(label if with_truth.any() else f"{label}\nno cell has a known type", fontsize=9)
        elif what == "wrong":
            judged = cells[with_truth]
            wrong = judged["true"] != judged["predicted"]
            order = judged.assign(wrong=wrong).sort_values("wrong", kind="stable")
            _scatter(axes, order, [COLOURS[1] if w else LIGHT for w in order["wrong"]], size)
            axes.set_title(f"Errors: {100 * wrong.mean():.0f} % of {len(judged):,} cells", fontsize=9)
        else:
            _confidence(figure, axes, cells, size)
            axes.set_title("Confidence", fontsize=9)
    unit = settings.units.get(place[0]) or "unit not stated"
    for axes in grid[-1]:
        axes.set_xlabel(f"x ({unit})", fontsize=8)
    for axes in grid[:, 0]:
        axes.set_ylabel(f"y ({unit})", fontsize=8)
    headline(figure, place_title(place, settings))
    handles = [
        Line2D([], [], linestyle="", marker="o", markersize=5, color=colour, label=shortened(name))
        for name, colour in colours.items()
        if colour != DARK
    ]
    if DARK in colours.values():
        rest = sum(colour == DARK for colour in colours.values())
        handles.append(Line2D([], [], linestyle="", marker="o", markersize=5, color=DARK, label=f"{rest} other types"))
    legend_below(figure, handles)
    return figure


def _method(ranking: pd.DataFrame, place: Place, names: pd.Series) -> str:
    """The best-ranked method of the evaluation; where none has a rank there, as without a truth, that of the study."""
    ranked = part_of(ranking, place)["rank"].notna().any()
    best = best_method(ranking, place if ranked else ("all", "all"), names)
    assert best is not None  # there are cells, and so names
    return best


def _counted(title: str, with_truth: pd.Series) -> str:
    """A title that says how many cells have no known type, where some have none."""
    without = int((~with_truth).sum())
    return f"{title} ({without:,} of {len(with_truth):,} cells unknown)" if without else title


def _confidence(figure: Figure, axes: Axes, cells: pd.DataFrame, size: float) -> None:
    """Cells by confidence, with a colour bar; light grey where the method gives none."""
    sure = cells["confidence"].to_numpy(dtype=float)
    known = np.isfinite(sure)
    if not known.any():
        _scatter(axes, cells, [LIGHT] * len(cells), size)
        return
    least, most = np.nanquantile(sure, [0.02, 0.98])  # every method uses a range of its own
    scale = ScalarMappable(Normalize(least, most), SEQUENTIAL)
    _scatter(axes, cells[known], [to_hex(colour) for colour in scale.to_rgba(sure[known])], size)
    bar = figure.colorbar(scale, ax=axes, shrink=0.7, pad=0.01, aspect=20, extend="both")
    bar.set_label("confidence", fontsize=8)
    bar.outline.set_visible(False)


def _colours(names: Sequence[str]) -> dict[str, str]:
    """A colour per type, the most frequent first; types beyond the palette are dark grey, unknown is light grey."""
    counts = pd.Series([name for name in names if name != UNKNOWN], dtype=object).value_counts(sort=True)
    order = sorted(counts.index, key=lambda name: (-counts[name], name))
    more = [to_hex(colour) for colour in colormaps["tab20b"].colors]  # type: ignore[attr-defined]
    palette = [*COLOURS, *more]
    colours = dict.fromkeys(order, DARK) | dict(zip(order, palette, strict=False))
    return colours | ({UNKNOWN: LIGHT} if UNKNOWN in set(names) else {})


def _scatter(axes: Axes, cells: pd.DataFrame, colours: Sequence[str], size: float) -> None:
    axes.scatter(cells["x"], cells["y"], c=colours, s=size, linewidth=0, rasterized=True)
    axes.set_aspect("equal")
    axes.xaxis.set_major_locator(MaxNLocator(4))
    across, up = (max(float(np.ptp(cells[axis])), 1e-9) for axis in "xy")
    axes.yaxis.set_major_locator(MaxNLocator(int(np.clip(4 * up / across, 1, 4))))
    axes.tick_params(labelsize=7)
