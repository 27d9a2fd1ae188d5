"""Scores in and out of distribution: every model and loss, every run, beside what was published."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from annobench.figures.shared.labels import wrapped
from annobench.figures.shared.releases import (
    LOSSES,
    PARTS,
    SCORE,
    SCORE_NAME,
    Place,
    colour_of,
    described,
    loss_name,
    marker_of,
    model_name,
    places,
    published_for,
    run_values,
    sibling,
    subtitle,
    trained,
)
from annobench.figures.shared.style import GREY, LIGHT, new_figure

TABLES = ["scores", "published_values"]
REGIMES = ("release",)
TITLE = "In and out of distribution"
CAPTION = (
    "Macro F1 under the descendant rule (a prediction below the label counts as right) of every model and loss: bars "
    "are means over runs, dots single runs. Left, held-out donors of the older release, all of its classes; right, "
    "the cells that a newer release adds. Dashed: the in-distribution value on the classes that the newer cells have, "
    "so that both sides compare like with like. Hollow marks are published values, of the paper's own Census releases: "
    "where a panel names other data they are for orientation only."
)
_MARKS = {"164": ("v", "published, all classes"), "80": ("D", "published, classes of the newer release")}
_WIDE, _GAP, _STEP = 0.8, 0.7, 0.27  # of a bar (of its step), between models (steps), inches a step


def draw(tables: Mapping[str, pd.DataFrame], settings: Mapping[str, Any]) -> Figure | None:
    """A row of two panels per dataset."""
    scores, published = tables["scores"], tables["published_values"]
    rows: list[tuple[Place, list[str]]] = []
    for place in dict.fromkeys([*places(settings, "id", scores), *places(settings, "ood", scores)]):
        inside = sibling(settings, place, "id")
        if inside in [row[0] for row in rows]:
            continue
        both = pd.concat([run_values(scores, sibling(settings, place, part), SCORE, "truth") for part in PARTS])
        methods = trained(settings, both)
        if methods:
            rows.append((inside, methods))
    if not rows:
        return None
    spots = [_spots(methods, settings) for _, methods in rows]
    steps = max(max(found.values()) + 1 for found in spots)
    names = list(dict.fromkeys(m for _, methods in rows for m in methods))
    figure = new_figure(max(2 * (0.5 + _STEP * steps) + 0.3, 7.4), 0.65 + 3.0 * len(rows))
    parts = figure.subfigures(len(rows), 1, squeeze=False)[:, 0]
    for part, (inside, methods), at in zip(parts, rows, spots, strict=True):
        part.suptitle(wrapped(subtitle(inside, settings), 95), fontsize=9, x=0.01, ha="left")
        grid = part.subplots(1, 2, sharey=True)
        reference = run_values(scores, inside, SCORE, "ood").groupby("method")["value"].mean()
        for axes, side in zip(grid, PARTS, strict=True):
            values = run_values(scores, sibling(settings, inside, side), SCORE, "truth", methods)
            _panel(axes, values, at, settings, reference)
            _draw_published(axes, published_for(published, inside, settings), side, at, settings)
            axes.set_title(PARTS[side])
        grid[0].set_ylabel(SCORE_NAME)
    shown = (
        published if any(len(published_for(published, inside, settings)) for inside, _ in rows) else published.head(0)
    )
    figure.legend(handles=_handles(names, shown, settings), loc="outside lower left", ncols=3)
    return figure


def _spots(methods: Sequence[str], settings: Mapping[str, Any]) -> dict[str, float]:
    """The x of every bar: losses of one model beside each other."""
    found: dict[str, float] = {}
    x, before = 0.0, model_name(settings, methods[0])
    for method in methods:
        model = model_name(settings, method)
        x += _GAP if model != before else 0
        found[method] = x
        x, before = x + 1, model
    return found


def _panel(
    axes: Axes, values: pd.DataFrame, at: Mapping[str, float], settings: Mapping[str, Any], reference: pd.Series
) -> None:
    for method, x in at.items():
        mine = values.loc[values["method"] == method, "value"].to_numpy(dtype=float)
        colour = colour_of(settings, method)
        if len(mine):
            axes.bar(x, mine.mean(), width=_WIDE, color=colour, alpha=0.35, linewidth=0)
            shift = np.linspace(-0.32, 0.12, len(mine)) if len(mine) > 1 else [-0.1]
            axes.plot(
                x + np.asarray(shift), mine, linestyle="", marker=marker_of(settings, method), color=colour,
                markersize=3.2, markeredgewidth=0, zorder=4,
            )  # fmt: skip
            axes.text(x, 0.015, f"{mine.mean():.2f}".lstrip("0"), ha="center", va="bottom", fontsize=7)
        else:
            axes.text(x, 0.015, "–", ha="center", va="bottom", fontsize=7, color=GREY)
        if method in reference.index:
            axes.hlines(
                reference[method], x - 0.46, x + 0.46, color="black", linewidth=1, linestyle=(0, (2.2, 1.2)), zorder=3
            )
    groups: dict[str, list[float]] = {}
    for method, x in at.items():
        groups.setdefault(model_name(settings, method), []).append(x)
    axes.set_xticks([sum(xs) / len(xs) for xs in groups.values()], [wrapped(name, 14) for name in groups])
    axes.tick_params(axis="x", length=0)
    axes.set_xlim(-0.7, max(at.values()) + 0.7)
    axes.set_ylim(0, 1)
    axes.yaxis.grid(True, color=LIGHT, linewidth=0.4)
    axes.set_axisbelow(True)


def _draw_published(
    axes: Axes, published: pd.DataFrame, side: str, at: Mapping[str, float], settings: Mapping[str, Any]
) -> None:
    """Published values at the right edge of the bar that they are of; what is only known as a range is a line."""
    mine = published[(published["set"] == side) & (published["metric"] == SCORE) & (published["level"] == "overall")]
    for method, x in at.items():
        about = described(settings, method)
        of = mine[(mine["model"] == about["model"]) & (mine["loss"] == (about["loss"] or "ce"))]
        for row in of.drop_duplicates(["label_set", "kind"]).itertuples():
            again = of[(of["label_set"] == row.label_set) & (of["kind"] == "printed")]
            if row.kind != "printed" and len(again):  # what is printed goes before what was read off a figure
                continue
            marker, _ = _MARKS.get(str(row.label_set), ("s", ""))
            if pd.notna(row.value):
                axes.plot(
                    x + 0.31, row.value, marker=marker, color="black", markerfacecolor="white", markersize=5,
                    markeredgewidth=0.9, zorder=5,
                )  # fmt: skip
            elif pd.notna(row.low):
                axes.errorbar(
                    x + 0.31, (row.low + row.high) / 2, yerr=(row.high - row.low) / 2, color="black", capsize=2.5,
                    linewidth=0.9, zorder=5,
                )  # fmt: skip


def _handles(methods: Sequence[str], published: pd.DataFrame, settings: Mapping[str, Any]) -> list[Any]:
    losses = {described(settings, m)["loss"]: m for m in methods if described(settings, m)["loss"]}
    found: list[Any] = []
    for loss in sorted(losses, key=lambda one: list(LOSSES).index(one) if one in LOSSES else len(LOSSES)):
        method = losses[loss]
        look: dict[str, Any] = {
            "color": colour_of(settings, method),
            "marker": marker_of(settings, method),
            "markersize": 4,
        }
        found.append(Line2D([], [], linewidth=6, alpha=0.6, label=loss_name(settings, method), **look))
    if any(not described(settings, m)["loss"] for m in methods):
        found.append(Patch(color=GREY, alpha=0.35, label="other methods"))
    dashed: dict[str, Any] = {"color": "black", "linewidth": 1, "linestyle": (0, (2.2, 1.2))}
    found.append(Line2D([], [], label="in distribution, classes of the newer release", **dashed))
    overall = published[(published["metric"] == SCORE) & (published["level"] == "overall")]
    for label_set, (marker, label) in _MARKS.items():
        if (overall["label_set"].astype(str) == label_set).any():
            look = {"linestyle": "", "marker": marker, "color": "black", "markerfacecolor": "white", "markersize": 5}
            found.append(Line2D([], [], label=label, **look))
    if (overall["value"].isna() & overall["low"].notna() & (overall["loss"] == "hce")).any():
        found.append(Line2D([], [], color="black", marker="_", linewidth=0.9, label="published, as a range"))
    return found
