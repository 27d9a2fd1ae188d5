"""What is promised: a regime is one module and one schema, and says of itself all that others need to know of it."""

import json
import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from annobench.config.entities import available
from annobench.config.evaluations import COMMON_KEYS
from annobench.config.figures import figure_facts, figures
from annobench.config.regimes import Entry, Regime, regime_class, regimes, split_columns
from annobench.config.schema import fill, load_schema, schema_folder, variant
from annobench.config.split import BalanceSettings
from annobench.config.study import load_study
from annobench.core.errors import ConfigError, DataError
from annobench.core.parquet import Categorical, read_columns, write_columns
from annobench.core.paths import ROOT
from annobench.splits.balance.select import select_cells
from annobench.splits.roles import ROLES, assign_roles, check_roles, read_obs
from annobench.splits.spec import BalanceSpec, SplitSpec
from annobench.workflow.launch import resolve
from annobench.workflow.splits import SplitRules
from helpers import clone

FAMILIES = {"one": {"study": ["s1"]}, "two": {"study": ["s2"]}}


def entry(regime: str, policy: str = "none") -> Entry:
    """The entry of a study that names a regime and nothing else."""
    root = load_schema("config")
    filled = fill({"regime": regime}, root["$defs"]["evaluation"], root)
    own = {key: value for key, value in filled.items() if key not in COMMON_KEYS}
    organisms = {"organism": ["Homo sapiens", "Mus musculus"]}
    return Entry("d", FAMILIES, policy, own, organisms, control="none")


def expanded(regime: str) -> list[Regime]:
    """Settings of the splits of that entry."""
    one, of = entry(regime), regime_class(regime)
    shared = {key: value for key, value in one.own.items() if key not in of.LISTS}
    return [Regime.from_params({"regime": regime, **shared, **part.settings}) for part in of.expand(one)]


def test_every_regime_has_a_schema_and_every_schema_a_regime() -> None:
    assert regimes() == sorted(path.stem for path in (schema_folder() / "regimes").glob("*.yaml"))


@pytest.mark.parametrize("name", regimes())
def test_settings_are_keys_of_the_schema_or_come_from_expanding(name: str) -> None:
    root = load_schema("config")
    branch = variant({"regime": name}, root["$defs"]["evaluation"], root)
    assert branch is not None
    assert branch["title"] == name
    own, of = set(branch["properties"]) - COMMON_KEYS, regime_class(name)
    given = {key for part in of.expand(entry(name)) for key in part.settings}
    assert {field.name for field in fields(of)} - {"regime"} == (own - set(of.LISTS)) | given
    assert set(of.VARIES) <= given
    assert set(of.COLUMNS) <= set(of.VARIES)
    assert of.LABEL


@pytest.mark.parametrize("name", regimes())
def test_splits_of_a_regime_are_told_apart_by_their_label(name: str) -> None:
    splits = expanded(name)
    assert all(type(one) is regime_class(name) for one in splits)
    averaged = [part.averaged for part in regime_class(name).expand(entry(name))]
    labels = [one.label() for one, together in zip(splits, averaged, strict=True) if together]
    assert len(set(labels)) == len(labels)
    assert all(Regime.from_params(json.loads(json.dumps(one.to_params()))) == one for one in splits)


@pytest.mark.parametrize("name", regimes())
@settings(max_examples=15, deadline=None)
@given(st.integers(0, 1000))
def test_every_regime_leaves_unknown_labels_out_of_training_and_repeats_its_draws(name: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    cells = 300
    studies, donors = rng.integers(1, 4, cells), rng.integers(20, size=cells)
    obs = {
        "label_id": rng.choice(np.array(["a", "b", "c", "unknown"], dtype=object), cells, p=[0.5, 0.3, 0.1, 0.1]),
        "study": np.array([f"s{i}" for i in studies], dtype=object),
        "donor": np.array([f"d{i}.{j}" for i, j in zip(studies, donors, strict=True)], dtype=object),
        "organism": rng.choice(np.array(["Homo sapiens", "Mus musculus", "unknown"], dtype=object), cells),
        "part": np.where(studies == 3, "query", "reference").astype(object),
        "condition": rng.choice(np.array(["none", "unknown", *"efghi"], dtype=object), cells),
    }
    for one in expanded(name):
        roles = assign_roles(obs, SplitSpec(one, seed))
        assert set(roles) <= set(ROLES)
        assert "test" in roles
        assert ("train" in roles) == one.TRAINS
        assert not np.isin(roles[obs["label_id"] == "unknown"].astype(str), ["train", "val"]).any()
        assert (assign_roles(obs, SplitSpec(one, seed)) == roles).all()


@pytest.mark.parametrize("figure", figures())
def test_figures_are_of_regimes_that_exist(figure: str) -> None:
    assert set(figure_facts(figure).regimes) <= set(regimes())


def test_labels_for_people() -> None:
    assert [one.label() for one in expanded("kfold")][:1] == ["fold 1 of 5"]
    assert [one.label() for one in expanded("low_label")] == [f"{n} % of the labels" for n in (1, 5, 10)]
    assert [one.label() for one in expanded("cross_study")] == ["one", "two"]
    pairs = ["Homo sapiens to Mus musculus", "Mus musculus to Homo sapiens"]
    assert [one.label() for one in expanded("cross_organism")] == pairs
    assert split_columns() == ["fold", "fraction", "held_out", "test_on", "train_on"]
    said = {
        "holdout_donor": "held-out cells, whole donors",
        "kfold_folds3": "all labels, k folds, folds3",
        "release_draw1_ood": "release, draw1 out of distribution",
    }
    for name, label in said.items():
        assert regime_class(name.split("_")[0]).evaluation_label(name) == label


def test_an_unknown_regime_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match="no regime 'holdot'; did you mean 'holdout'"):
        regime_class("holdot")


@pytest.mark.parametrize("name", [None, *available("studies", ROOT)])
def test_specs_of_every_study_reach_their_driver_whole(name: str | None) -> None:
    study = resolve(name)
    rules = SplitRules(study)
    for split in study.all_splits():
        place: Any = type("Wildcards", (), {"dataset": split.dataset, "split": split.name, "seed": str(split.seeds[0])})
        params = json.loads(json.dumps([rules.split_spec(place), rules.balance_spec(place)]))
        assert SplitSpec.from_params(params[0]) == SplitSpec(split.settings, split.seeds[0])
        assert BalanceSpec.from_params(params[1]) == BalanceSpec(split.balance, split.seeds[0])


def test_the_code_of_a_regime_counts_for_its_splits_only() -> None:
    study = load_study(
        {
            "study": "s",
            "methods": ["celltypist_immune"],
            "evaluations": [{"dataset": "simulated_small", "regime": name} for name in ("holdout", "zero_shot")],
        },
        ROOT,
    )
    places: list[Any] = [
        type("Wildcards", (), {"dataset": "simulated_small", "split": name}) for name in ("holdout", "zero_shot")
    ]
    assert SplitRules(study).split_code(places[0]) != SplitRules(study).split_code(places[1])


def zero_shot_study(**changes: Any) -> Any:
    evaluation = {"dataset": "simulated_small", "regime": "zero_shot", **changes}
    return load_study({"study": "s", "methods": ["celltypist_immune"], "evaluations": [evaluation]}, ROOT, "s.yaml")


def test_zero_shot_tests_all_labelled_cells_and_trains_none() -> None:
    split = zero_shot_study().splits["simulated_small", "zero_shot"]
    assert not split.trains
    labels = np.array(["a", "unknown", "b", "a"], dtype=object)
    roles = assign_roles({"label_id": labels}, SplitSpec(split.settings, 1))
    assert roles.tolist() == ["test", "unused", "test", "test"]
    assert assign_roles({"label_id": labels[:1]}, SplitSpec(split.settings, 2)).tolist() == ["test"]
    with pytest.raises(DataError, match="zero_shot: no cell has a known label"):
        assign_roles({"label_id": labels[1:2]}, SplitSpec(split.settings, 1))
    roles[0] = "train"
    with pytest.raises(DataError, match="nothing trains in this regime"):
        check_roles({"label_id": labels}, roles, split.settings)


def test_zero_shot_runs_methods_that_have_learned_elsewhere() -> None:
    assert zero_shot_study().splits["simulated_small", "zero_shot"].methods == ("oracle", "celltypist_immune")
    with pytest.raises(ConfigError, match=r"s.yaml: evaluations\[0\]: methods: 'knn' learns from training cells"):
        zero_shot_study(methods=["celltypist_immune", "knn"])


def test_zero_shot_balances_nothing() -> None:
    empty = np.array([], dtype=object)
    spec = BalanceSpec(BalanceSettings(), 1)
    assert select_cells(empty, empty, spec).tolist() == []
    with pytest.raises(ConfigError, match=r"evaluations\[0\]: balance.policy: 'cap' selects training cells"):
        zero_shot_study(balance={"policy": "cap", "max_cells": 5})
    with pytest.raises(ConfigError, match="the regimes pair and release go with a dataset that declares a `pair`"):
        zero_shot_study(dataset="lung_cross_study")


def test_a_selection_without_cells_has_its_columns(tmp_path: Path) -> None:
    labels, sources = Categorical.of(np.array([], dtype=object)), Categorical.of(np.array([], dtype=object))
    chosen = select_cells(labels, sources, BalanceSpec(BalanceSettings(), 1))
    cells = {"cell_id": [], "label_id": labels[chosen], "source": sources[chosen]}
    write_columns(tmp_path / "train.parquet", cells)
    read = read_columns(tmp_path / "train.parquet", ["label_id", "source"], categorical=["label_id", "source"])
    assert [len(column) for column in read.values()] == [0, 0]
    assert read["label_id"].counts() == {}


def test_a_column_that_the_data_lacks_is_named(tmp_path: Path) -> None:
    write_columns(tmp_path / "obs.parquet", {"label_id": Categorical.of(np.array(["a"])), "study": ["s"]})
    with pytest.raises(DataError, match="splits: kfold: the prepared data has no column 'donor'"):
        read_obs(
            tmp_path / "obs.parquet",
            Regime.from_params({"regime": "kfold", "fold": 1, "folds": 2, "group_by": "donor", "val_fraction": 0.1}),
        )


REGIME = '''
"""Odd: cells of every other row are tested."""

from dataclasses import dataclass

from annobench.splits.held_out import HeldOut


@dataclass(frozen=True, kw_only=True)
class Odd(HeldOut):
    """Every `step`-th cell is tested."""

    LABEL = "odd cells"
    step: int

    def test_cells(self, obs, seed):
        import numpy as np

        return np.arange(len(obs["label_id"])) % self.step == 1
'''
SCHEMA = """
title: odd
type: object
additionalProperties: false
required: [dataset, regime]
properties:
  dataset: {description: Name of a file in config/datasets., $ref: "#/$defs/name"}
  regime: {description: Every n-th cell is tested., const: odd}
  step: {description: How many cells share a test cell., type: integer, minimum: 2, default: 2}
  name: {$ref: "#/$defs/split_name"}
  val_fraction: {$ref: "#/$defs/val_fraction"}
  balance: {$ref: "#/$defs/balance"}
  genes: {$ref: "#/$defs/genes"}
  rollup: {$ref: "#/$defs/rollup_name"}
  columns: {$ref: "#/$defs/columns"}
  metric_families: {$ref: "#/$defs/metric_families"}
  seeds: {$ref: "#/$defs/split_seeds"}
  methods: {$ref: "#/$defs/split_methods"}
"""
USED = """
import numpy as np
from types import SimpleNamespace
from annobench.config.study import load_study
from annobench.core.paths import ROOT
from annobench.splits.roles import assign_roles
from annobench.splits.spec import SplitSpec
from annobench.workflow.splits import SplitRules
entries = [{"dataset": "simulated_small", "regime": "odd", **more} for more in ({}, {"step": 3})]
study = load_study({"study": "s", "methods": ["knn"], "evaluations": entries}, ROOT)
rules = SplitRules(study)
place = SimpleNamespace(dataset="simulated_small", split="odd_step3", seed="1")
spec = SplitSpec.from_params(rules.split_spec(place))
roles = assign_roles({"label_id": np.array(list("abc" * 20), dtype=object)}, spec)
print([name for _, name in study.splits], rules.evaluation_names(), np.flatnonzero(roles == "test")[:3].tolist())
"""


def test_a_regime_is_added_by_its_module_and_its_schema(tmp_path: Path) -> None:
    repo = clone(tmp_path)
    (repo / "scripts" / "annobench" / "splits" / "regimes" / "odd.py").write_text(REGIME)
    (repo / "workflow" / "schemas" / "regimes" / "odd.yaml").write_text(SCHEMA)
    done = subprocess.run([sys.executable, "-c", USED], cwd=repo / "scripts", capture_output=True, text=True)
    assert done.stdout.strip() == (
        "['odd', 'odd_step3'] {'simulated_small/odd': 'odd cells', 'simulated_small/odd_step3': 'odd cells, step3'} "
        "[1, 4, 7]"
    ), done.stderr
