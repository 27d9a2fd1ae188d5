"""What figures read off the tables: which methods and evaluations to show, in which order, and their titles."""

from collections.abc import Iterable, Mapping
from textwrap import wrap

import pandas as pd

from annobench.config.controls import CONTROLS
from annobench.figures.shared.settings import FigureSettings, Place
from annobench.figures.shared.style import COLOURS, Looks
from annobench.figures.shared.words import capitalised, spelled

NOT_EVIDENCE = "not evidence"
# blue and vermilion differ in lightness too; a symbol or a letter repeats the distinction
VERDICT_COLOURS = {"informative": "#BFDDF0", NOT_EVIDENCE: COLOURS[1], "undecided": "#F5D0A9", "untested": "#E6E6E6"}


def ordered_methods(ranking: pd.DataFrame, settings: FigureSettings) -> tuple[list[str], list[str]]:
    """Methods from best to worst mean score, and controls likewise."""
    mean = ranking[ranking["dataset"] != "all"].groupby("method")["score"].mean()
    mean = mean.sort_values(ascending=settings.metric(settings.primary).lower_is_better, kind="stable")
    kind = ranking.drop_duplicates("method").set_index("method")["kind"]
    methods = [m for m in mean.index if kind[m] == "method"]
    return methods, [m for m in mean.index if kind[m] == "control"]


def method_labels(ranking: pd.DataFrame) -> dict[str, str]:
    """What the methods and controls of the ranking are called."""
    labels: dict[str, str] = ranking.drop_duplicates("method").set_index("method")["label"].to_dict()
    return {name: label_of(name, labels) for name in labels}


def shown_order(
    names: Iterable[str], ranking: pd.DataFrame, settings: FigureSettings, place: Place | None = None
) -> tuple[list[str], list[str], dict[str, str]]:
    """Methods and controls of a table in the order in which a figure shows them.

    Parameters
    ----------
    names
        Methods and controls that the table has.
    ranking
        The ranking of the study.
    settings
        What the figure uses of the study.
    place
        The evaluation whose ranking counts; the mean over all where it is None.

    Returns
    -------
    methods, controls, labels
        Methods from best to worst, then those without a rank; controls, the truth first; the label of each.
    """
    present = list(dict.fromkeys(names))
    methods = ordered_methods(part_of(ranking, place) if place else ranking, settings)[0]
    ranked = [m for m in methods if m in present]
    others = [m for m in present if m not in ranked and m not in CONTROLS]
    known = method_labels(ranking)
    labels = {name: label_of(name, known) for name in present}
    return [*ranked, *others], [c for c in CONTROLS if c in present], labels


def label_of(name: str, labels: Mapping[str, str]) -> str:
    """What a control or a method is called in all figures."""
    return capitalised(CONTROLS[name].label) if name in CONTROLS else labels.get(name) or spelled(name)


def method_looks(ranking: pd.DataFrame, settings: FigureSettings, names: Iterable[str]) -> Looks:
    """Looks of methods, the same in all figures of a study."""
    ranked = ordered_methods(ranking, settings)[0]
    return Looks([*ranked, *(name for name in dict.fromkeys(names) if name not in ranked)], [])


def best_method(ranking: pd.DataFrame, place: Place, among: Iterable[str]) -> str | None:
    """The best-ranked method of an evaluation among some; the first of them where none is ranked."""
    names = list(dict.fromkeys(among))
    ranked = part_of(ranking, place).dropna(subset=["rank"]).sort_values("rank", kind="stable")
    return next((m for m in ranked["method"] if m in names), names[0] if names else None)


def evaluations_of(table: pd.DataFrame) -> list[Place]:
    """Dataset and name of every evaluation of a table, in its order."""
    return list(dict.fromkeys(zip(table["dataset"], table["evaluation"], strict=True)))


def chosen_evaluation(table: pd.DataFrame, settings: FigureSettings, column: str = "name") -> Place:
    """The evaluation to show where there is room for one: that of the published table, else that with most methods."""
    counts = table.groupby(["dataset", "evaluation"], sort=False)[column].nunique()
    if settings.published is not None and settings.published in counts.index:
        return settings.published
    dataset, evaluation = counts.idxmax()
    return str(dataset), str(evaluation)


def chosen_per_dataset(table: pd.DataFrame, settings: FigureSettings, column: str, most: int = 3) -> list[Place]:
    """One evaluation of each of the first datasets."""
    datasets = list(dict.fromkeys(table["dataset"]))[:most]
    return [chosen_evaluation(table[table["dataset"] == d], settings, column) for d in datasets]


def part_of(table: pd.DataFrame, place: Place) -> pd.DataFrame:
    """The rows of one evaluation."""
    return table[(table["dataset"] == place[0]) & (table["evaluation"] == place[1])]


def shown_apart(table: pd.DataFrame, place: Place, splits: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """The parts of an evaluation that a table does not add up, such as shares of the labels.

    Parameters
    ----------
    table
        A table with the column `split`: `all` for all splits together.
    place
        The evaluation.
    splits
        The table of this name.

    Returns
    -------
    The label of every part, empty for `all`, and its rows; in the order of the splits.
    """
    part = part_of(table, place)
    known = part_of(splits, place).drop_duplicates("split").set_index("split")["label"].fillna("").to_dict()
    names = set(part["split"])
    order = [*(name for name in known if name in names), *sorted(names - known.keys())]
    return [("" if name == "all" else known.get(name) or name, part[part["split"] == name]) for name in order]


def last_part(table: pd.DataFrame, splits: pd.DataFrame) -> tuple[pd.DataFrame, dict[Place, str]]:
    """Of evaluations whose parts are apart (`shown_apart`) the last one, such as the largest share of the labels.

    Returns
    -------
    Their rows, and what the title of every evaluation ends with: the part.
    """
    kept, endings = [table.iloc[:0]], {}
    for place in evaluations_of(table):
        label, part = shown_apart(table, place, splits)[-1]
        kept.append(part)
        endings[place] = f", {label}" if label else ""
    return pd.concat(kept), endings


def place_title(place: Place, settings: FigureSettings) -> str:
    """The dataset in full and the evaluation, on one line."""
    return f"{settings.dataset_label(place[0])}: {settings.evaluation_label(place)}"


def evaluation_title(place: Place, settings: FigureSettings) -> str:
    """The dataset in short and the evaluation, on two lines."""
    name = "All evaluations" if place[0] == "all" else short_dataset(place[0], settings)
    return f"{name}\n{settings.evaluation_label(place)}"


def short_dataset(dataset: str, settings: FigureSettings) -> str:
    """The label of a dataset, cut at its first comma where no other dataset would be called the same."""
    label = settings.dataset_label(dataset)
    short = label.split(",")[0]
    alike = [one for one in settings.datasets.values() if one.split(",")[0] == short]
    return short if len(alike) <= 1 else label


def primary_axis(part: pd.DataFrame, settings: FigureSettings) -> str:
    """The primary metric as the label of an axis, marked where the audit calls it not evidence."""
    doubted = len(part) > 0 and (part["verdict"] == NOT_EVIDENCE).all()
    return settings.metric(settings.primary).label + (f" ({NOT_EVIDENCE})" if doubted else "")


def doubts(audit: pd.DataFrame, metric: str) -> str:
    """In how many evaluations (times rules, where it has some) a metric is not evidence; empty for none."""
    rows = audit[(audit["metric"] == metric) & audit["variant"].isin(["-", "truth"])]
    rows = rows[rows["rule"] != "-"] if (rows["rule"] != "-").any() else rows
    verdicts = rows.loc[rows["verdict"].isin(["informative", "undecided", NOT_EVIDENCE]), "verdict"]
    doubted = int((verdicts == NOT_EVIDENCE).sum())
    return f"† {NOT_EVIDENCE} in {doubted} of {len(verdicts)}" if doubted else ""


def interval_words(table: pd.DataFrame, settings: FigureSettings) -> str:
    """What the intervals of a table are: their level, and what they resample where the table says so."""
    over = [*dict.fromkeys(table["interval_over"].dropna())] if "interval_over" in table else []
    return f"{settings.level * 100:g} % interval" + (f", bootstrap over {' / '.join(over)}" if over else "")


def choice_words(shown: int, every: int, what: str) -> str:
    """How many of how many a figure shows, where that is not all."""
    return f"The {shown} best-ranked of {every} {what}" if shown < every else ""


def wrapped(text: str, width: int) -> str:
    """A text over several lines."""
    return "\n".join(wrap(text, width, break_long_words=False, break_on_hyphens=False))


def tree_order(tree: pd.DataFrame) -> list[str]:
    """Ids of a tree from top to bottom: parents before children, children by name."""
    children = {
        parent: part.sort_values("label")["label_id"].tolist()
        for parent, part in tree.fillna({"parent": ""}).groupby("parent")
    }
    order: list[str] = []

    def visit(node: str) -> None:
        order.append(node)
        for child in children.get(node, []):
            visit(child)

    for root in children.get("", []):
        visit(root)
    return order
