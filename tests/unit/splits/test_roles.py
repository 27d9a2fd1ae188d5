"""What is promised: roles are disjoint, stratified, nested, grouped, and a leak never gets through."""

from hashlib import sha256
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from annobench.config.regimes import Regime
from annobench.core.errors import DataError
from annobench.core.parquet import Categorical
from annobench.splits import roles as splits
from annobench.splits.regimes.kfold import stratified_folds
from annobench.splits.roles import check_roles
from annobench.splits.spec import SplitSpec

HOLDOUT = {"regime": "holdout", "group_by": None, "test_fraction": 0.2, "val_fraction": 0.15}


def assign_roles(obs: dict[str, Any], settings: dict[str, Any], seed: int) -> Any:
    """Roles by the settings of a regime, as an entry of a study has them."""
    return splits.assign_roles(obs, SplitSpec(Regime.from_params(settings), seed))


def grouped(regime: str, **more: Any) -> dict[str, Any]:
    """Settings of a regime that holds out whole donors."""
    own = {"holdout": {"test_fraction": 0.2}, "kfold": {"folds": 5, "fold": 2}}[regime]
    return {"regime": regime, "group_by": "donor", "val_fraction": 0.15, **own, **more}


def table(sizes: dict[str, int], donors: int = 4, seed: int = 0) -> dict[str, Any]:
    """Cells of the given class sizes in random order, each with a donor and a study."""
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.repeat(list(sizes), list(sizes.values())).astype(object))
    donor = np.array([f"d{i}" for i in rng.integers(donors, size=len(labels))], dtype=object)
    study = np.array([f"s{int(d[1:]) % 2}" for d in donor], dtype=object)
    return {"label_id": labels, "donor": donor, "study": study}


SIZES = st.dictionaries(st.sampled_from([*"abcdef", "unknown"]), st.integers(1, 60), min_size=3).filter(
    lambda sizes: sum(n > 2 for label, n in sizes.items() if label != "unknown") > 1
)


@given(SIZES, st.integers(0, 1000))
def test_holdout_tests_every_class_that_it_can_and_keeps_one_for_training(sizes: dict[str, int], seed: int) -> None:
    obs = table(sizes)
    roles = assign_roles(obs, HOLDOUT, seed)
    assert set(roles) <= set(splits.ROLES)
    for label, n in sizes.items():
        mine = roles[obs["label_id"] == label]
        tested = (mine == "test").sum()
        if label == "unknown":
            assert not np.isin(mine.astype(str), ["train", "val"]).any()
        else:
            assert (mine == "train").sum() >= 1
            assert tested >= (n > 1)
        assert tested <= max(np.ceil(0.2 * n), 1)
    total = len(obs["label_id"])
    assert abs((roles == "test").sum() - 0.2 * total) <= len(sizes)


@given(SIZES, st.integers(0, 1000))
def test_the_same_seed_gives_the_same_split_and_order_of_columns_does_not_matter(
    sizes: dict[str, int], seed: int
) -> None:
    obs = table(sizes)
    first = assign_roles(obs, HOLDOUT, seed)
    assert (assign_roles(dict(reversed(obs.items())), HOLDOUT, seed) == first).all()


def test_another_seed_gives_another_split() -> None:
    obs = table({"a": 50, "b": 50})
    assert (assign_roles(obs, HOLDOUT, 1) != assign_roles(obs, HOLDOUT, 2)).any()


@given(SIZES, st.integers(2, 5), st.integers(0, 100))
def test_kfold_tests_every_cell_once_and_folds_are_even(sizes: dict[str, int], folds: int, seed: int) -> None:
    obs = table(sizes)
    fold = stratified_folds(Categorical.of(obs["label_id"]), folds, np.random.default_rng([seed, 0]))
    assert set(fold) <= set(range(1, folds + 1))
    counts = np.bincount(fold, minlength=folds + 1)[1:]
    assert counts.max() - counts.min() <= 1
    for label in sizes:
        per_class = np.bincount(fold[obs["label_id"] == label], minlength=folds + 1)[1:]
        assert per_class.max() - per_class.min() <= 1


def test_kfold_roles_of_all_folds_cover_the_cells_once() -> None:
    obs = table({"a": 33, "b": 20, "unknown": 4})
    spec = {"regime": "kfold", "folds": 5, "group_by": None, "val_fraction": 0.15}
    tested = np.array([assign_roles(obs, spec | {"fold": fold}, 3) == "test" for fold in range(1, 6)])
    assert (tested.sum(axis=0) == 1).all()


@given(SIZES, st.integers(0, 100))
def test_low_label_is_nested_and_shares_the_test_cells_of_holdout(sizes: dict[str, int], seed: int) -> None:
    obs = table(sizes)
    low = {**HOLDOUT, "regime": "low_label"}
    low.pop("group_by")
    full = assign_roles(obs, HOLDOUT, seed)
    previous = {"train": full == "train", "val": full == "val"}
    for fraction in (0.5, 0.1, 0.05, 0.01):
        roles = assign_roles(obs, low | {"fraction": fraction}, seed)
        assert ((roles == "test") == (full == "test")).all()
        for role, allowed in previous.items():
            chosen = roles == role
            assert (chosen <= allowed).all()
            for label in set(sizes) - {"unknown"}:
                of_class = obs["label_id"] == label
                n = ((full == role) & of_class).sum()
                assert (chosen & of_class).sum() == (max(1, round(n * fraction)) if n else 0)
            previous[role] = chosen


@pytest.mark.parametrize("regime", ["holdout", "kfold"])
def test_grouped_splits_never_share_a_donor(regime: str) -> None:
    obs = table({"a": 80, "b": 60, "c": 40}, donors=7)
    roles = assign_roles(obs, grouped(regime), 1)
    tested = set(obs["donor"][roles == "test"])
    assert tested
    assert not tested & set(obs["donor"][np.isin(roles.astype(str), ["train", "val"])])


def test_too_few_donors_for_the_folds() -> None:
    spec = {"regime": "kfold", "group_by": "donor", "folds": 5, "fold": 1, "val_fraction": 0.15}
    with pytest.raises(DataError, match="2 different values for 5 folds; use fewer folds, or group_by: null"):
        assign_roles(table({"a": 20, "b": 20}, donors=2), spec, 1)
    with pytest.raises(DataError, match="1 different values; one must be held out and another must train"):
        assign_roles(table({"a": 20, "b": 20}, donors=1), HOLDOUT | {"group_by": "donor"}, 1)


@pytest.mark.parametrize("fraction", [0.1, 0.2, 0.4, 0.7])
def test_whole_donors_come_near_to_the_fraction(fraction: float) -> None:
    obs = table({"a": 400, "b": 400}, donors=20)
    largest = max(np.unique(obs["donor"].astype(str), return_counts=True)[1])
    shares = set()
    for seed in range(5):
        roles = assign_roles(obs, HOLDOUT | {"group_by": "donor", "test_fraction": fraction}, seed)
        assert abs((roles == "test").sum() - fraction * len(roles)) <= largest / 2
        shares.add(tuple(np.flatnonzero(roles == "test")))
    assert len(shares) > 1  # drawn, not chosen


@pytest.mark.parametrize("regime", ["holdout", "kfold"])
def test_cells_of_unknown_donor_are_not_used_with_whole_donors(regime: str) -> None:
    obs = table({"a": 100, "b": 100}, donors=5)
    obs["donor"][::7] = "unknown"
    spec = grouped(regime, **({"folds": 3, "fold": 1} if regime == "kfold" else {}))
    for seed in range(5):
        roles = assign_roles(obs, spec, seed)
        assert (roles[::7] == "unused").all()


def test_test_cells_without_any_known_label_are_refused() -> None:
    obs = table({"a": 40, "b": 40})
    obs["label_id"][obs["study"] == "s0"] = "unknown"
    with pytest.raises(DataError, match="no test cell has a known label"):
        assign_roles(obs, CROSS, 1)


def test_the_query_of_a_pair_may_have_no_labels() -> None:
    obs = table({"a": 40, "b": 40})
    obs["part"] = np.where(obs["study"] == "s0", "query", "reference").astype(object)
    obs["label_id"][obs["study"] == "s0"] = "unknown"
    roles = assign_roles(obs, {"regime": "pair", "val_fraction": 0.15}, 1)
    assert ((roles == "test") == (obs["study"] == "s0")).all()


CROSS = {"regime": "cross_study", "held_out": "s0", "rule": {"study": ["s0"]}, "val_fraction": 0.15}


def test_cross_study_holds_out_the_whole_family() -> None:
    obs = table({"a": 40, "b": 40, "unknown": 6})
    roles = assign_roles(obs, CROSS, 1)
    assert ((roles == "test") == (obs["study"] == "s0")).all()
    assert (roles[(obs["study"] != "s0") & (obs["label_id"] == "unknown")] == "unused").all()


@pytest.mark.parametrize(
    ("rule", "part"),
    [
        ({"study": ["s9"]}, "families.s0.study: no cell has the value 's9'"),
        ({"lab": ["x"]}, "families.s0: the prepared data has no column 'lab'"),
        ({"study": ["s0"], "donor": ["d1"]}, "families.s0: no cell matches all of"),
        ({"study": ["s0", "s1"]}, "no cell has the role 'train'"),
    ],
)
def test_families_that_cannot_be_held_out(rule: dict, part: str) -> None:
    obs = table({"a": 40, "b": 40}, donors=2)
    with pytest.raises(DataError, match=part):
        assign_roles(obs, CROSS | {"rule": rule}, 1)


def test_pair_tests_the_query_only() -> None:
    obs = table({"a": 30, "b": 30})
    obs["part"] = np.array(["reference", "query"] * 30, dtype=object)
    roles = assign_roles(obs, {"regime": "pair", "val_fraction": 0.15}, 1)
    assert ((roles == "test") == (obs["part"] == "query")).all()


def test_one_class_only() -> None:
    with pytest.raises(DataError, match=r"one class only \(a\); a classifier needs two"):
        assign_roles(table({"a": 30}), HOLDOUT, 1)


def test_a_class_with_one_cell_trains() -> None:
    obs = table({"a": 30, "b": 30, "c": 1})
    for seed in range(10):
        assert assign_roles(obs, HOLDOUT, seed)[obs["label_id"] == "c"] == "train"


@settings(max_examples=30)
@given(st.data())
def test_a_planted_leak_is_caught(data: st.DataObject) -> None:
    obs = table({"a": 40, "b": 40, "unknown": 5}, donors=6)
    obs["part"] = np.where(obs["study"] == "s0", "query", "reference").astype(object)
    kind = data.draw(st.sampled_from(["donor", "family", "query", "unknown"]))
    spec = {
        "donor": grouped("holdout"),
        "family": CROSS,
        "query": {"regime": "pair", "val_fraction": 0.15},
        "unknown": HOLDOUT,
    }[kind]
    roles = assign_roles(obs, spec, 1)
    if kind == "unknown":
        candidates = np.flatnonzero(obs["label_id"] == "unknown")
    else:
        candidates = np.flatnonzero((roles == "test") & (obs["label_id"] != "unknown"))
    roles[data.draw(st.sampled_from(list(candidates)))] = data.draw(st.sampled_from(["train", "val"]))
    with pytest.raises(DataError, match="training side|unknown label"):
        check_roles(obs, roles, Regime.from_params(spec))


RELEASE = {
    **{"regime": "release", "group_by": "donor", "test_fraction": 0.15, "val_fraction": 0.15},
    **{"split_seed": 1, "multiple": None, "part": "both"},
}


def release(donors: int, each: int = 3) -> dict[str, Any]:
    """A reference of so many donors in the order of their numbers, and a query of two types, one of them new."""
    donor = np.repeat([f"d{i}" for i in range(donors)], each)
    labels = np.where(np.arange(len(donor)) % 2, "a", "b")
    query = np.repeat(["a", "new"], 4)
    return {
        "label_id": np.concatenate([labels, query]).astype(object),
        "donor": np.concatenate([donor, np.full(8, "q")]).astype(object),
        "part": np.repeat(["reference", "query"], [len(donor), 8]).astype(object),
    }


def test_donors_of_the_corpus_of_sctab_are_split_as_published() -> None:
    """5,052 donors: 3,536 train, 758 validate, 758 test, by numpy's shuffle with seed 1 (Fischer et al. 2024)."""
    obs = release(5052, each=1)
    roles = assign_roles(obs, {**RELEASE, "part": "reference"}, seed=7)
    donors = [f"d{i}" for i in range(5052)]
    np.random.default_rng(seed=1).shuffle(donors)
    parts = {"train": donors[:3536], "val": donors[3536:4294], "test": donors[4294:]}
    for role, expected in parts.items():
        assert set(obs["donor"][roles == role]) == set(expected)


def test_one_fit_is_scored_on_its_own_release_and_on_the_next() -> None:
    obs = release(20)
    both, own, new = (assign_roles(obs, {**RELEASE, "part": part}, 3) for part in ("both", "reference", "query"))
    query = obs["part"] == "query"
    for roles in (own, new):  # the same cells train and select
        for role in ("train", "val"):
            assert ((roles == role) == (both == role)).all()
    assert ((both == "test") == ((own == "test") | (new == "test"))).all()
    assert not (own[query] == "test").any()
    assert obs["label_id"][new == "test"].tolist() == ["a"] * 4  # a type that no training cell has is not used
    again = assign_roles(obs, {**RELEASE, "part": "both"}, 4)
    assert (again == both).all()
    other = assign_roles(obs, {**RELEASE, "split_seed": None}, 4)
    assert (other != both).any()


def test_cells_of_a_release_may_be_cut_to_a_multiple_or_drawn_one_by_one() -> None:
    obs = release(40, each=10)
    cut = assign_roles(obs, {**RELEASE, "multiple": 16}, 1)
    own = obs["part"] == "reference"
    assert [int(((cut == role) & own).sum()) for role in ("train", "val", "test")] == [272, 48, 48]  # of 280, 60 and 60
    drawn = assign_roles(obs, {**RELEASE, "group_by": None}, 1)
    assert [int(((drawn == role) & own).sum()) for role in ("val", "test")] == [51, 60]
    with pytest.raises(DataError, match="2 different values, 1 of them for test and 1 for validation, leave none"):
        assign_roles(release(2), RELEASE, 1)
    with pytest.raises(DataError, match="multiple 100: only 60 cells have the role 'val'"):
        assign_roles(obs, {**RELEASE, "multiple": 100}, 1)
    shared = obs | {"donor": np.where(own, obs["donor"], "d1").astype(object)}
    with pytest.raises(DataError, match="donor 'd1' has cells .*; give donors of the query names of their own"):
        assign_roles(shared, RELEASE, 1)


DRAWN = {
    "holdout": (HOLDOUT, "8c732623e2fb"),
    "holdout of donors": (grouped("holdout"), "b10f0008aa8a"),
    "kfold": ({"regime": "kfold", "folds": 3, "fold": 2, "group_by": None, "val_fraction": 0.15}, "4b069b0b9b2f"),
    "low_label": ({"regime": "low_label", "test_fraction": 0.2, "val_fraction": 0.15, "fraction": 0.1}, "77ff09775c1f"),
    "cross_study": (CROSS, "d9fe93d61074"),
    "pair": ({"regime": "pair", "val_fraction": 0.15}, "d9fe93d61074"),
    "release": (RELEASE | {"split_seed": None}, "3d4fe9c8b784"),
    "release of cells": (RELEASE | {"group_by": None, "split_seed": 3, "multiple": 4}, "82bb75373bcc"),
}


@pytest.mark.parametrize("name", DRAWN)
def test_draws_stay_what_they_are(name: str) -> None:
    """Fits and scores of earlier runs hold only as long as a seed draws the same cells."""
    obs = table({"a": 90, "b": 60, "c": 7, "d": 1, "unknown": 12}, donors=12, seed=5)
    obs["part"] = np.where(obs["study"] == "s0", "query", "reference").astype(object)
    settings, expected = DRAWN[name]
    assert sha256("".join(assign_roles(obs, settings, 7)).encode()).hexdigest()[:12] == expected
