"""Classes beside the published values

F1 (descendant rule) of every class in distribution under cross-entropy, the mean over our runs, against the published
value of the same model, which was read off a bar chart (± 0.005) of one run. On the line both are equal. The classes
furthest from it are numbered, and named below. r: Pearson's correlation; difference: the mean of ours minus theirs.
The published values are from the Census of May 2023: where the line above names other data, the same class means
other cells there, and only the order of the classes can be compared.
"""

import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke

from annobench.figures.shared.labels import wrapped
from annobench.figures.shared.releases import loss_look, of_place, places, published_for, subtitle, trained
from annobench.figures.shared.settings import FigureSettings, Place, ReleaseMethod
from annobench.figures.shared.short_names import short_names
from annobench.figures.shared.style import GREY, LIGHT, Tables, headline, new_figure

TABLES = ("scores", "published_values", "nodes")
REGIMES = ("release",)
NEEDS = ("published_values",)
ORDER = 260
_NAMED = 6
_SIDES = ((1, 0), (-1, 0), (0, 1), (0, -1), (0.8, 0.8), (-0.8, 0.8))


def draw(tables: Tables, settings: FigureSettings) -> Figure | None:
    """A panel per model that has published values; datasets below each other."""
    scores, published = tables["scores"], tables["published_values"]
    published = published[
        (published["level"] == "class") & (published["metric"] == "ontology_f1") & (published["set"] == "id")
    ]
    labels = tables["nodes"].drop_duplicates("label_id").set_index("label_id")["label"].astype(str)
    rows: list[tuple[Place, list[tuple[ReleaseMethod, pd.DataFrame]]]] = []
    for place in places(settings, "id", scores):
        here, there = of_place(scores, place), published_for(published, place, settings)
        baselines = [method for method in trained(settings, here) if method.loss in ("ce", None)]
        panels = [(method, both) for method in baselines if len(both := _paired(here, there, method))]
        if panels:
            rows.append((place, panels))
    if not rows:
        return None
    widest = max(len(panels) for _, panels in rows)
    figure = new_figure(max(3.5 * widest, 6.0), 5.0 * len(rows))
    parts = figure.subfigures(len(rows), 1, squeeze=False)[:, 0]
    for page, (place, panels) in zip(parts, rows, strict=True):
        headline(page, wrapped(subtitle(place, settings, "id"), 38 * max(widest, 2)))
        grid = page.subplots(1, widest, sharex=True, sharey=True, squeeze=False)[0]
        for axes in grid[len(panels) :]:
            axes.set_visible(False)
        for axes, (method, both) in zip(grid, panels, strict=False):
            _panel(axes, both, labels, loss_look(method)["color"])
            axes.set_title(method.model_label, fontsize=9, pad=14)
        grid[0].set_ylabel("F1 here")
    return figure


def _paired(scores: pd.DataFrame, published: pd.DataFrame, method: ReleaseMethod) -> pd.DataFrame:
    """Columns here and published, a row per class that both have; empty for a model that the paper does not have."""
    theirs = published[published["model"] == method.model]
    of_classes = scores[(scores["metric"] == "ontology_f1") & (scores["level"] == "class")]
    here = of_classes[of_classes["method"] == method.name].groupby("group")["value"].mean().rename("here")
    return theirs.groupby("group")["value"].mean().rename("published").to_frame().join(here, how="inner").dropna()


def _panel(axes: Axes, both: pd.DataFrame, labels: pd.Series, colour: str) -> None:
    axes.plot([0, 1], [0, 1], color=GREY, linewidth=0.8, zorder=1)
    sns.scatterplot(both, x="published", y="here", s=14, color=colour, alpha=0.75, linewidth=0, zorder=2, ax=axes)
    axes.set_ylabel("")
    axes.set_xlim(-0.03, 1.03)
    axes.set_ylim(-0.03, 1.03)
    axes.set_box_aspect(1)
    axes.grid(True, color=LIGHT, linewidth=0.4)
    axes.set_axisbelow(True)
    axes.set_xlabel("published F1")
    gap = both["here"] - both["published"]
    varied = len(both) > 2 and both["here"].std() > 0 and both["published"].std() > 0
    correlation = f"r = {both['here'].corr(both['published']):.2f}, " if varied else ""
    text = f"{correlation}difference {gap.mean():+z.3f}, {len(both)} classes".replace("-", "\N{MINUS SIGN}")
    axes.set_title(text, fontsize=7.5, loc="right", fontweight="normal", pad=2)
    far = gap.abs().sort_values(ascending=False, kind="stable").index[:_NAMED]
    _name(axes, both, list(far), short_names([labels.get(i, str(i)) for i in far]))


def _name(axes: Axes, both: pd.DataFrame, far: list[str], names: list[str]) -> None:
    """A number at every point, and below the panel what the numbers stand for."""
    taken = list(zip(both["published"], both["here"], strict=True))
    for i, row in enumerate(both.loc[far].itertuples(), 1):
        point = (row.published, row.here)
        rings = [(r * x, r * y) for r in (0.045, 0.09, 0.135, 0.18) for x, y in _SIDES]
        spots = [(point[0] + x, point[1] + y) for x, y in rings]
        spots = [spot for spot in spots if 0 < spot[0] < 1 and 0 < spot[1] < 1]
        free = [s for s in spots if all(abs(s[0] - x) > 0.03 or abs(s[1] - y) > 0.04 for x, y in taken)]
        spot = (free or spots)[0]
        taken.append(spot)
        axes.annotate(
            str(i), point, spot, fontsize=7, ha="center", va="center", zorder=4,
            arrowprops={"arrowstyle": "-", "color": GREY, "linewidth": 0.5, "shrinkA": 3, "shrinkB": 2},
            path_effects=[withStroke(linewidth=1.5, foreground="white")],
        )  # fmt: skip
    lines = [f"{i}  {name}" for i, name in enumerate(names, 1)]
    axes.text(0, -0.2, "\n".join(lines), transform=axes.transAxes, fontsize=7, va="top", linespacing=1.25)
