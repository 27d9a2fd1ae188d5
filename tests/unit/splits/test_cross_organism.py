"""What is promised: one organism trains, the other is tested, on classes that can be learned; the rest is counted."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from annobench.config.regimes import Entry
from annobench.config.study import load_study
from annobench.core.errors import ConfigError, DataError
from annobench.core.parquet import Categorical
from annobench.core.paths import ROOT
from annobench.splits.regimes.cross_organism import CrossOrganism
from annobench.splits.roles import assign_roles, words_of
from annobench.splits.spec import SplitSpec

HUMAN, MOUSE = "Homo sapiens", "Mus musculus"


def split(classes: str = "shared", train_on: str = HUMAN, test_on: str = MOUSE) -> CrossOrganism:
    return CrossOrganism(
        regime="cross_organism",
        column="organism",
        classes=classes,
        val_fraction=0.2,
        train_on=train_on,
        test_on=test_on,
    )


def cells(**by_organism: str) -> dict[str, Any]:
    """Cells of organisms: each letter is the label of a cell, `?` an unknown one."""
    pairs = [(name.replace("_", " "), label) for name, labels in by_organism.items() for label in labels]
    organism, labels = zip(*pairs, strict=True)
    found = {"organism": organism, "label_id": ["unknown" if label == "?" else label for label in labels]}
    return {key: Categorical.of(list(values)) for key, values in found.items()}


OBS = cells(Homo_sapiens="aaaabbbbccc?", Mus_musculus="aabbddddd??", unknown="ab", Gallus_gallus="abcd")


def roles(obs: dict[str, Any], one: CrossOrganism) -> list[str]:
    return list(assign_roles(obs, SplitSpec(one, 1)))


def test_roles_and_counts_by_hand() -> None:
    found = roles(OBS, split())
    assert sorted(found[:8]) == ["train"] * 6 + ["val"] * 2  # one validation cell of each class
    assert found[8:12] == ["unused"] * 4  # the class that mice lack, and the cell of unknown label
    assert found[12:16] == ["test"] * 4
    assert found[16:21] == ["unused"] * 5
    assert found[21:23] == ["test"] * 2  # of unknown label: scoring decides what becomes of them
    assert found[23:] == ["unused"] * 6
    left = split().left_out(OBS)
    assert left == {"train": {"c": 3}, "test": {"d": 5}}
    assert words_of(left) == [
        "left out of the train side: 3 cells of classes that only it has (c: 3)",
        "left out of the test side: 5 cells of classes that only it has (d: 5)",
    ]
    assert words_of({"train": {}}) == ["left out of the train side: no cells, the other side has all of its classes"]


def test_all_classes_are_kept_on_request() -> None:
    found = roles(OBS, split("all"))
    assert found[8:11].count("unused") == 0
    assert found[12:23] == ["test"] * 11
    assert split("all").left_out(OBS) == {}


@given(st.text("abcd?", min_size=4, max_size=30), st.text("abcd?", min_size=4, max_size=30), st.integers(0, 50))
def test_every_tested_class_can_be_learned(human: str, mouse: str, seed: int) -> None:
    both = (set(human) & set(mouse)) - {"?"}
    if len(both) < 2:
        return
    obs = cells(Homo_sapiens=human, Mus_musculus=mouse)
    found = assign_roles(obs, SplitSpec(split(), seed))
    labels = obs["label_id"].to_text()
    known = labels != "unknown"
    assert set(labels[(found == "test") & known]) == set(labels[found == "train"]) == both
    left = sum(sum(side.values()) for side in split().left_out(obs).values())
    used = np.isin(found.astype(str), ["train", "val", "test"])
    assert left + (used & known).sum() == known.sum()


@pytest.mark.parametrize(
    ("obs", "message"),
    [
        ({"Homo_sapiens": "aabb"}, "no cell has 'Mus musculus' in the column 'organism'; valid: Homo sapiens"),
        ({"Mus_muscullus": "ab", "Homo_sapiens": "ab"}, "did you mean 'Mus muscullus'"),
        (
            {"Homo_sapiens": "aab", "Mus_musculus": "cdd"},
            r"share no class: Homo sapiens has 2 \(a, b\) and Mus musculus has 2 \(c, d\); map the labels",
        ),
        ({"Homo_sapiens": "aab", "Mus_musculus": "acc"}, r"the training cells have one class only \(a\)"),
    ],
)
def test_cells_that_cannot_be_split(obs: dict[str, str], message: str) -> None:
    with pytest.raises(DataError, match=message):
        roles(cells(**obs), split())


def entry(declared: dict[str, list[str]], **own: Any) -> Entry:
    return Entry("d", {}, "none", {"column": "organism", "classes": "shared", "val_fraction": 0.2, **own}, declared)


def test_every_ordered_pair_is_a_split() -> None:
    three = entry({}, values=[HUMAN, MOUSE, "Gallus gallus (red)"])
    assert [part.ending for part in CrossOrganism.expand(three)] == [
        *("_homo_sapiens_to_mus_musculus", "_homo_sapiens_to_gallus_gallus_red"),
        *("_mus_musculus_to_homo_sapiens", "_mus_musculus_to_gallus_gallus_red"),
        *("_gallus_gallus_red_to_homo_sapiens", "_gallus_gallus_red_to_mus_musculus"),
    ]


@pytest.mark.parametrize(
    ("one", "message"),
    [
        (entry({}), r"'d' declares no text for the column 'organism' \(cells.columns: \{organism: =TEXT\}\); list"),
        (entry({"organism": [HUMAN]}), r"'d' has one value in the column 'organism' \(Homo sapiens\); two or more"),
        (entry({}, values=[HUMAN]), "two or more are needed, one to train on and one to test on"),
        (entry({}, values=["a b", "a-b"]), r"'a b' and 'a-b' give splits of one name \(a_b\)"),
    ],
)
def test_two_organisms_are_needed(one: Entry, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        CrossOrganism.check(one)


def test_a_study_takes_the_organisms_that_the_datasets_declare() -> None:
    evaluation = {"dataset": "simulated_organisms", "regime": "cross_organism"}
    found = load_study({"study": "s", "methods": ["knn"], "evaluations": [evaluation]}, ROOT)
    names = ["crossorganism_homo_sapiens_to_mus_musculus", "crossorganism_mus_musculus_to_homo_sapiens"]
    assert [name for _, name in found.splits] == names
    assert {one.evaluation for one in found.splits.values()} == {"cross_organism"}
    parts = {"dataset": "simulated_organisms", "regime": "cross_organism", "column": "part", "classes": "all"}
    with pytest.raises(ConfigError, match="declares no text for the column 'part'"):
        load_study({"study": "s", "methods": ["knn"], "evaluations": [parts]}, ROOT)
    parts["values"] = ["simulated_human", "simulated_mouse"]
    found = load_study({"study": "s", "methods": ["knn"], "evaluations": [parts]}, ROOT)
    assert next(iter(found.splits))[1] == "crossorganism_part_classesall_simulated_human_to_simulated_mouse"
    alone = {"study": "s", "methods": ["knn"], "evaluations": [evaluation | {"dataset": "simulated_human"}]}
    with pytest.raises(ConfigError, match=r"evaluations\[0\].*two or more are needed"):
        load_study(alone, ROOT)
