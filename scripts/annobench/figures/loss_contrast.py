"""What the loss changes

Left: macro F1 under the descendant rule out of distribution, one symbol per run, runs of the same seed joined. Middle
and right: the difference, out of distribution and in distribution, with its interval (bootstrap over studies, else
donors, else cells) and a grey tick per run. Filled: significant over runs after Holm's correction. The grey band is
the difference that the paper reports for its three models on its own Census releases; where a panel names other data
it is for orientation only.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from annobench.config.contrasts import Contrast
from annobench.figures.shared.labels import wrapped
from annobench.figures.shared.releases import (
    BAND,
    SCORE,
    SCORE_NAME,
    by_loss,
    contrast_label,
    contrasts_of,
    differences,
    forest,
    legend_points,
    loss_look,
    numbers_of,
    places,
    published_for,
    run_values,
    sibling,
    significance_handles,
    subtitle,
    with_zero,
    zero_line,
)
from annobench.figures.shared.settings import FigureSettings, Place
from annobench.figures.shared.style import GREY, LIGHT, Tables, direction, light_rows, new_figure
from annobench.figures.shared.words import PART_LABELS

TABLES = ("scores", "contrasts", "published_values")
REGIMES = ("release",)
NEEDS = ("contrasts",)
ORDER = 180
Range = tuple[float, float]
Rows = Sequence[tuple[Place, list[Contrast]]]


def draw(tables: Tables, settings: FigureSettings) -> Figure | None:
    """Contrasts in rows; per dataset three panels."""
    rows = []
    for place in places(settings, "ood", tables["contrasts"]):
        part = differences(tables["contrasts"], place, "overall", SCORE)
        if len(part):
            rows.append((place, contrasts_of(part, settings.of_release)))
    if not rows:
        return None
    heights = [1.15 + 0.27 * len(contrasts) for _, contrasts in rows]
    figure = new_figure(10.5, 0.5 + sum(heights))
    parts = figure.subfigures(len(rows), 1, squeeze=False, height_ratios=heights)[:, 0]
    bands = {place: _band(published_for(tables["published_values"], place, settings)) for place, _ in rows}
    for part, (place, contrasts) in zip(parts, rows, strict=True):
        part.suptitle(wrapped(subtitle(place, settings), 150), fontsize=9, x=0.01, ha="left")
        grid = part.subplots(1, 3, sharey=True)
        _runs(grid[0], tables["scores"], place, contrasts, settings)
        for axes, side in zip(grid[1:], ("ood", "id"), strict=True):
            _differences(axes, tables, sibling(place, side), contrasts, settings)
            _limits(axes, tables, sibling(place, side), contrasts, bands[place] if side == "ood" else None)
            axes.set_title(f"Difference, {PART_LABELS[side].lower()}", fontsize=9, pad=13)
        labels = [wrapped(contrast_label(one, settings.of_release), 34) for one in contrasts]
        grid[0].set_yticks([-i for i in range(len(contrasts))], labels)
        grid[0].set_ylim(-len(contrasts) + 0.4, 0.6)
    band = next(filter(None, bands.values()), None)
    figure.legend(handles=_handles(rows, band, settings), loc="outside lower left", ncols=4)
    return figure


def _band(published: pd.DataFrame) -> Range | None:
    """The published range of the differences out of distribution."""
    mine = published[(published["set"] == "ood") & (published["loss"] == "hce-ce") & (published["metric"] == SCORE)]
    mine = mine[mine["low"].notna() & mine["high"].notna()]
    return (float(mine["low"].min()), float(mine["high"].max())) if len(mine) else None


def _wide(scores: pd.DataFrame, place: Place, contrast: Contrast) -> pd.DataFrame:
    """Values of base and method, a row per seed."""
    pair = [contrast.base, contrast.method]
    values = run_values(scores, place, SCORE, "truth", pair)
    return values.pivot_table(index="seed", columns="method", values="value").reindex(columns=pair)


def _gaps(scores: pd.DataFrame, place: Place, contrast: Contrast) -> pd.Series:
    """Method minus base, of every run that has both."""
    wide = _wide(scores, place, contrast)
    return (wide[contrast.method] - wide[contrast.base]).dropna()


def _runs(
    axes: Axes, scores: pd.DataFrame, place: Place, contrasts: Sequence[Contrast], settings: FigureSettings
) -> None:
    """Base and method of every contrast, run by run."""
    heights = [-i for i in range(len(contrasts))]
    light_rows(axes, heights)
    for y, contrast in zip(heights, contrasts, strict=True):
        wide = _wide(scores, place, contrast)
        shifts = np.linspace(-0.2, 0.2, len(wide)) if len(wide) > 1 else [0.0]
        for shift, (_, pair) in zip(shifts, wide.iterrows(), strict=True):
            axes.plot(pair.to_numpy(), [y + shift] * 2, color=LIGHT, linewidth=0.9, zorder=2)
        for name in (contrast.base, contrast.method):
            look = loss_look(settings.of_release.method(name))
            axes.plot(
                wide[name], y + np.asarray(shifts), linestyle="", markersize=4, markeredgewidth=0, zorder=3, **look
            )
    axes.set_title("Out of distribution", fontsize=9, pad=13)
    axes.set_xlabel(SCORE_NAME)
    axes.margins(x=0.08)
    axes.locator_params(axis="x", nbins=5)


def _differences(
    axes: Axes, tables: Tables, place: Place, contrasts: Sequence[Contrast], settings: FigureSettings
) -> None:
    """Single runs as ticks, their mean with its interval, and the number."""
    part = differences(tables["contrasts"], place, "overall", SCORE)
    light_rows(axes, [-i for i in range(len(contrasts))])
    zero_line(axes)
    for i, contrast in enumerate(contrasts):
        gaps = _gaps(tables["scores"], place, contrast)
        axes.plot(gaps, [-i - 0.3] * len(gaps), linestyle="", marker="|", color=GREY, markersize=4, zorder=2)
        mine = part[part["contrast"] == contrast.name]
        forest(axes, mine.head(1), [-i], settings, loss_look(settings.of_release.method(contrast.method))["color"])
        if mine.empty:
            axes.text(0.98, -i, "–", transform=axes.get_yaxis_transform(), ha="right", va="center", color=GREY)
        for row in mine.itertuples():
            axes.annotate(
                f"{row.difference:+z.3f}".replace("-", "\N{MINUS SIGN}"), (1.01, -i),
                xycoords=axes.get_yaxis_transform(), fontsize=7, va="center", annotation_clip=False,
            )  # fmt: skip
    axes.set_xlabel("difference")
    axes.locator_params(axis="x", nbins=5)
    direction(axes, higher_is_better=True)


def _limits(axes: Axes, tables: Tables, place: Place, contrasts: Sequence[Contrast], band: Range | None) -> None:
    """Draw the published band, and set limits that hold it, all runs and all intervals."""
    if band:
        axes.axvspan(*band, color=BAND, zorder=0)
    numbers = [*numbers_of(differences(tables["contrasts"], place, "overall", SCORE)), *(band or ())]
    for contrast in contrasts:
        numbers += _gaps(tables["scores"], place, contrast).tolist()
    with_zero(axes, numbers)


def _handles(rows: Rows, band: Range | None, settings: FigureSettings) -> list[Artist]:
    release = settings.of_release
    names = (name for _, contrasts in rows for one in contrasts for name in (one.base, one.method))
    handles: list[Artist] = [*legend_points(by_loss(map(release.method, names)))]
    handles += significance_handles("black", release.level)
    handles.append(Line2D([], [], linestyle="", marker="|", color=GREY, markersize=5, label="one run"))
    if band:
        handles.append(Patch(color=BAND, label=f"published: +{band[0]:g} to +{band[1]:g}"))
    return handles
