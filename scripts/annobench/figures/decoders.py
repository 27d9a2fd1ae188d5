"""Loss and decoding

Every loss with every decoding, out of distribution: the most probable class (argmax), the most probable leaf, and the
descent through the ontology along summed probabilities, which stops where a class is more probable than everything
below it (top-down). The descendant rule counts a leaf below the label as right, so it rewards leaves; exact match
does not. If cross-entropy with leaf decoding reaches the hierarchical loss under the rule, the decoding made the
difference; what remains between the losses under one decoding is due to training. Pale symbols are single runs.
"""

from collections.abc import Mapping, Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from annobench.figures.shared.labels import wrapped
from annobench.figures.shared.releases import (
    SCORE,
    SCORE_NAME,
    by_loss,
    loss_label,
    loss_look,
    places,
    run_values,
    subtitle,
    trained,
)
from annobench.figures.shared.settings import FigureSettings, ReleaseMethod
from annobench.figures.shared.style import DARK, Tables, light_rows, new_figure
from annobench.figures.shared.words import DECODING_LABELS

TABLES = ("scores",)
REGIMES = ("release",)
NEEDS = ("decodings",)
ORDER = 190
METRICS = {
    ("macro_f1", "truth"): "macro F1, exact match",
    (SCORE, "truth"): SCORE_NAME,
    ("leaf_share", "-"): "share of leaves among the answers",
}
MARKERS = {"argmax": "o", "leaf": "^", "top_down": "v"}
_OFFSETS = {"argmax": 0.22, "leaf": 0.0, "top_down": -0.22}


def draw(tables: Tables, settings: FigureSettings) -> Figure | None:
    """Models and losses in rows, metrics in columns; datasets below each other."""
    scores = tables["scores"]
    rows = []
    for place in places(settings, "ood", scores):
        values = {key: run_values(scores, place, *key) for key in METRICS}
        methods = _decoded(pd.concat(values.values()), settings)
        if methods:
            rows.append((place, values, methods))
    if not rows:
        return None
    heights = [1.0 + 0.36 * (len(methods) + 0.6 * len({m.model_label for m in methods})) for _, _, methods in rows]
    figure = new_figure(10.2, 0.5 + sum(heights))
    parts = figure.subfigures(len(rows), 1, squeeze=False, height_ratios=heights)[:, 0]
    for page, (place, values, methods) in zip(parts, rows, strict=True):
        page.suptitle(wrapped(subtitle(place, settings, "ood"), 140), fontsize=9, x=0.01, ha="left")
        grid = page.subplots(1, len(METRICS), sharey=True)
        at = _heights(methods)
        for axes, (key, title) in zip(grid, METRICS.items(), strict=True):
            light_rows(axes, list(at.values()))
            for method in methods:
                _row(axes, values[key], method, at[method.name])
            axes.set_title(title, fontsize=9)
            axes.margins(x=0.08)
            axes.locator_params(axis="x", nbins=5)
        _labels(grid[0], methods, at)
    handles = [
        Line2D([], [], linestyle="", marker=MARKERS[one], color=DARK, markersize=5, label=f"{name} decoding")
        for one, name in DECODING_LABELS.items()
    ]
    handles += [
        Line2D([], [], color=loss_look(method)["color"], linewidth=3, label=loss_label(method))
        for method in by_loss(m for _, _, methods in rows for m in methods if m.loss)
    ]
    figure.legend(handles=handles, loc="outside lower left", ncols=len(handles))
    return figure


def _decoded(values: pd.DataFrame, settings: FigureSettings) -> list[ReleaseMethod]:
    """Methods that are scored by another decoding as well."""
    names = set(values["method"])
    return [m for m in trained(settings, values) if any(f"{m.name}.{one}" in names for one in DECODING_LABELS)]


def _heights(methods: Sequence[ReleaseMethod]) -> dict[str, float]:
    """A row for every method, below a heading for every model."""
    heights: dict[str, float] = {}
    y, before = 0.4, ""
    for method in methods:
        y -= 1.0 if method.model_label == before else 1.4
        heights[method.name], before = y, method.model_label
    return heights


def _row(axes: Axes, values: pd.DataFrame, method: ReleaseMethod, y: float) -> None:
    """One method by all decodings: runs pale, their mean on top."""
    colour = loss_look(method)["color"]
    for decoding, offset in _OFFSETS.items():
        name = method.name if decoding == "argmax" else f"{method.name}.{decoding}"
        runs = values.loc[values["method"] == name, "value"].to_numpy(dtype=float)
        if len(runs):
            at, marker = y + offset, MARKERS[decoding]
            axes.plot(
                runs, [at] * len(runs), marker, color=colour, markersize=5, markeredgewidth=0, alpha=0.3, zorder=2
            )
            axes.plot(runs.mean(), at, marker, color=colour, markersize=5.5, markeredgewidth=0, zorder=3)


def _labels(axes: Axes, methods: Sequence[ReleaseMethod], at: Mapping[str, float]) -> None:
    """Losses beside their rows, models above them."""
    heights = [at[method.name] for method in methods]
    for model in dict.fromkeys(method.model_label for method in methods):
        first = max(at[method.name] for method in methods if method.model_label == model)
        axes.annotate(
            model, (0, first + 0.62), xytext=(-4, 0), textcoords="offset points", xycoords=axes.get_yaxis_transform(),
            ha="right", va="center", fontsize=8, fontweight="bold", annotation_clip=False,
        )  # fmt: skip
    axes.set_yticks(heights, [wrapped(loss_label(method), 24) for method in methods])
    axes.set_ylim(min(heights) - 0.5, 0.1)
