"""What is promised: a file that extends another states what differs, and messages name the file that states a value."""

from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from annobench.config.entities import load_dataset, load_method
from annobench.config.extends import load_extended, merged
from annobench.core.errors import ConfigError

KNN = {"label": "k", "summary": "s", "citation": "c", "licence": "l", "implementation": "knn"}
KEYS = st.sampled_from(["a", "b", "c"])
PLAIN = st.one_of(st.integers(0, 3), st.text("xy", max_size=2), st.lists(st.integers(0, 3), max_size=2))
TREES = st.recursive(st.dictionaries(KEYS, PLAIN), lambda inner: st.dictionaries(KEYS, PLAIN | inner), max_leaves=8)


def written(folder: Path, **files: object) -> Path:
    """A repository with some files in config/methods; returns its root."""
    (folder / "config" / "methods").mkdir(parents=True)
    for name, content in files.items():
        (folder / "config" / "methods" / f"{name}.yaml").write_text(yaml.safe_dump(content))
    return folder


def refused(root: Path, name: str) -> str:
    with pytest.raises(ConfigError) as error:
        load_method(name, root, "study.yaml")
    return str(error.value)


@pytest.mark.parametrize(
    ("base", "changes", "expected"),
    [
        ({"a": 1}, {"b": 2}, {"a": 1, "b": 2}),
        ({"a": 1}, {"a": 2}, {"a": 2}),
        ({"a": {"b": 1, "c": 2}}, {"a": {"c": 3}}, {"a": {"b": 1, "c": 3}}),
        ({"a": [1, 2]}, {"a": [3]}, {"a": [3]}),
        ({"a": {"b": 1}}, {"a": [3]}, {"a": [3]}),
        ({"a": [1]}, {"a": {"b": 1}}, {"a": {"b": 1}}),
        ({"a": 1, "b": 2}, {"a": None}, {"b": 2}),
        ({"a": {"b": 1, "c": 2}}, {"a": {"b": None}}, {"a": {"c": 2}}),
        ({"b": 2}, {"a": None}, {"a": None, "b": 2}),  # nothing to take away: the schema decides
        ({"parameters": {"n": 4}}, {"parameters": {"n": None}}, {"parameters": {"n": None}}),
        ({"parameters": {"r": {"n": 4}}}, {"parameters": {"r": {"n": None}}}, {"parameters": {"r": {"n": None}}}),
        ({"parameters": {"n": 4}}, {"parameters": None}, {}),
    ],
)
def test_rules_of_merging(base: dict, changes: dict, expected: dict) -> None:
    assert merged(base, changes) == expected


@given(TREES, TREES)
def test_changes_win_what_they_leave_out_stays_and_nothing_given_is_altered(base: dict, changes: dict) -> None:
    before = yaml.safe_dump([base, changes])
    found = merged(base, changes)
    assert yaml.safe_dump([base, changes]) == before
    assert merged(base, {}) == base
    assert merged({}, changes) == changes
    assert merged(found, changes) == found
    assert set(found) == set(base) | set(changes)
    for key, value in found.items():
        if key not in changes:
            assert value == base[key]
        elif isinstance(base.get(key), dict) and isinstance(changes[key], dict):
            assert value == merged(base[key], changes[key])
        else:
            assert value == changes[key]


def test_a_chain_is_resolved_from_its_end(tmp_path: Path) -> None:
    root = written(
        tmp_path,
        one=KNN | {"parameters": {"n_genes": 10, "n_components": 5}, "files": ["a", "b"]},
        two={"extends": "one", "label": "two", "parameters": {"n_genes": None}},
        three={"extends": "two", "summary": "three", "files": ["c"]},
    )
    found = load_method("three", root, "study.yaml")
    assert (found["label"], found["summary"], found["files"], found["fitted"]) == ("two", "three", ["c"], "three")
    assert found["parameters"] == {"n_components": 5, "n_genes": None, "n_neighbors": 15}
    assert "extends" not in found


@pytest.mark.parametrize(
    ("files", "ring"),
    [
        ({"a": "a"}, "a -> a"),
        ({"a": "b", "b": "a"}, "a -> b -> a"),
        ({"a": "b", "b": "c", "c": "d", "d": "b"}, "b -> c -> d -> b"),
    ],
)
def test_a_ring_is_shown(tmp_path: Path, files: dict[str, str], ring: str) -> None:
    root = written(tmp_path, **{name: {"extends": base} for name, base in files.items()})
    assert f"extends: {ring} is a ring" in refused(root, "a")


def test_an_unknown_base_is_named_with_the_nearest(tmp_path: Path) -> None:
    root = written(tmp_path, mlp_ce=KNN, mine={"extends": "mlp_cee"})
    assert refused(root, "mine") == (
        "config/methods/mine.yaml: extends: no file config/methods/mlp_cee.yaml; did you mean 'mlp_ce'?"
    )


@pytest.mark.parametrize("base", [3, ["knn"], "../studies/hce"])
def test_a_base_is_a_name(tmp_path: Path, base: object) -> None:
    assert "config/methods/mine.yaml: extends: expected the name of a file beside it" in refused(
        written(tmp_path, mine={"extends": base}), "mine"
    )


@pytest.mark.parametrize(
    ("base", "changes", "message"),
    [
        ({"resources": {"threads": "two"}}, {}, "base.yaml: resources.threads: expected integer, found text ('two')"),
        ({}, {"resources": {"threads": "two"}}, "mine.yaml: resources.threads: expected integer, found text ('two')"),
        (
            {"resources": {"treads": 2}},
            {"resources": {"minutes": 5}},
            "base.yaml: resources: unknown key 'treads'; did you mean 'threads'?",
        ),
        ({"files": ["a"]}, {"files": ["a", 3]}, "mine.yaml: files[1]: expected string, found a number (3)"),
        ({"files": ["a", 3]}, {"label": "l"}, "base.yaml: files[1]: expected string, found a number (3)"),
        ({}, {"licence": None}, "mine.yaml: top level: key 'licence' is missing"),
        (
            {"parameters": {"n_gene": 5}},
            {"parameters": {"n_components": 5}},
            "base.yaml: parameters: unknown key 'n_gene'; did you mean 'n_genes'?",
        ),
        (
            {"parameters": {"n_genes": "all"}},
            {"parameters": {"n_components": 5}},
            "base.yaml: parameters.n_genes: expected a whole number or null, found text ('all')",
        ),
        (
            {"downloads": {"model": {"file": "m.pkl"}}},
            {"label": "l"},
            "base.yaml: downloads.model: give `urls`, or an `index`, or both",
        ),
        (
            {},
            {"parameters": {"n_genes": "download:model"}},
            "mine.yaml: parameters: 'download:model' is not declared",
        ),
        ({}, {"exec": {"command": "true"}}, "mine.yaml: `exec` goes with `implementation: exec`"),
    ],
)
def test_messages_name_the_file_that_states_the_value(tmp_path: Path, base: dict, changes: dict, message: str) -> None:
    root = written(tmp_path, base=KNN | base, mine={"extends": "base"} | changes)
    assert refused(root, "mine").startswith(f"config/methods/{message}")


def test_a_dataset_extends_another(tmp_path: Path) -> None:
    (tmp_path / "config" / "datasets").mkdir(parents=True)
    base = {
        "label": "b",
        "summary": "s",
        "citation": "c",
        "licence": "l",
        "source": {"kind": "local", "path": "a.h5ad"},
        "cells": {"label": "type", "donor": "person"},
    }
    mine = {"extends": "base", "source": {"path": "b.h5ad"}, "cells": {"donor": None}}
    for name, content in (("base", base), ("mine", mine)):
        (tmp_path / "config" / "datasets" / f"{name}.yaml").write_text(yaml.safe_dump(content))
    found = load_dataset("mine", tmp_path, "study.yaml")
    assert found["source"]["path"] == "b.h5ad"
    assert (found["cells"]["label"], found["cells"]["donor"]) == ("type", None)
    file = load_extended(tmp_path / "config" / "datasets" / "mine.yaml", tmp_path)
    assert file.origin("source", "kind") == "config/datasets/base.yaml"
    assert file.origin("source", "path") == "config/datasets/mine.yaml"
