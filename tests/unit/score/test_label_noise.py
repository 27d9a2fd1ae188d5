"""What is promised: labels move to relatives only, the same for all methods, and disputed cells are found."""

import numpy as np
import pandas as pd
import pytest

from annobench.core.parquet import Categorical
from annobench.score.audit.label_noise import DRAWS, SHARES, Answers, neighbours
from annobench.tables.label_noise import noise_table
from helpers import scored, toy_ontology

TRUTH = ["A1"] * 40 + ["A2"] * 40 + ["B"] * 20


def answers(**methods: list[str]) -> Answers:
    """Answers of methods to 100 cells, beside two controls that know nothing."""
    found = Answers(toy_ontology(), "macro_f1")
    fixed = Categorical.of(["s"] * len(TRUTH))
    key = ("split", 1)
    found.add_cells(key, [f"c{i}" for i in range(len(TRUTH))], Categorical.of(TRUTH), fixed, fixed)
    for name, labels in {"majority": ["A1"] * 100, "shuffled": TRUTH[::-1]}.items():
        found.add(("control", name), key, scored(TRUTH, labels))
    for name, labels in methods.items():
        found.add(("method", name), key, scored(TRUTH, labels))
    return found


def drawn(one: Answers) -> pd.DataFrame:
    columns = ["metric", "share", "draw", "method", "flipped", "value"]
    place = {"dataset": "d", "evaluation": "e", "regime": "holdout"}
    return pd.DataFrame(one.noise_rows(), columns=columns).assign(**place)


def test_neighbours_are_parents_children_and_siblings_among_the_classes() -> None:
    near = neighbours(["A", "A1", "A2", "B", "unknown"], toy_ontology())
    assert near["A"] == ["A1", "A2"]
    assert near["A1"] == ["A", "A2"]
    assert "unknown" not in near


def test_labels_are_flipped_as_often_as_said_and_only_where_there_is_a_relative() -> None:
    one = answers(good=TRUTH)
    table = drawn(one)
    assert sorted(set(table["share"])) == [0, *SHARES]
    near = neighbours(TRUTH, toy_ontology())
    movable = np.mean([bool(near[label]) for label in TRUTH])
    for share, part in table[table["share"] > 0].groupby("share"):
        assert len(part) == DRAWS
        assert part["flipped"].mean() == pytest.approx(share * movable, abs=0.03)
        assert part["flipped"].max() <= share + 1e-9
    assert table.loc[table["share"] == 0, "value"].tolist() == [1.0]


def test_equal_methods_stay_equal_and_ranks_move_where_methods_are_close() -> None:
    worse = ["B" if i % 2 else label for i, label in enumerate(TRUTH)]
    close = ["A2", *TRUTH[1:]]
    table = noise_table(drawn(answers(good=TRUTH, again=list(TRUTH), close=close, worse=worse)))
    assert len(table) == 4 * (1 + len(SHARES))
    at = table.set_index(["noise", "method"])
    assert (at.xs("good", level="method")["score"] == at.xs("again", level="method")["score"]).all()
    assert (at.xs("worse", level="method")["rank_low"] == 4).all()
    plain = at.loc[0.0]
    assert plain["tau"].tolist() == pytest.approx([1] * 4)
    assert plain["rank"].to_dict() == {"good": 1, "again": 1, "close": 3, "worse": 4}
    assert at.loc[(0.2, "good"), "score"] < at.loc[(0.05, "good"), "score"] < 1
    assert (table["rank_low"] <= table["rank"]).all()
    assert (table["rank"] <= table["rank_high"]).all()
    assert noise_table(pd.DataFrame()).empty


def test_cells_on_which_all_good_methods_agree_against_the_label_are_disputed() -> None:
    first, second = list(TRUTH), list(TRUTH)
    first[0] = second[0] = "A2"  # both
    first[1], second[1] = "A2", "B"  # each another
    first[2] = "A2"  # one of them
    first[3] = second[3] = "unknown"  # no answer is no dispute
    bad = ["A1"] * 100
    one = answers(first=first, second=second, bad=bad)
    assert one.good() == ["first", "second"]
    assert list(one.disputed_rows()) == [("c0", "A1", "A2", 2, 2, "s", "s")]
    assert list(answers(first=first).disputed_rows()) == []  # one method alone disputes nothing


def test_a_cell_is_disputed_where_all_fits_agree() -> None:
    wrong = ["A2", "A2", *TRUTH[2:]]
    one = answers(first=wrong, second=wrong)
    fixed = Categorical.of(["s"] * len(TRUTH))
    one.add_cells(("split", 2), [f"c{i}" for i in range(100)], Categorical.of(TRUTH), fixed, fixed)
    for name in ("first", "second"):
        one.add(("method", name), ("split", 2), scored(TRUTH, ["A2", *TRUTH[1:]]))
    for name in ("majority", "shuffled"):
        one.add(("control", name), ("split", 2), scored(TRUTH, ["A1"] * 100))
    assert [(row[0], row[4]) for row in one.disputed_rows()] == [("c0", 4)]


def test_the_cells_that_a_method_misplaces_worst_come_first() -> None:
    found = Answers(toy_ontology(), "macro_f1")
    fixed = Categorical.of(["s"] * 3)
    truth = ["A1", "A2", "B"]
    said = [
        (["A2", "A2", "A1"], [0.6, 0.9, 0.8]),
        (["A1", "A2", "A1"], [0.5, 0.9, 0.4]),
        (["A1", "A2", "A2"], [1, 1, 0.6]),
    ]
    for seed, (labels, confidence) in enumerate(said):
        found.add_cells(("split", seed), ["c0", "c1", "c2"], Categorical.of(truth), fixed, fixed)
        found.add(("method", "m"), ("split", seed), scored(truth, labels, confidence=np.array(confidence)))
    assert list(found.misplaced_rows()) == [
        ("m", "c2", "B", "A1", pytest.approx(0.6), 3, 3, "s", "s"),
        ("m", "c0", "A1", "A2", pytest.approx(0.6), 1, 3, "s", "s"),
    ]


def test_of_cells_that_are_wrong_as_often_the_surest_come_first_and_fifty_are_listed() -> None:
    found = Answers(toy_ontology(), "macro_f1")
    fixed = Categorical.of(["s"] * 60)
    sure = np.linspace(0.1, 0.9, 60)
    found.add_cells(("split", 1), [f"c{i:02d}" for i in range(60)], Categorical.of(["A1"] * 60), fixed, fixed)
    found.add(("method", "m"), ("split", 1), scored(["A1"] * 60, ["A2"] * 60, confidence=sure))
    found.add(("method", "mute"), ("split", 1), scored(["A1"] * 60, ["A2"] * 60))
    rows = pd.DataFrame(found.misplaced_rows())
    assert rows.groupby(0).size().to_dict() == {"m": 50, "mute": 50}
    assert rows.loc[rows[0] == "m", 1].tolist() == [f"c{i:02d}" for i in range(59, 9, -1)]
    assert rows.loc[rows[0] == "mute", 1].tolist() == [f"c{i:02d}" for i in range(50)]
