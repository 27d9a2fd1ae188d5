"""In and out of distribution

Macro F1 under the descendant rule (a prediction below the label counts as right) of every model and loss: bars are
means over runs, dots are single runs. Left: held-out donors of the older release, with all of its classes. Right: the
cells that a newer release adds. Dashed: the in-distribution value on the classes that the newer cells have, so that
both sides compare like with like. Hollow marks are published values, from the paper's own Census releases; where a
panel names other data they are for orientation only.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from annobench.figures.shared.labels import wrapped
from annobench.figures.shared.releases import (
    SCORE,
    SCORE_NAME,
    by_loss,
    loss_label,
    loss_look,
    places,
    published_for,
    run_values,
    sibling,
    subtitle,
    trained,
)
from annobench.figures.shared.settings import FigureSettings, Place, ReleaseMethod
from annobench.figures.shared.style import GREY, LIGHT, Tables, headline, legend_below, new_figure
from annobench.figures.shared.words import PART_LABELS

TABLES = ("scores", "published_values")
REGIMES = ("release",)
ORDER = 170
_MARKS = {"164": ("v", "published, all classes"), "80": ("D", "published, classes of the newer release")}
_WIDE, _GAP, _STEP = 0.8, 0.7, 0.27  # of a bar (of its step), between models (steps), inches a step
_DASHED = (0, (2.2, 1.2))


def draw(tables: Tables, settings: FigureSettings) -> Figure | None:
    """A row of two panels per dataset."""
    scores, published = tables["scores"], tables["published_values"]
    rows = _rows(scores, settings)
    if not rows:
        return None
    spots = [_spots(methods) for _, methods in rows]
    steps = max(max(at.values()) + 1 for at in spots)
    figure = new_figure(max(2 * (0.5 + _STEP * steps) + 0.3, 7.4), 0.65 + 3.0 * len(rows))
    parts = figure.subfigures(len(rows), 1, squeeze=False)[:, 0]
    for part, (inside, methods), at in zip(parts, rows, spots, strict=True):
        headline(part, wrapped(subtitle(inside, settings), 90))
        grid = part.subplots(1, 2, sharey=True)
        reference = run_values(scores, inside, SCORE, "ood").groupby("method")["value"].mean()
        for axes, (side, title) in zip(grid, PART_LABELS.items(), strict=True):
            values = run_values(scores, sibling(inside, side), SCORE, "truth", [m.name for m in methods])
            _bars(axes, values, methods, at)
            _reference(axes, reference, at)
            theirs = published_for(published, inside, settings)
            _draw_published(axes, theirs[theirs["set"] == side], methods, at)
            _axis(axes, methods, at, steps)
            axes.set_title(title, fontsize=9, fontweight="normal")
        grid[0].set_ylabel(SCORE_NAME)
    shown = pd.concat([published_for(published, inside, settings) for inside, _ in rows])
    named = list({m.name: m for _, methods in rows for m in methods}.values())
    legend_below(figure, _handles(named, shown))
    return figure


def _rows(scores: pd.DataFrame, settings: FigureSettings) -> list[tuple[Place, list[ReleaseMethod]]]:
    """The view in distribution of every dataset, and the methods that are scored in either."""
    rows: dict[Place, list[ReleaseMethod]] = {}
    for place in [*places(settings, "id", scores), *places(settings, "ood", scores)]:
        inside = sibling(place, "id")
        if inside not in rows:
            both = pd.concat([run_values(scores, sibling(place, part), SCORE, "truth") for part in PART_LABELS])
            if methods := trained(settings, both):
                rows[inside] = methods
    return list(rows.items())


def _spots(methods: Sequence[ReleaseMethod]) -> dict[str, float]:
    """The x of every bar: losses of one model side by side."""
    spots: dict[str, float] = {}
    x, before = 0.0, methods[0].model_label
    for method in methods:
        x += _GAP if method.model_label != before else 0
        spots[method.name] = x
        x, before = x + 1, method.model_label
    return spots


def _bars(axes: Axes, values: pd.DataFrame, methods: Sequence[ReleaseMethod], at: Mapping[str, float]) -> None:
    """Means as bars, runs as dots."""
    for method in methods:
        x, look = at[method.name], loss_look(method)
        mine = values.loc[values["method"] == method.name, "value"].to_numpy(dtype=float)
        if not len(mine):
            axes.text(x, 0.015, "–", ha="center", va="bottom", fontsize=7, color=GREY)
            continue
        axes.bar(x, mine.mean(), width=_WIDE, color=look["color"], alpha=0.35, linewidth=0)
        shift = np.linspace(-0.32, 0.12, len(mine)) if len(mine) > 1 else [-0.1]
        axes.plot(x + np.asarray(shift), mine, linestyle="", markersize=3.2, markeredgewidth=0, zorder=4, **look)
        axes.text(x, 0.015, f"{mine.mean():.2f}".lstrip("0"), ha="center", va="bottom", fontsize=7)


def _reference(axes: Axes, reference: pd.Series, at: Mapping[str, float]) -> None:
    """The value in distribution on the classes of the newer release."""
    for method, x in at.items():
        if method in reference.index:
            axes.hlines(reference[method], x - 0.46, x + 0.46, color="black", linewidth=1, linestyle=_DASHED, zorder=3)


def _axis(axes: Axes, methods: Sequence[ReleaseMethod], at: Mapping[str, float], steps: float) -> None:
    """Models below their bars, which are as wide in all rows, and a grid."""
    groups: dict[str, list[float]] = {}
    for method in methods:
        groups.setdefault(method.model_label, []).append(at[method.name])
    axes.set_xticks([sum(xs) / len(xs) for xs in groups.values()], [wrapped(name, 14) for name in groups])
    axes.tick_params(axis="x", length=0)
    axes.set_xlim(-0.7, steps - 0.3)
    axes.set_ylim(0, 1)
    axes.yaxis.grid(True, color=LIGHT, linewidth=0.4)
    axes.set_axisbelow(True)


def _draw_published(
    axes: Axes, published: pd.DataFrame, methods: Sequence[ReleaseMethod], at: Mapping[str, float]
) -> None:
    """Published values at the right edge of the bar that they are of; a range as a line."""
    overall = published[(published["metric"] == SCORE) & (published["level"] == "overall")]
    for method in methods:
        x = at[method.name] + 0.31
        mine = overall[(overall["model"] == method.model) & (overall["loss"] == (method.loss or "ce"))]
        for row in mine.drop_duplicates(["label_set", "kind"]).itertuples():
            printed = mine[(mine["label_set"] == row.label_set) & (mine["kind"] == "printed")]
            if row.kind != "printed" and len(printed):  # a printed value is better than one read off a figure
                continue
            marker, _ = _MARKS.get(str(row.label_set), ("s", ""))
            if pd.notna(row.value):
                axes.plot(
                    x, row.value, marker=marker, color="black", markerfacecolor="white", markersize=5,
                    markeredgewidth=0.9, zorder=5,
                )  # fmt: skip
            elif pd.notna(row.low):
                axes.errorbar(
                    x, (row.low + row.high) / 2, yerr=(row.high - row.low) / 2, color="black", capsize=2.5,
                    linewidth=0.9, zorder=5,
                )  # fmt: skip


def _handles(methods: Sequence[ReleaseMethod], published: pd.DataFrame) -> list[Artist]:
    handles: list[Artist] = [
        Line2D([], [], linestyle="", markersize=5, label=loss_label(method), **loss_look(method))
        for method in by_loss(m for m in methods if m.loss)
    ]
    if any(not method.loss for method in methods):
        handles.append(Patch(color=GREY, alpha=0.35, label="other methods"))
    label = "in distribution, classes of the newer release"
    handles.append(Line2D([], [], label=label, color="black", linewidth=1, linestyle=_DASHED))
    overall = published[(published["metric"] == SCORE) & (published["level"] == "overall")]
    for label_set, (marker, label) in _MARKS.items():
        if (overall["label_set"].astype(str) == label_set).any():
            handles.append(
                Line2D(
                    [], [], linestyle="", marker=marker, color="black", markerfacecolor="white", markersize=5,
                    label=label,
                )
            )  # fmt: skip
    if (overall["value"].isna() & overall["low"].notna() & (overall["loss"] == "hce")).any():
        handles.append(Line2D([], [], color="black", marker="_", linewidth=0.9, label="published, as a range"))
    return handles
