"""What the gain of a class goes with: its size, and how many studies, tissues and assays it was seen in."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

from annobench.figures.shared.labels import wrapped
from annobench.figures.shared.releases import (
    contrast_name,
    differences,
    fitted_of,
    main_contrasts,
    places,
    significance_handles,
    significant,
    subtitle,
    zero_line,
)
from annobench.figures.shared.style import COLOURS, new_figure

TABLES = ["contrasts", "nodes"]
REGIMES = ("release",)
NEEDS = "contrasts"
TITLE = "What the gain of a class goes with"
CAPTION = (
    "Difference in F1 (descendant rule) of every class out of distribution against what the training cells have of "
    "it: cells, and studies, tissues and assays where classes differ in them. Filled: significant over runs after "
    "Holm's correction. ρ: Spearman's rank correlation over the classes, a description, not a test: classes that are "
    "relatives are not independent."
)
PROPERTIES = {
    "train_cells": "training cells",
    "train_studies": "studies",
    "train_tissues": "tissues",
    "train_assays": "assays",
}


def draw(tables: Mapping[str, pd.DataFrame], settings: Mapping[str, Any]) -> Figure | None:
    """Models in rows, properties in columns; datasets below each other."""
    contrasts = tables["contrasts"]
    rows = []
    for place in places(settings, "ood", contrasts):
        part = differences(contrasts, place, "class")
        nodes = fitted_of(tables["nodes"], place).drop_duplicates("label_id").set_index("label_id")
        part = part[part["group"].isin(nodes.index)]
        if len(part):
            rows.append((place, part, nodes, main_contrasts(part, settings)))
    if not rows:
        return None
    heights = [0.5 + 1.75 * len(named) for *_, named in rows]
    figure = new_figure(10, 0.4 + sum(heights))
    parts = figure.subfigures(len(rows), 1, squeeze=False, height_ratios=heights)[:, 0]
    for page, (place, part, nodes, named) in zip(parts, rows, strict=True):
        page.suptitle(wrapped(subtitle(place, settings, "ood"), 140), fontsize=9, x=0.01, ha="left")
        grid = page.subplots(len(named), len(PROPERTIES), sharex="col", sharey=True, squeeze=False)
        known = nodes.reindex(part["group"].unique())
        shown = [key for key in PROPERTIES if key == "train_cells" or known[key].nunique() > 1]
        for axes in grid[:, len(shown) :].ravel():  # the same for all classes: nothing to see
            axes.set_visible(False)
        for axes_row, (name, base, method) in zip(grid, named, strict=True):
            mine = part[part["contrast"] == name].drop_duplicates("group")
            for axes, key in zip(axes_row, shown, strict=False):
                _panel(axes, nodes[key].reindex(mine["group"]).to_numpy(dtype=float), mine, settings)
            axes_row[0].set_ylabel(f"{contrast_name(settings, base, method)}\ndifference in F1", fontsize=8)
        for axes, key in zip(grid[-1], shown, strict=False):
            axes.set_xlabel(PROPERTIES[key])
            _scale(axes, known[key].to_numpy(dtype=float))
    handles = significance_handles(COLOURS[0], settings["release"]["confidence"])
    figure.legend(handles=handles, loc="outside lower left", ncols=2)
    return figure


def _panel(axes: Axes, x: Any, mine: pd.DataFrame, settings: Mapping[str, Any]) -> None:
    zero_line(axes, vertical=False)
    y, sure = mine["difference"].to_numpy(dtype=float), significant(mine, settings)
    for chosen, face in ((sure, COLOURS[0]), (~sure, "white")):
        axes.scatter(x[chosen], y[chosen], s=13, color=face, edgecolor=COLOURS[0], linewidth=0.7, zorder=2)
    known = np.isfinite(x) & np.isfinite(y)
    if known.sum() > 2 and len(set(x[known])) > 1 and len(set(y[known])) > 1:
        rho = pd.Series(x[known]).rank().corr(pd.Series(y[known]).rank())
        text = f"ρ = {rho:+z.2f}".replace("-", "\N{MINUS SIGN}") + f", n = {known.sum()}"
        axes.set_title(text, fontsize=7.5, loc="right", fontweight="normal", pad=2)


def _scale(axes: Axes, values: Any) -> None:
    """Logarithmic where the values span more than a decade; whole numbers where they are few."""
    known = values[np.isfinite(values) & (values > 0)]
    if len(known) and known.max() >= 20 * known.min():
        axes.set_xscale("log")
        wide = known.max() > 100 * known.min()
        axes.xaxis.set_major_locator(LogLocator(subs=(1,) if wide else (1, 2, 5), numticks=5))
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axes.xaxis.set_minor_formatter(NullFormatter())
    elif len(known) and known.max() == known.min():
        axes.set_xlim(known[0] - 1, known[0] + 1)
        axes.set_xticks([known[0]], [f"{known[0]:g}"])
    else:
        axes.locator_params(axis="x", integer=True, nbins=6)
