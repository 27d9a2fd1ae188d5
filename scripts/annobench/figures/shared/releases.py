"""What the figures of the regime `release` share: where they look, how losses look and what contrasts are called.

`settings["release"]` has views (`dataset/evaluation` -> `id` or `ood`), methods (name -> label, kind, model, loss,
decoding and fitted), contrasts (name, base and method), confidence, published_datasets (which published values are of)
and simulated (datasets without a real cell).
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from annobench.figures.shared.labels import part_of, words
from annobench.figures.shared.style import COLOURS, GREY, LIGHT

Place = tuple[str, str]
LOSSES = {"ce": "CE", "hce": "HCE", "hce_logsumexp": "HCE, log-sum-exp", "label_updating": "label updating"}
LOSS_COLOURS = {"ce": COLOURS[0], "hce": COLOURS[1], "hce_logsumexp": COLOURS[2], "label_updating": COLOURS[3]}
LOSS_MARKERS = {"ce": "o", "hce": "s", "hce_logsumexp": "^", "label_updating": "D"}
MODELS = {"linear": "Linear", "mlp": "MLP", "tabnet": "TabNet"}
DECODINGS = {"argmax": "argmax", "leaf": "leaf", "top_down": "top-down"}
PARTS = {"id": "In distribution", "ood": "Out of distribution"}
SCORE = "ontology_macro_f1"
SCORE_NAME = "macro F1, descendant rule"
DIVERGING = "RdBu_r"  # as the losses: blue where cross-entropy is better, red where the hierarchical one is
NODE_CLASSES = {
    "internal": "internal",
    "leaf_connected": "connected leaf",
    "leaf_isolated": "isolated leaf",
    "leaf": "all leaves",
}


def places(settings: Mapping[str, Any], part: str, table: pd.DataFrame | None = None) -> list[Place]:
    """Dataset and evaluation of all views of one part (`id`, `ood`), in the order of the study; of those in a table."""
    found = [tuple(key.split("/", 1)) for key, value in settings["release"]["views"].items() if value == part]
    known = None if table is None else set(zip(table["dataset"], table[evaluation_column(table)], strict=True))
    return [(d, e) for d, e in found if known is None or (d, e) in known]


def evaluation_column(table: pd.DataFrame) -> str:
    """Scores name the split, which in this regime is called as its evaluation is."""
    return "evaluation" if "evaluation" in table else "split"


def sibling(settings: Mapping[str, Any], place: Place, part: str) -> Place:
    """The other view of the same fits."""
    ends = {"id": "_id", "ood": "_ood"}
    stem = place[1].removesuffix("_id").removesuffix("_ood")
    return (place[0], stem + ends[part])


def of_place(table: pd.DataFrame, place: Place) -> pd.DataFrame:
    """The rows of one evaluation."""
    return table[(table["dataset"] == place[0]) & (table[evaluation_column(table)] == place[1])]


def described(settings: Mapping[str, Any], method: str) -> dict[str, str]:
    """label, kind, model, loss and decoding of a method; of one that the study does not know, its name."""
    unknown = {"label": words(method), "kind": "method", "model": method, "loss": "", "decoding": "argmax"}
    return unknown | {k: v for k, v in settings["release"]["methods"].get(method, {}).items() if v is not None}


def model_name(settings: Mapping[str, Any], method: str) -> str:
    """Linear, MLP, TabNet; of any other method its label."""
    about = described(settings, method)
    return MODELS.get(about["model"], about["label"]) if about["loss"] else about["label"]


def run_values(
    scores: pd.DataFrame, place: Place, metric: str, label_set: str, methods: Iterable[str] | None = None
) -> pd.DataFrame:
    """Overall values of single runs: method, seed, value; without those that are missing."""
    part = of_place(scores, place)
    part = part[(part["metric"] == metric) & (part["label_set"] == label_set) & (part["level"] == "overall")]
    part = part[part["value"].notna()]
    return part if methods is None else part[part["method"].isin(list(methods))]


def trained(settings: Mapping[str, Any], table: pd.DataFrame) -> list[str]:
    """Plain methods (no control, no other decoding) of a table, model by model, in the order of the study."""
    present = set(table["method"])
    names = [m for m, a in settings["release"]["methods"].items() if m in present and a["kind"] == "method"]
    models = list(dict.fromkeys(model_name(settings, name) for name in names))
    losses = list(LOSSES)

    def key(name: str) -> tuple[int, int]:
        loss = described(settings, name)["loss"]
        return models.index(model_name(settings, name)), losses.index(loss) if loss in losses else len(losses)

    return sorted(names, key=key)


def colour_of(settings: Mapping[str, Any], method: str) -> str:
    """The colour of the loss of a method; grey for a method that has none."""
    return LOSS_COLOURS.get(described(settings, method)["loss"], GREY)


def marker_of(settings: Mapping[str, Any], method: str) -> str:
    """The marker of the loss of a method."""
    return LOSS_MARKERS.get(described(settings, method)["loss"], "X")


def loss_name(settings: Mapping[str, Any], method: str) -> str:
    """What the loss of a method is called; its label where it has none."""
    about = described(settings, method)
    return LOSSES.get(about["loss"], words(about["loss"])) if about["loss"] else about["label"]


def contrast_name(settings: Mapping[str, Any], base: str, method: str) -> str:
    """`MLP: HCE - CE`, with a true minus."""
    one, two = described(settings, base), described(settings, method)

    def said(name: str, about: Mapping[str, str]) -> str:
        decoding = about["decoding"]
        return loss_name(settings, name) + ("" if decoding == "argmax" else f" ({DECODINGS.get(decoding, decoding)})")

    if not one["loss"] or not two["loss"]:
        return f"{two['label']} \N{MINUS SIGN} {one['label']}"
    difference = f"{said(method, two)} \N{MINUS SIGN} {said(base, one)}"
    if model_name(settings, base) == model_name(settings, method):
        return f"{model_name(settings, method)}: {difference}"
    first = f"{model_name(settings, method)} {said(method, two)}"
    return f"{first} \N{MINUS SIGN} {model_name(settings, base)} {said(base, one)}"


def contrasts_of(table: pd.DataFrame, settings: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Name, base and method of all contrasts in a table, in the order of the study."""
    rows = table.drop_duplicates("contrast").set_index("contrast")
    known = [c["name"] for c in settings["release"]["contrasts"] if c["name"] in rows.index]
    names = [*known, *(name for name in rows.index if name not in known)]
    return [(name, rows.loc[name, "base"], rows.loc[name, "method"]) for name in names]


def main_contrasts(table: pd.DataFrame, settings: Mapping[str, Any], most: int = 4) -> list[tuple[str, str, str]]:
    """Those of the published hierarchical loss against cross-entropy, one per model; all where there are none."""
    every = contrasts_of(table, settings)
    main = []
    for name, base, method in every:
        one, two = described(settings, base), described(settings, method)
        if (one["loss"], two["loss"]) == ("ce", "hce") and one["decoding"] == two["decoding"] == "argmax":
            main.append((name, base, method))
    return (main or every)[:most]


def primary_contrast(named: Sequence[tuple[str, str, str]], settings: Mapping[str, Any]) -> tuple[str, str, str]:
    """That of the MLP, as the paper has it; else the first."""
    mlps = [one for one in named if described(settings, one[2])["model"] == "mlp"]
    return (mlps or list(named))[0]


def differences(contrasts: pd.DataFrame, place: Place, level: str | Sequence[str], metric: str = "") -> pd.DataFrame:
    """Rows of some levels in one evaluation, under the descendant rule unless a metric is named; without empty ones."""
    part = part_of(contrasts, place)
    part = part[part["level"].isin([level] if isinstance(level, str) else list(level))]
    part = part[part["metric"].isin([metric] if metric else ["ontology_f1", SCORE])]
    return part[part["label_set"].isin(["truth", "-"]) & part["difference"].notna()]


def rows_of(
    contrasts: pd.DataFrame, settings: Mapping[str, Any], level: str | Sequence[str], metric: str = ""
) -> list[tuple[Place, pd.DataFrame, list[tuple[str, str, str]]]]:
    """Datasets with differences of some levels out of distribution: place, differences, main contrasts."""
    found = [(place, differences(contrasts, place, level, metric)) for place in places(settings, "ood", contrasts)]
    return [(place, part, main_contrasts(part, settings)) for place, part in found if len(part)]


def significant(part: pd.DataFrame, settings: Mapping[str, Any]) -> Any:
    """Which rows are so after Holm's correction."""
    return (part["p_holm"] < 1 - settings["release"]["confidence"]).fillna(False).to_numpy(dtype=bool)


def fitted_of(table: pd.DataFrame, place: Place) -> pd.DataFrame:
    """The rows of `nodes` or `edges` of the fits behind a view."""
    part = table[table["dataset"] == place[0]]
    mine = part[part["split"] == place[1].removesuffix("_id").removesuffix("_ood")]
    return mine if len(mine) else part[part["split"] == place[1]]


def published_for(published: pd.DataFrame, place: Place, settings: Mapping[str, Any]) -> pd.DataFrame:
    """Published values to draw beside a dataset: none beside simulated cells, which stand for no real ones."""
    return published.head(0) if place[0] in settings["release"]["simulated"] else published


def subtitle(place: Place, settings: Mapping[str, Any], part: str = "") -> str:
    """The dataset, which part of it, and whether the published numbers are of the same data."""
    name = str(settings["datasets"].get(place[0], place[0]))
    where = f", {PARTS[part].lower()}" if part else ""
    known = settings["release"]["published_datasets"]
    other = known and place[0] not in known
    return f"{name}{where}" + (" \N{EN DASH} not the data of the paper" if other else "")


def forest(
    axes: Axes, part: pd.DataFrame, heights: Sequence[float], settings: Mapping[str, Any], colour: str, size: float = 5
) -> None:
    """Differences with their intervals, a row each: filled where significant after Holm, open where not."""
    for row, y, sure in zip(part.itertuples(), heights, significant(part, settings), strict=True):
        axes.plot([row.low, row.high], [y, y], color=colour, linewidth=1, solid_capstyle="butt", zorder=2)
        axes.plot(
            row.difference, y, "o", color=colour, markerfacecolor=colour if sure else "white", markersize=size, zorder=3
        )


def zero_line(axes: Axes, vertical: bool = True) -> None:
    """Where neither is better."""
    (axes.axvline if vertical else axes.axhline)(0, color="#444444", linewidth=0.8, zorder=1)


def light_rows(axes: Axes, heights: Iterable[float]) -> None:
    """A hair line under every row, and no frame at the left."""
    for y in heights:
        axes.axhline(y, color=LIGHT, linewidth=0.4, zorder=0)
    axes.spines["left"].set_visible(False)
    axes.tick_params(axis="y", length=0)


def with_zero(axes: Axes, values: Iterable[float], least: float = 0.02) -> None:
    """Limits that hold all values and zero, with a little room."""
    numbers = [float(v) for v in values if pd.notna(v)]
    low, high = min([0.0, *numbers]), max([0.0, *numbers])
    room = max(0.06 * (high - low), least / 2)
    axes.set_xlim(low - room, high + room)


def significance_handles(colour: str, confidence: float) -> list[Line2D]:
    """Legend entries of filled and open dots."""
    alpha = f"{1 - confidence:.2g}"
    look: dict[str, Any] = {"linestyle": "", "marker": "o", "color": colour, "markersize": 5}
    return [
        Line2D([], [], label=f"significant over runs (Holm, {alpha})", **look),
        Line2D([], [], label="not significant", markerfacecolor="white", **look),
    ]
