"""What several figures share: which evaluations to show, names of controls and rules, marks of verdicts, notes."""

from collections.abc import Iterable, Mapping, Sequence
from textwrap import wrap
from typing import Any

import pandas as pd
from matplotlib.axes import Axes

from annobench.figures.shared.style import GREY, Looks, evaluation_name, metric_name, ordered_methods

NOT_EVIDENCE = "not evidence"
CONTROL_NAMES = {
    "oracle": "truth",
    "marker_argmax": "highest markers",
    "merged": "merged truth",
    "unrelated_tissue": "unrelated tissue",
    "majority": "majority",
    "random_stratified": "random",
    "shuffled": "shuffled truth",
    "noise": "noise",
}
LOWER_IS_BETTER = ("marker_cv", "contamination", "aurc", "ece")
RULE_NAMES = {"raw": "raw", "softmax": "softmax", "zscore": "z-score", "calibrated": "calibrated"}
# blue and vermilion differ in lightness too; a symbol or a letter repeats the distinction
VERDICT_COLOURS = {"informative": "#BFDDF0", NOT_EVIDENCE: "#D55E00", "untested": "#E6E6E6"}
_WORDS = {
    "f1": "F1",
    "mcc": "MCC",
    "ece": "ECE",
    "aurc": "AURC",
    "auroc": "AUROC",
    "cv": "CV",
    "deg": "DEG",
    "log2fc": "log2 fold change",
    "brier": "Brier",
    "ovr": "one v. rest",
    "topk": "top k",
}


def words(name: str) -> str:
    """The name of a metric, factor or level as words."""
    return " ".join(_WORDS.get(word, word) for word in name.split("_"))


def name_of(name: str, labels: Mapping[str, str]) -> str:
    """What a method or control is called in a figure."""
    return labels.get(name) or CONTROL_NAMES.get(name, words(name))


def shown_order(
    names: Iterable[str], ranking: pd.DataFrame, place: Sequence[str] | None = None
) -> tuple[list[str], list[str], dict[str, str]]:
    """Methods from best to worst (in one evaluation), then those without a rank; controls, the truth first; labels."""
    present = list(dict.fromkeys(names))
    labels = ordered_methods(ranking)[2]
    methods = ordered_methods(part_of(ranking, place) if place else ranking)[0]
    known = [m for m in methods if m in present]
    others = [m for m in present if m not in known and m not in CONTROL_NAMES]
    labels = {name: name_of(name, {} if name in CONTROL_NAMES else labels) for name in present}
    return [*known, *others], [c for c in CONTROL_NAMES if c in present], labels


def method_looks(ranking: pd.DataFrame, names: Iterable[str]) -> Looks:
    """Looks of methods, the same in all figures of a study."""
    ranked = ordered_methods(ranking)[0]
    return Looks([*ranked, *(name for name in dict.fromkeys(names) if name not in ranked)], [])


def chosen_evaluation(table: pd.DataFrame, settings: Mapping[str, Any], column: str = "name") -> tuple[str, str]:
    """The evaluation to show where there is room for one: that of the published table, else that with most methods."""
    published = settings.get("published") or {}
    wanted = (published.get("dataset"), published.get("evaluation"))
    counts = table.groupby(["dataset", "evaluation"], sort=False)[column].nunique()
    if wanted in counts.index:
        return str(wanted[0]), str(wanted[1])
    dataset, evaluation = counts.idxmax()
    return str(dataset), str(evaluation)


def chosen_per_dataset(
    table: pd.DataFrame, settings: Mapping[str, Any], column: str, most: int = 3
) -> list[tuple[str, str]]:
    """One evaluation of each of the first datasets."""
    datasets = list(dict.fromkeys(table["dataset"]))[:most]
    return [chosen_evaluation(table[table["dataset"] == d], settings, column) for d in datasets]


def part_of(table: pd.DataFrame, place: Sequence[str]) -> pd.DataFrame:
    """The rows of one evaluation."""
    return table[(table["dataset"] == place[0]) & (table["evaluation"] == place[1])]


def doubts(audit: pd.DataFrame, metric: str) -> str:
    """In how many evaluations (times rules, where it has some) the audit calls a metric no evidence; empty for none."""
    said = audit[(audit["metric"] == metric) & audit["variant"].isin(["-", "truth"])]
    said = said[said["rule"] != "-"] if (said["rule"] != "-").any() else said
    judged = said[said["verdict"].isin(["informative", NOT_EVIDENCE])]
    bad = int((judged["verdict"] == NOT_EVIDENCE).sum())
    return f"† {NOT_EVIDENCE} in {bad} of {len(judged)}" if bad else ""


def place_title(place: Sequence[str], settings: Mapping[str, Any]) -> str:
    """The dataset in full and the evaluation, on one line."""
    return f"{settings['datasets'].get(place[0], place[0])}: {evaluation_name(place[0], place[1], settings)}"


def wrapped(text: str, width: int) -> str:
    """A text over several lines."""
    return "\n".join(wrap(text, width, break_long_words=False, break_on_hyphens=False))


def best_method(ranking: pd.DataFrame, place: Sequence[str], among: Iterable[str]) -> str | None:
    """The best-ranked method of an evaluation among those that a table has; the first one where none is ranked."""
    names = list(dict.fromkeys(among))
    ranked = part_of(ranking, place).dropna(subset=["rank"]).sort_values("rank", kind="stable")
    return next((m for m in ranked["method"] if m in names), names[0] if names else None)


def primary_axis(part: pd.DataFrame, settings: Mapping[str, Any]) -> str:
    """The primary metric as the label of an axis, marked where the audit says that it is no evidence."""
    mark = len(part) > 0 and (part["verdict"] == NOT_EVIDENCE).all()
    return metric_name(settings) + (f" ({NOT_EVIDENCE})" if mark else "")


def direction(axes: Axes, higher: bool) -> None:
    """Say above a panel which way is better."""
    axes.annotate(
        "better →" if higher else "← better",
        (1.0 if higher else 0.0, 1.0),
        xytext=(0, 3),
        xycoords="axes fraction",
        textcoords="offset points",
        ha="right" if higher else "left",
        va="bottom",
        fontsize=7,
        color=GREY,
    )


def clean_axes(axes: Any) -> None:
    """An axis without spines and ticks, for heat maps and tables."""
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
