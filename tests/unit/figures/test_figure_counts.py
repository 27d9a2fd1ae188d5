"""Promises: figures count cells once, show shares of the labels apart, and mark classes that no training cell has.

By hand: B (3 cells, tested twice) is called A; A (4 cells, tested twice) is called A. B trains in no fit.
"""

import importlib

import pandas as pd
import pytest
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from matplotlib.text import Text

from annobench.config.figures import figure_facts
from annobench.figures.shared.settings import FigureSettings
from annobench.figures.shared.trained import NEVER, SOMETIMES, counted, marks_of

SETTINGS = FigureSettings("A title", "macro_f1", {}, {"d": "Data"}, {"d/few": "few labels", "d/kfold": "all labels"})
SHARES = {"low_0.01": "1 % of the labels", "low_0.1": "10 % of the labels"}


def tables(*, known: bool = True) -> dict[str, pd.DataFrame]:
    names = (
        "ranking",
        "confusion",
        "classes",
        "error_relations",
        "confusion_depths",
        "calibration",
        "splits",
        "probe_classes",
    )
    found: dict[str, list[dict[str, object]]] = {name: [] for name in names}
    for evaluation, splits in (("kfold", ["all"]), ("few", list(SHARES))):
        base = {"dataset": "d", "evaluation": evaluation, "regime": evaluation, "method": "m"}
        found["ranking"].append(base | {"label": "M", "kind": "method", "rank": 1, "score": 0.5})
        for split in splits:
            at = base | {"split": split}
            for label, n, n_trained in (("A", 4, 2), ("B", 3, 0)):
                count = {"n": 2 * n, "cells": n if known else None}
                trained = {"n_fits": 2, "n_trained": n_trained}
                found["confusion"].append(at | {"true": label, "predicted": "A"} | count | trained)
                found["classes"].append(at | {"label_id": label, "label": label.lower(), "f1": 0.5} | count | trained)
                relation = "exact" if label == "A" else "sibling"
                found["error_relations"].append(at | {"label_id": label, "relation": relation, "share": 1.0} | count)
                named = {"true_label": label.lower(), "predicted_label": "a", "depth": 1}
                found["confusion_depths"].append(at | named | count | trained)
                of_probe = {"folds_of": "cells", "classifier": "logistic_regression", "label": label, "f1": 0.5}
                found["probe_classes"].append(at | of_probe)
            bins = {"bin": "03", "bin_accuracy": 0.4, "bin_confidence": 0.6, "n": 8, "cells": 4}
            found["calibration"] += [at | bins, at | bins | {"bin": "04", "bin_confidence": 0.7, "n": 10, "cells": 5}]
            if split != "all":
                found["splits"].append(at | {"label": SHARES[split]})
    found["trees"] = [{"dataset": "d", "label_id": i, "label": i.lower(), "parent": "", "is_class": True} for i in "AB"]
    return {name: pd.DataFrame(rows) for name, rows in found.items()}


def drawn(name: str, changed: dict[str, pd.DataFrame]) -> Figure:
    read = {table: changed[table] for table in figure_facts(name).tables}
    figure: Figure | None = importlib.import_module(f"annobench.figures.{name}").draw(read, SETTINGS)
    assert figure is not None
    figure.canvas.draw()
    plt.close(figure)
    return figure


def words(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.findobj(Text) if text.get_visible() and text.get_text()]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("confusion", ["a (4)", f"b (3 {NEVER})"]),
        ("confusion_depths", ["a (4)", f"b (3 {NEVER})"]),
        ("error_tree", ["4", f"3 {NEVER}"]),
        ("class_tree", ["4", f"3 {NEVER}"]),
    ],
)
def test_a_cell_that_is_tested_twice_counts_once_in_every_panel(name: str, expected: list[str]) -> None:
    found = words(drawn(name, tables()))
    assert [found.count(one) for one in expected] == [3, 3]  # all labels and two shares
    assert not {"8", "6", "a (8)", "b (6)"} & set(found)


@pytest.mark.parametrize(
    "name", ["confusion", "confusion_depths", "error_tree", "class_tree", "calibration", "probe_classes"]
)
def test_every_share_of_the_labels_is_shown_by_itself(name: str) -> None:
    found = words(drawn(name, tables()))
    for share in SHARES.values():
        assert sum(share in one for one in found) == 1


@pytest.mark.parametrize("name", ["confusion", "confusion_depths", "error_tree", "class_tree"])
def test_the_mark_is_explained_only_where_it_is_shown(name: str) -> None:
    assert any("learned elsewhere" in one for one in words(drawn(name, tables())))
    trained = tables()
    for table in ("confusion", "confusion_depths", "classes"):
        trained[table]["n_trained"] = 2
    assert not any("training cell" in one for one in words(drawn(name, trained)))


@pytest.mark.parametrize("name", ["confusion", "confusion_depths", "error_tree", "class_tree"])
def test_a_number_of_cells_that_is_not_known_is_not_made_up(name: str) -> None:
    found = " ".join(words(drawn(name, tables(known=False))))
    assert "?" in found
    assert "nan" not in found


def test_bins_of_few_cells_are_left_out_however_often_these_are_tested() -> None:
    # eight tests of four cells, and ten of five
    panel = drawn("calibration", tables()).axes[0]
    assert {len(points.get_offsets()) for points in panel.collections if len(points.get_offsets())} == {1}
    assert [one.get_text() for one in panel.texts] == ["ECE", *3 * [".26"]]  # (8 * 0.2 + 10 * 0.3) / 18, a line each


def test_an_evaluation_that_a_method_has_not_finished_has_no_gap() -> None:
    changed = tables()
    bins, ranking = changed["calibration"], changed["ranking"]
    other = bins[bins["evaluation"] == "kfold"].assign(method="n")
    changed["calibration"] = pd.concat([bins, other])
    changed["ranking"] = pd.concat([ranking, ranking.head(1).assign(method="n", label="N", score=0.1)])
    panel = next(axes for axes in drawn("calibration", changed).axes if axes.get_title() == "N")
    assert len([one for one in panel.texts if one.get_text()]) == 2  # what it is, and one gap


def test_marks_tell_never_from_sometimes_and_say_nothing_where_nothing_trains() -> None:
    rows = [("a", 2, 2), ("b", 2, 0), ("c", 2, 1), ("d", 2, None), ("e", 1, 0), ("e", 2, 2)]
    table = pd.DataFrame(rows, columns=["label_id", "n_fits", "n_trained"])
    assert marks_of(table, "label_id") == {"a": "", "b": NEVER, "c": SOMETIMES, "d": "", "e": ""}
    assert [counted(3.0), counted(3, NEVER), counted(None), counted(float("nan"))] == ["3", f"3 {NEVER}", "?", "?"]
