"""Losses compared: what another loss changes, out of distribution and in it."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from annobench.figures.shared.labels import direction, wrapped
from annobench.figures.shared.releases import (
    LOSSES,
    PARTS,
    SCORE,
    SCORE_NAME,
    Place,
    colour_of,
    contrast_name,
    contrasts_of,
    described,
    differences,
    forest,
    light_rows,
    loss_name,
    marker_of,
    places,
    published_for,
    run_values,
    sibling,
    significance_handles,
    subtitle,
    with_zero,
    zero_line,
)
from annobench.figures.shared.style import GREY, LIGHT, new_figure

TABLES = ["scores", "contrasts", "published_values"]
REGIMES = ("release",)
NEEDS = "contrasts"
TITLE = "What the loss changes"
CAPTION = (
    "Left: macro F1 under the descendant rule out of distribution, a symbol per run, runs of one seed joined. Middle "
    "and right: the difference, out of distribution and in distribution, with its interval (bootstrap over studies, "
    "else donors, else cells) and a grey tick per run. Filled: significant over runs after Holm's correction. The grey "
    "band is what the paper reports for its three models on its own Census releases; where a panel names other data "
    "it is for orientation only."
)


def draw(tables: Mapping[str, pd.DataFrame], settings: Mapping[str, Any]) -> Figure | None:
    """Contrasts in rows; per dataset three panels."""
    scores, contrasts = tables["scores"], tables["contrasts"]
    rows = []
    for place in places(settings, "ood", contrasts):
        part = differences(contrasts, place, "overall", SCORE)
        if len(part):
            rows.append((place, contrasts_of(part, settings)))
    if not rows:
        return None
    figure = new_figure(10.5, 0.5 + sum(1.15 + 0.27 * len(named) for _, named in rows))
    parts = figure.subfigures(len(rows), 1, squeeze=False, height_ratios=[1.15 + 0.27 * len(n) for _, n in rows])[:, 0]
    bands = {place: _band(published_for(tables["published_values"], place, settings)) for place, _ in rows}
    for part, (place, named) in zip(parts, rows, strict=True):
        part.suptitle(wrapped(subtitle(place, settings), 150), fontsize=9, x=0.01, ha="left")
        grid = part.subplots(1, 3, sharey=True)
        _runs(grid[0], scores, place, named, settings)
        for axes, side in zip(grid[1:], ("ood", "id"), strict=True):
            there = sibling(settings, place, side)
            _differences(axes, contrasts, scores, there, named, settings, bands[place] if side == "ood" else None)
            axes.set_title(f"Difference, {PARTS[side].lower()}", fontsize=9, pad=13)
        labels = [wrapped(contrast_name(settings, *one[1:]), 34) for one in named]
        grid[0].set_yticks([-i for i in range(len(named))], labels)
        grid[0].set_ylim(-len(named) + 0.4, 0.6)
    figure.legend(
        handles=_handles(rows, next(filter(None, bands.values()), None), settings), loc="outside lower left", ncols=4
    )
    return figure


def _band(published: pd.DataFrame) -> tuple[float, float] | None:
    """The published range of the differences out of distribution."""
    mine = published[(published["set"] == "ood") & (published["loss"] == "hce-ce") & (published["metric"] == SCORE)]
    mine = mine[mine["low"].notna() & mine["high"].notna()]
    return (float(mine["low"].min()), float(mine["high"].max())) if len(mine) else None


def _runs(axes: Axes, scores: pd.DataFrame, place: Place, named: Sequence[Any], settings: Mapping[str, Any]) -> None:
    """Base and method of every contrast, run by run."""
    heights = [-i for i in range(len(named))]
    light_rows(axes, heights)
    for y, (_, base, method) in zip(heights, named, strict=True):
        values = run_values(scores, place, SCORE, "truth", [base, method])
        wide = values.pivot_table(index="seed", columns="method", values="value").reindex(columns=[base, method])
        shifts = np.linspace(-0.2, 0.2, len(wide)) if len(wide) > 1 else [0.0]
        for shift, (_, pair) in zip(shifts, wide.iterrows(), strict=True):
            axes.plot(pair.to_numpy(), [y + shift] * 2, color=LIGHT, linewidth=0.9, zorder=2)
        for name in (base, method):
            axes.plot(
                wide[name], y + np.asarray(shifts), linestyle="", marker=marker_of(settings, name),
                color=colour_of(settings, name), markersize=4, markeredgewidth=0, zorder=3,
            )  # fmt: skip
    axes.set_title("Out of distribution", fontsize=9, pad=13)
    axes.set_xlabel(SCORE_NAME)
    axes.margins(x=0.08)
    axes.locator_params(axis="x", nbins=5)


def _differences(
    axes: Axes,
    contrasts: pd.DataFrame,
    scores: pd.DataFrame,
    place: Place,
    named: Sequence[Any],
    settings: Mapping[str, Any],
    band: tuple[float, float] | None,
) -> None:
    part = differences(contrasts, place, "overall", SCORE)
    numbers = [*part[["low", "high", "difference"]].to_numpy(dtype=float).ravel(), *(band or ())]
    light_rows(axes, [-i for i in range(len(named))])
    zero_line(axes)
    if band:
        axes.axvspan(*band, color="#E3E3E3", zorder=0)
    for i, (name, base, method) in enumerate(named):
        values = run_values(scores, place, SCORE, "truth", [base, method])
        wide = values.pivot_table(index="seed", columns="method", values="value").reindex(columns=[base, method])
        gaps = (wide[method] - wide[base]).dropna()
        numbers += gaps.tolist()
        axes.plot(gaps, [-i - 0.3] * len(gaps), linestyle="", marker="|", color=GREY, markersize=4, zorder=2)
        mine = part[part["contrast"] == name]
        forest(axes, mine.head(1), [-i], settings, colour_of(settings, method))
        if mine.empty:
            axes.text(0.98, -i, "–", transform=axes.get_yaxis_transform(), ha="right", va="center", color=GREY)
    with_zero(axes, numbers)
    for row in part.itertuples():
        at = [-i for i, one in enumerate(named) if one[0] == row.contrast]
        if at:
            axes.annotate(
                f"{row.difference:+z.3f}".replace("-", "\N{MINUS SIGN}"), (1.01, at[0]),
                xycoords=axes.get_yaxis_transform(), fontsize=7, va="center", annotation_clip=False,
            )  # fmt: skip
    axes.set_xlabel("difference")
    axes.locator_params(axis="x", nbins=5)
    direction(axes, True)


def _handles(rows: Sequence[Any], band: Any, settings: Mapping[str, Any]) -> list[Any]:
    methods = {described(settings, m)["loss"]: m for _, named in rows for one in named for m in one[1:]}
    found: list[Any] = []
    for loss in sorted(methods, key=lambda one: list(LOSSES).index(one) if one in LOSSES else len(LOSSES)):
        look: dict[str, Any] = {
            "color": colour_of(settings, methods[loss]),
            "marker": marker_of(settings, methods[loss]),
        }
        found.append(Line2D([], [], linestyle="", markersize=5, label=loss_name(settings, methods[loss]), **look))
    found += significance_handles("black", settings["release"]["confidence"])
    found.append(Line2D([], [], linestyle="", marker="|", color=GREY, markersize=5, label="one run"))
    if band:
        found.append(Patch(color="#E3E3E3", label=f"published: +{band[0]:g} to +{band[1]:g}"))
    return found
