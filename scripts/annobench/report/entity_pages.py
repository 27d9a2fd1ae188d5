"""A page for every method and for every class: scores, confusions, misplaced cells, cost."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pandas as pd

from annobench.config.controls import CONTROLS
from annobench.report.answer import EVALUATION
from annobench.report.html_tables import HtmlTable
from annobench.report.names import ALL, Names
from annobench.report.settings import MethodEntry

CONFUSIONS = 15  # pairs of classes on the page of a method, for every evaluation
_DISPUTED = 50  # cells on the page of a class
_OF_CELLS = ("cell_id", "label", "predicted_label", "confidence", "n_wrong", "n_fits", "study", "donor")
Tables = Mapping[str, pd.DataFrame]


@dataclass(frozen=True)
class Part:
    """A heading, a sentence, and a table."""

    heading: str
    text: str
    table: HtmlTable


@dataclass(frozen=True)
class EntityPage:
    """A page about one method or one class.

    Attributes
    ----------
    name
        Of its file, without .html.
    label
        Its headline.
    about
        What is said below it: title -> text.
    parts
        What it shows, only of what has rows.
    """

    name: str
    label: str
    about: Mapping[str, str]
    parts: list[Part] = field(default_factory=list)

    def add(self, heading: str, text: str, table: pd.DataFrame) -> None:
        """Add a table where it has rows."""
        if len(table):
            self.parts.append(Part(heading, text, HtmlTable.of("", table)))


def class_file(label_id: str) -> str:
    """Name of the page of a class, without .html: `CL_0000236`."""
    return "".join(one if one.isalnum() or one in "-._" else "_" for one in label_id)


def method_pages(methods: Sequence[MethodEntry], tables: Tables, names: Names) -> list[EntityPage]:
    """Pages of the methods that have a score, a failure or predictions; controls have none."""
    listed = {entry.method: entry for entry in methods if entry.method not in CONTROLS}
    ranked = tables["ranking"].loc[tables["ranking"]["kind"] == "decoding", "method"].unique()
    labels, pages = _labels(tables), []
    for name in (*listed, *(name for name in ranked if name not in listed)):
        page = EntityPage(name, names.method(name), _about(listed.get(name)))
        mine = {key: table[table["method"] == name] for key, table in tables.items() if "method" in table}
        _fill(page, mine, labels, names)
        if page.parts:
            pages.append(page)
    return pages


def _about(entry: MethodEntry | None) -> dict[str, str]:
    if entry is None:
        return {"Kind": "a decoding: another way to choose labels from the probabilities of a method"}
    return {"What it is": entry.summary, "Citation": entry.citation, "Licence": entry.licence}


def _fill(page: EntityPage, mine: Tables, labels: Mapping[str, str], names: Names) -> None:
    def add(heading: str, text: str, rows: pd.DataFrame, *columns: str) -> None:
        page.add(heading, text, names.shown(rows[[*columns]]))

    ranking, summary = mine["ranking"], mine["summary"]
    ranking = ranking[ranking["dataset"] != ALL]
    add(
        "Scores",
        "By evaluation: the primary metric with its interval, and the place among the methods.",
        ranking,
        *(*EVALUATION, "rank", "score", "low", "high", "interval_over", "against_best", "n_fits", "n_planned"),
        "verdict",
    )
    whole = summary[(summary["split"] == ALL) & (summary["dataset"] != ALL)]
    columns = ("metric", "value", "low", "high", "interval_over", "n_fits", "verdict")
    add("All metrics", "", whole, *EVALUATION, *columns)
    add(
        "Classes",
        "The classes that it finds worst come first.",
        mine["classes"].sort_values([*EVALUATION, "split", "f1"], kind="stable"),
        *(*EVALUATION, "split", "label", "f1", "precision", "recall", "cells", "n_fits"),
    )
    add(
        "Confusions",
        f"What it takes most cells for that are something else: at most {CONFUSIONS} pairs of an evaluation.",
        _confused(mine["confusion"], labels).groupby(EVALUATION, sort=False).head(CONFUSIONS),
        *(*EVALUATION, "split", "true class", "taken for", "cells", "share"),
    )
    add(
        "Misplaced cells",
        "Test cells that it gets wrong most often, and then with the highest confidence: the cells to look at first.",
        mine["misplaced"],
        *(*EVALUATION, *_OF_CELLS),
    )
    of_types = ("label", "cells", "share", "confidence", "n_fits")
    add("Types predicted without labels", "", mine["predicted_types"], *EVALUATION, *of_types)
    costs = ("fit_seconds", "predict_seconds", "peak_rss_mb", "trainable_parameters", "total_parameters", "model_bytes")
    add("Cost", "Means over the fits of an evaluation.", ranking, *EVALUATION, *costs, "n_fits")
    add("Fits without a result", "", mine["failed"], "dataset", "split", "seed", "status", "reason")


def class_pages(tables: Tables, names: Names) -> list[EntityPage]:
    """Pages of the classes that test cells have, by label."""
    labels = tables["classes"].drop_duplicates("label_id").sort_values("label", kind="stable")
    confusion = _confused(tables["confusion"], _labels(tables))
    confusion = confusion[~confusion["method"].isin(CONTROLS)]
    pages = []
    for row in labels.itertuples():
        page = EntityPage(class_file(row.label_id), row.label, {"Cell Ontology id": row.label_id})
        _fill_class(page, str(row.label_id), tables, confusion, names)
        if page.parts:
            pages.append(page)
    return pages


def _fill_class(page: EntityPage, label_id: str, tables: Tables, confusion: pd.DataFrame, names: Names) -> None:
    scores = tables["classes"]
    scores = scores[(scores["label_id"] == label_id) & ~scores["method"].isin(CONTROLS)]
    place = scores.groupby([*EVALUATION, "split"], sort=False).ngroup()
    ordered = scores.assign(place=place).sort_values(["place", "f1"], ascending=[True, False], kind="stable")
    page.add(
        "Who finds it",
        "Mean over the fits with test cells of the class; the best method of an evaluation first.",
        names.shown(ordered[[*EVALUATION, "split", "method", "f1", "precision", "recall", "cells", "n_fits"]]),
    )
    for heading, text, column, other in (
        ("What it is taken for", "Its own cells: share that methods call something else.", "true", "taken for"),
        ("What is taken for it", "Cells of other classes that methods call by its name.", "predicted", "true class"),
    ):
        part = confusion[confusion[column] == label_id]
        keys = [*EVALUATION, "split", other]
        means = part.groupby(keys, sort=False).agg(cells=("cells", "mean"), n_methods=("method", "nunique"))
        worst = part.sort_values("cells", ascending=False, kind="stable").drop_duplicates(keys).set_index(keys)
        joined = means.join(worst[["method", "share"]]).reset_index()
        joined = joined.sort_values(["dataset", "evaluation", "split", "cells"], ascending=[True, True, True, False])
        shown = joined[[*EVALUATION, "split", other, "cells", "n_methods", "method", "share"]]
        titles = {"cells": "cells, mean over methods", "n methods": "methods that do", "method": "most often"}
        titles["share"] = "its share of the true class"
        page.add(heading, text, names.shown(shown).rename(columns=titles))
    disputed = tables["disputed"]
    mine = disputed[disputed["label_id"] == label_id]
    more = f" The first {_DISPUTED} of {len(mine)}." if len(mine) > _DISPUTED else ""
    page.add(
        "Disputed cells",
        f"Cells of this label that all good methods call by the same other name, in all fits.{more}",
        names.shown(
            mine.head(_DISPUTED)[[*EVALUATION, "cell_id", "predicted_label", "n_methods", "n_fits", "study", "donor"]]
        ),
    )
    misplaced = tables["misplaced"]
    misplaced = misplaced[misplaced["label_id"] == label_id]
    page.add(
        "Misplaced cells",
        "Of the cells that a method misplaces worst, those of this class.",
        names.shown(misplaced[[*EVALUATION, "method", *(name for name in _OF_CELLS if name != "label")]]),
    )


def _labels(tables: Tables) -> dict[str, str]:
    """Names of labels that tables mention."""
    depths = tables["confusion_depths"]
    pairs = [(tables["classes"], "label_id", "label"), (tables["trees"], "label_id", "label")]
    pairs += [(depths, end, f"{end}_label") for end in ("true", "predicted")]
    return {one: name for table, key, label in pairs for one, name in zip(table[key], table[label], strict=True)}


def _confused(confusion: pd.DataFrame, labels: Mapping[str, str]) -> pd.DataFrame:
    """Wrong answers with their share of the cells of the true class, the most cells of an evaluation first."""
    keys = [*EVALUATION, "split", "method", "true"]
    totals = confusion.groupby(keys)["n"].transform("sum")
    # where the files of a split are gone the number of tests is all that is known
    cells = confusion["cells"].fillna(confusion["n"])
    named = confusion.assign(
        share=confusion["n"] / totals,
        cells=cells.astype(float).round(1),
        **{"true class": confusion["true"].map(lambda one: labels.get(one, one))},
        **{"taken for": confusion["predicted"].map(lambda one: labels.get(one, one))},
    )
    wrong = named[named["true"] != named["predicted"]]
    place = wrong.groupby(EVALUATION, sort=False).ngroup()
    order = {"by": ["place", "cells"], "ascending": [True, False]}
    return wrong.assign(place=place).sort_values(kind="stable", **order)
