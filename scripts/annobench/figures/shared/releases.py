"""What the figures of the regime `release` share: where they look, how losses look and what contrasts are called."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from annobench.config.contrasts import Contrast
from annobench.figures.shared.labels import part_of
from annobench.figures.shared.points import point_intervals
from annobench.figures.shared.settings import FigureSettings, Place, ReleaseMethod, ReleaseSettings
from annobench.figures.shared.style import COLOURS, DARK, GREY, MARKERS, PointLook
from annobench.figures.shared.words import DECODING_LABELS, PART_LABELS

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SCORE = "ontology_macro_f1"
SCORE_NAME = "macro F1, descendant rule"
BAND = "#E3E3E3"  # of published ranges


# views


def places(settings: FigureSettings, part: str, table: pd.DataFrame | None = None) -> list[Place]:
    """Dataset and evaluation of the views of one part (`id`, `ood`), in the order of the study; of those in a table."""
    wanted = [(view.dataset, view.evaluation) for view in settings.of_release.views if view.part == part]
    present = None if table is None else set(zip(table["dataset"], table[_evaluation_column(table)], strict=True))
    return [place for place in wanted if present is None or place in present]


def _evaluation_column(table: pd.DataFrame) -> str:
    """Scores name the split, which in this regime has the name of its evaluation."""
    return "evaluation" if "evaluation" in table else "split"


def sibling(place: Place, part: str) -> Place:
    """The view of the same fits on another part of the cells."""
    return (place[0], f"{_stem(place)}_{part}")


def _stem(place: Place) -> str:
    return place[1].removesuffix("_id").removesuffix("_ood")


def of_place(table: pd.DataFrame, place: Place) -> pd.DataFrame:
    """The rows of one view."""
    return table[(table["dataset"] == place[0]) & (table[_evaluation_column(table)] == place[1])]


def fitted_of(table: pd.DataFrame, place: Place) -> pd.DataFrame:
    """The rows of `nodes` or `edges` of the fits behind a view."""
    part = table[table["dataset"] == place[0]]
    mine = part[part["split"] == _stem(place)]
    return mine if len(mine) else part[part["split"] == place[1]]


def published_for(published: pd.DataFrame, place: Place, settings: FigureSettings) -> pd.DataFrame:
    """Published values to draw beside a dataset: none beside simulated cells."""
    return published.head(0) if place[0] in settings.of_release.simulated else published


def subtitle(place: Place, settings: FigureSettings, part: str = "") -> str:
    """The dataset, which part of it, and whether the published values are of other data."""
    where = f", {PART_LABELS[part].lower()}" if part else ""
    known = settings.of_release.published_datasets
    other = " \N{EN DASH} not the data of the paper" if known and place[0] not in known else ""
    return f"{settings.dataset_label(place[0])}{where}{other}"


def run_values(
    scores: pd.DataFrame, place: Place, metric: str, label_set: str, methods: Iterable[str] | None = None
) -> pd.DataFrame:
    """Overall values of single runs: method, seed, value; without those that are missing."""
    part = of_place(scores, place)
    part = part[(part["metric"] == metric) & (part["label_set"] == label_set) & (part["level"] == "overall")]
    part = part[part["value"].notna()]
    return part if methods is None else part[part["method"].isin(list(methods))]


# methods


def trained(settings: FigureSettings, table: pd.DataFrame) -> list[ReleaseMethod]:
    """Methods of a table (no controls, no other decodings), model by model, each in the order of losses."""
    present = set(table["method"])
    methods = [one for one in settings.of_release.methods if one.name in present and one.kind == "method"]
    models = list(dict.fromkeys(one.model_label for one in methods))
    return sorted(methods, key=lambda one: (models.index(one.model_label), one.loss_order))


def loss_look(method: ReleaseMethod) -> PointLook:
    """Colour and marker of the loss of a method; grey for a method without one."""
    if not method.loss:
        return {"color": GREY, "marker": MARKERS[-1]}
    return {
        "color": COLOURS[method.loss_order % len(COLOURS)],
        "marker": MARKERS[method.loss_order % len(MARKERS)],
    }


def loss_label(method: ReleaseMethod) -> str:
    """What the loss of a method is called; the label of a method without one."""
    return method.loss_label or method.label


def by_loss(methods: Iterable[ReleaseMethod]) -> list[ReleaseMethod]:
    """One method for every loss, in the order of losses, for legends."""
    one_each = {method.loss: method for method in methods}
    return sorted(one_each.values(), key=lambda method: method.loss_order)


# contrasts


def contrast_label(contrast: Contrast, release: ReleaseSettings) -> str:
    """`MLP: HCE - CE`, with a true minus."""
    base, method = release.method(contrast.base), release.method(contrast.method)
    if not base.loss or not method.loss:
        return f"{method.label} \N{MINUS SIGN} {base.label}"
    first, second = _loss_and_decoding(method), _loss_and_decoding(base)
    if base.model_label == method.model_label:
        return f"{method.model_label}: {first} \N{MINUS SIGN} {second}"
    return f"{method.model_label} {first} \N{MINUS SIGN} {base.model_label} {second}"


def _loss_and_decoding(method: ReleaseMethod) -> str:
    decoding = method.decoding
    return loss_label(method) + ("" if decoding == "argmax" else f" ({DECODING_LABELS.get(decoding, decoding)})")


def contrasts_of(table: pd.DataFrame, release: ReleaseSettings) -> list[Contrast]:
    """All contrasts of a table, in the order of the study."""
    rows = table.drop_duplicates("contrast").set_index("contrast")
    ordered = [one.name for one in release.contrasts if one.name in rows.index]
    names = [*ordered, *(name for name in rows.index if name not in ordered)]
    return [Contrast(name, rows.loc[name, "base"], rows.loc[name, "method"]) for name in names]


def main_contrasts(table: pd.DataFrame, release: ReleaseSettings, most: int = 4) -> list[Contrast]:
    """Contrasts of the published hierarchical loss with cross-entropy, one per model; all where there are none."""
    every = contrasts_of(table, release)
    main = [one for one in every if _is_main(release.method(one.base), release.method(one.method))]
    return (main or every)[:most]


def _is_main(base: ReleaseMethod, method: ReleaseMethod) -> bool:
    return (base.loss, method.loss) == ("ce", "hce") and base.decoding == method.decoding == "argmax"


def primary_contrast(contrasts: Sequence[Contrast], release: ReleaseSettings) -> Contrast:
    """That of the MLP, the model of the paper; else the first."""
    mlps = [one for one in contrasts if release.method(one.method).model == "mlp"]
    return (mlps or list(contrasts))[0]


def differences(contrasts: pd.DataFrame, place: Place, level: str | Sequence[str], metric: str = "") -> pd.DataFrame:
    """Rows of some levels in one evaluation, under the descendant rule unless a metric is named; without empty ones."""
    part = part_of(contrasts, place)
    part = part[part["level"].isin([level] if isinstance(level, str) else list(level))]
    part = part[part["metric"].isin([metric] if metric else ["ontology_f1", SCORE])]
    return part[part["label_set"].isin(["truth", "-"]) & part["difference"].notna()]


@dataclass(frozen=True)
class Block:
    """What a figure shows of one dataset: its place, the differences there, and the contrasts that have a panel."""

    place: Place
    differences: pd.DataFrame
    contrasts: list[Contrast]

    def of(self, contrast: Contrast) -> pd.DataFrame:
        """The differences of one contrast."""
        return self.differences[self.differences["contrast"] == contrast.name]

    @property
    def shown(self) -> pd.DataFrame:
        """The differences of all contrasts that have a panel."""
        return self.differences[self.differences["contrast"].isin([one.name for one in self.contrasts])]


def numbers_of(part: pd.DataFrame) -> "NDArray[np.float64]":
    """All differences and ends of intervals."""
    numbers: NDArray[np.float64] = part[["low", "high", "difference"]].to_numpy(dtype=float).ravel()
    return numbers


def blocks_of(
    contrasts: pd.DataFrame, settings: FigureSettings, level: str | Sequence[str], metric: str = ""
) -> list[Block]:
    """A block for every dataset with differences of some levels out of distribution."""
    parts = ((place, differences(contrasts, place, level, metric)) for place in places(settings, "ood", contrasts))
    return [Block(place, part, main_contrasts(part, settings.of_release)) for place, part in parts if len(part)]


# drawing


def significant(part: pd.DataFrame, settings: FigureSettings) -> "NDArray[np.bool_]":
    """Which rows are significant after Holm's correction."""
    sure: NDArray[np.bool_] = (part["p_holm"] < 1 - settings.of_release.level).fillna(False).to_numpy(dtype=bool)
    return sure


def forest(
    axes: Axes, part: pd.DataFrame, heights: Sequence[float], settings: FigureSettings, colour: str, *, size: float = 5
) -> None:
    """Differences with their intervals, a row each: filled where significant after Holm, open where not."""
    sure = significant(part, settings)
    part = part.assign(y=list(heights))
    for filled, face in ((True, colour), (False, "white")):
        point_intervals(
            axes, part[sure == filled], x="difference", y="y", color=colour, markerfacecolor=face, size=size, width=1
        )


def zero_line(axes: Axes, *, vertical: bool = True) -> None:
    """The line on which neither of two methods is better."""
    (axes.axvline if vertical else axes.axhline)(0, color=DARK, linewidth=0.8, zorder=1)


def with_zero(axes: Axes, values: Iterable[float], least: float = 0.02) -> None:
    """Set limits that hold all values and zero, with a little room."""
    numbers = [float(v) for v in values if pd.notna(v)]
    low, high = min([0.0, *numbers]), max([0.0, *numbers])
    room = max(0.06 * (high - low), least / 2)
    axes.set_xlim(low - room, high + room)


def legend_points(methods: Iterable[ReleaseMethod]) -> list[Line2D]:
    """Legend entries of the losses of some methods."""
    return [
        Line2D([], [], linestyle="", markersize=5, label=loss_label(method), **loss_look(method)) for method in methods
    ]


def significance_handles(colour: str, level: float) -> list[Line2D]:
    """Legend entries of filled and open dots."""
    significance = f"{1 - level:.2g}"
    return [
        Line2D(
            [], [], linestyle="", marker="o", color=colour, markersize=5,
            label=f"significant over runs (Holm, {significance})",
        ),
        Line2D(
            [], [], linestyle="", marker="o", color=colour, markersize=5, markerfacecolor="white",
            label="not significant",
        ),
    ]  # fmt: skip
