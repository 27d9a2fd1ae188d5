"""Loss or decoding: is it training that helps, or that the answer is a leaf?"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from annobench.figures.shared.labels import wrapped
from annobench.figures.shared.releases import (
    DECODINGS,
    LOSSES,
    SCORE,
    SCORE_NAME,
    colour_of,
    described,
    light_rows,
    loss_name,
    model_name,
    places,
    run_values,
    subtitle,
    trained,
)
from annobench.figures.shared.style import new_figure

TABLES = ["scores"]
REGIMES = ("release",)
NEEDS = "decodings"
TITLE = "Loss and decoding"
CAPTION = (
    "Every loss with every decoding, out of distribution: the most probable class (argmax), the most probable leaf, "
    "and the way down the ontology along summed probabilities, which stops where a class is more probable than what is "
    "below it (top-down). The descendant rule counts a leaf below the label as right, so it rewards leaves; exact "
    "match does not. If cross-entropy with the leaf decoding reaches the hierarchical loss under the rule, it was the "
    "decoding; what is left between the losses under one decoding is training. Pale symbols are single runs."
)
METRICS = {
    ("macro_f1", "truth"): "macro F1, exact match",
    (SCORE, "truth"): SCORE_NAME,
    ("leaf_share", "-"): "share of leaves among the answers",
}
MARKERS = {"argmax": "o", "leaf": "^", "top_down": "v"}
_OFFSETS = {"argmax": 0.22, "leaf": 0.0, "top_down": -0.22}


def draw(tables: Mapping[str, pd.DataFrame], settings: Mapping[str, Any]) -> Figure | None:
    """Models and losses in rows, metrics in columns; datasets below each other."""
    scores = tables["scores"]
    rows = []
    for place in places(settings, "ood", scores):
        found = {key: run_values(scores, place, *key) for key in METRICS}
        methods = _decoded(pd.concat(found.values()), settings)
        if methods:
            rows.append((place, found, methods))
    if not rows:
        return None
    heights = [1.0 + 0.36 * (len(methods) + 0.6 * _models(methods, settings)) for _, _, methods in rows]
    figure = new_figure(10.2, 0.5 + sum(heights))
    parts = figure.subfigures(len(rows), 1, squeeze=False, height_ratios=heights)[:, 0]
    for page, (place, found, methods) in zip(parts, rows, strict=True):
        page.suptitle(wrapped(subtitle(place, settings, "ood"), 140), fontsize=9, x=0.01, ha="left")
        grid = page.subplots(1, len(METRICS), sharey=True)
        at = _heights(methods, settings)
        for axes, (key, title) in zip(grid, METRICS.items(), strict=True):
            light_rows(axes, [at[method] for method in methods])
            for method in methods:
                _row(axes, found[key], method, at[method], settings)
            axes.set_title(title, fontsize=9)
            axes.margins(x=0.08)
            axes.locator_params(axis="x", nbins=5)
        _labels(grid[0], methods, at, settings)
    handles = [
        Line2D([], [], linestyle="", marker=MARKERS[one], color="#444444", markersize=5, label=f"{name} decoding")
        for one, name in DECODINGS.items()
    ]
    losses = {described(settings, m)["loss"]: m for _, _, methods in rows for m in methods}
    handles += [
        Line2D([], [], color=colour_of(settings, losses[one]), linewidth=3, label=loss_name(settings, losses[one]))
        for one in LOSSES
        if one in losses
    ]
    figure.legend(handles=handles, loc="outside lower left", ncols=len(handles))
    return figure


def _decoded(values: pd.DataFrame, settings: Mapping[str, Any]) -> list[str]:
    """Plain methods that are scored by another decoding as well."""
    names = set(values["method"])
    return [m for m in trained(settings, values) if any(f"{m}.{one}" in names for one in DECODINGS)]


def _models(methods: Sequence[str], settings: Mapping[str, Any]) -> int:
    return len({model_name(settings, method) for method in methods})


def _heights(methods: Sequence[str], settings: Mapping[str, Any]) -> dict[str, float]:
    """A row for every method, below a heading for every model."""
    found: dict[str, float] = {}
    y, before = 0.4, ""
    for method in methods:
        model = model_name(settings, method)
        y -= 1.0 if model == before else 1.4
        found[method], before = y, model
    return found


def _row(axes: Axes, values: pd.DataFrame, method: str, y: float, settings: Mapping[str, Any]) -> None:
    colour = colour_of(settings, method)
    for decoding, offset in _OFFSETS.items():
        name = method if decoding == "argmax" else f"{method}.{decoding}"
        runs = values.loc[values["method"] == name, "value"].to_numpy(dtype=float)
        if not len(runs):
            continue
        at = y + offset
        look: dict[str, Any] = {"marker": MARKERS[decoding], "color": colour, "markeredgewidth": 0, "linestyle": ""}
        axes.plot(runs, [at] * len(runs), markersize=5, alpha=0.3, zorder=2, **look)
        axes.plot(np.mean(runs), at, markersize=5.5, zorder=3, **look)


def _labels(axes: Axes, methods: Sequence[str], at: Mapping[str, float], settings: Mapping[str, Any]) -> None:
    """Losses beside their rows, models above them."""
    heights, texts = [at[m] for m in methods], [wrapped(loss_name(settings, m), 24) for m in methods]
    for model in dict.fromkeys(model_name(settings, m) for m in methods):
        first = max(at[m] for m in methods if model_name(settings, m) == model)
        axes.annotate(
            model, (0, first + 0.62), xytext=(-4, 0), textcoords="offset points", xycoords=axes.get_yaxis_transform(),
            ha="right", va="center", fontsize=8, fontweight="bold", annotation_clip=False,
        )  # fmt: skip
    axes.set_yticks(heights, texts)
    axes.set_ylim(min(heights) - 0.5, 0.1)
