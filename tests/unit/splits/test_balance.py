"""What is promised: never more than the cap, exact shares, nothing for free."""

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from annobench.config.split import BalanceSettings
from annobench.core.errors import DataError
from annobench.splits.balance import select
from annobench.splits.balance.proportions import totals_with_shares
from annobench.splits.balance.select import SHARES, equal, fill, proportional, share_out
from annobench.splits.balance.spatialcore import source_targets, target_totals
from annobench.splits.spec import BalanceSpec

SPATIALCORE = {"policy": "spatialcore", "min_cells": 50, "min_per_source": 50, "share": "proportional"}
PLAIN = {"share": "proportional", "min_per_source": 0}


def select_cells(
    labels: np.ndarray, sources: np.ndarray, policy: dict[str, object], seed: int, names: dict[str, str] | None = None
) -> np.ndarray:
    """Selection by a policy, as an entry of a study has it."""
    spec = BalanceSpec(BalanceSettings.from_params(policy), seed)
    return select.select_cells(labels, sources, spec, names=names)


@given(st.lists(st.integers(1, 500), min_size=1, max_size=30), st.data())
def test_shares_add_up_exactly_and_stay_within_what_there_is(sizes: list[int], data: st.DataObject) -> None:
    total = data.draw(st.integers(0, sum(sizes)))
    share = share_out(total, np.array(sizes))
    assert share.sum() == total
    assert (share >= 0).all()
    assert (share <= sizes).all()
    assert (np.abs(share - np.array(sizes) * total / sum(sizes)) < 1).all()


@given(st.integers(1, 60), st.integers(1, 20), st.integers(0, 50))
def test_cap_is_exact_and_floor_leaves_classes_out(cap: int, floor: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    labels = rng.choice(np.array(list("abcd"), dtype=object), 200, p=[0.6, 0.3, 0.07, 0.03])
    sources = rng.choice(np.array(["s1", "s2", "s3"], dtype=object), 200)
    chosen = select_cells(labels, sources, {"policy": "cap", "max_cells": cap, "min_cells": floor, **PLAIN}, seed)
    assert (np.diff(chosen) > 0).all()
    for label in "abcd":
        n, kept = (labels == label).sum(), (labels[chosen] == label).sum()
        assert kept == (min(n, cap) if n >= floor else 0)


def test_none_keeps_everything() -> None:
    labels = np.array(["a", "b", "a"], dtype=object)
    assert list(select_cells(labels, labels, {"policy": "none"}, 1)) == [0, 1, 2]


def test_seeds_decide_which_cells() -> None:
    labels = np.array(["a"] * 100, dtype=object)
    policy = {"policy": "cap", "max_cells": 10, "min_cells": 1, **PLAIN}
    first, again, other = (select_cells(labels, labels, policy, seed) for seed in (1, 1, 2))
    assert (first == again).all()
    assert (first != other).any()


def test_a_floor_above_every_class_is_refused() -> None:
    labels, sources = np.array(["a"] * 5 + ["b"] * 3), np.array(["s"] * 8)
    with pytest.raises(DataError, match=r"no class has 9 training cells \(the largest has 5\)"):
        select_cells(labels, sources, {"policy": "cap", "max_cells": 10, "min_cells": 9, **PLAIN}, 1)


@pytest.mark.parametrize("name", sorted(SHARES))
@given(sizes=st.lists(st.integers(1, 300), min_size=1, max_size=40), floor=st.integers(0, 60), data=st.data())
def test_the_cap_is_exact_and_floors_hold(name: str, sizes: list[int], floor: int, data: st.DataObject) -> None:
    total = data.draw(st.integers(1, sum(sizes)))
    share = SHARES[name](total, np.array(sizes), floor)
    base = np.minimum(sizes, floor)
    assert share.sum() == total
    assert (share >= 0).all()
    assert (share <= sizes).all()
    if name != "equal" and base.sum() <= total:
        assert (share >= base).all()
    if name == "equal":  # nobody has two more than one who could give more
        open_ = share < np.array(sizes)
        assert not open_.any() or share.max() <= share[open_].min() + 1


def test_shares_by_hand() -> None:
    sizes = np.array([100, 50, 10])
    assert proportional(80, sizes, 0).tolist() == [50, 25, 5]
    assert proportional(80, sizes, 8).tolist() == [48, 24, 8]
    assert equal(80, sizes, 0).tolist() == [35, 35, 10]
    assert fill(120, sizes, 0).tolist() == [100, 20, 0]
    assert fill(120, sizes, 5).tolist() == [100, 15, 5]
    assert proportional(6, sizes, 5).tolist() == [2, 2, 2]  # the cap goes before the floor


def counts(sizes: dict[str, dict[str, int]], **policy: object) -> dict[str, int]:
    """Cells that are kept of every class; `sizes` says how many of it every source has."""
    pairs = [(label, source) for label, part in sizes.items() for source, n in part.items() for _ in range(n)]
    labels, sources = (np.array(column, dtype=object) for column in zip(*pairs, strict=True))
    usual = {"min_cells": 1, **PLAIN} if policy["policy"] == "cap" else SPATIALCORE
    chosen = select_cells(labels, sources, usual | policy, 1, names={label: label.upper() for label in sizes})
    return {label: int((labels[chosen] == label).sum()) for label in sizes}


# what the documentation of SpatialCore says, what its code does, and what the exact rule gives
PUBLISHED = [
    ("proportional", {"a": 8100, "b": 300}, 2000, "proportional", 2001, 2000),
    ("equal", {"a": 8100, "b": 300}, 2000, "equal", 2000, 2000),
    ("one class of two names, 5:1", {"a": 5000, "b": 1000}, 2000, "proportional", 2001, 2000),
    ("index page", {"a": 30_000, "b": 5000}, 10_000, "proportional", 10_001, 10_000),
    ("forty sources", {"a": 10_000} | {f"s{i}": 60 for i in range(39)}, 1000, "proportional", 2761, 1000),
]


@pytest.mark.parametrize("row", PUBLISHED, ids=lambda row: row[0])
def test_published_examples_by_both_rules(row: tuple) -> None:
    _, sizes, cap, share, published, exact = row
    assert counts({"x": sizes}, policy="spatialcore", max_cells=cap, share=share) == {"x": published}
    assert counts({"x": sizes}, policy="cap", max_cells=cap, share=share, min_per_source=50) == {"x": exact}


@pytest.mark.parametrize(
    ("sizes", "cap", "share", "published", "exact"),
    [
        ([8100, 300], 2000, "proportional", [1929, 72], [1929, 71]),
        ([8100, 300], 2000, "equal", [1700, 300], [1700, 300]),
        ([5000, 1000], 2000, "proportional", [1667, 334], [1667, 333]),
        ([30_000, 5000], 10_000, "proportional", [8572, 1429], [8571, 1429]),
        ([10_000, *[60] * 39], 1000, "proportional", [811, *[50] * 39], None),
    ],
)
def test_shares_of_the_sources_by_both_rules(
    sizes: list[int], cap: int, share: str, published: list[int], exact: list[int] | None
) -> None:
    of = np.array(sizes)
    assert source_targets(cap, of, np.arange(len(of)), share, 50).tolist() == published
    if exact:
        assert SHARES[share](cap, of, 50).tolist() == exact


def test_without_grouping_two_names_of_one_type_are_two_classes() -> None:
    sizes = {"a": {"s": 5000}, "b": {"t": 1000}}
    for policy in ("spatialcore", "cap"):
        assert counts(sizes, policy=policy, max_cells=2000) == {"a": 2000, "b": 1000}


def test_fifty_cells_are_the_least_of_the_published_rule() -> None:
    sizes = {"a": {"s": 49}, "b": {"s": 50}, "c": {"s": 51}}
    assert counts(sizes, policy="spatialcore", max_cells=20) == {"a": 0, "b": 50, "c": 50}  # the floor per source
    assert counts(sizes, policy="spatialcore", max_cells=20, min_per_source=0) == {"a": 0, "b": 50, "c": 20}
    assert counts(sizes, policy="cap", max_cells=20, min_cells=50) == {"a": 0, "b": 20, "c": 20}


def test_what_is_missing_comes_from_the_first_source_of_the_data() -> None:
    of = np.array([500, 10, 500])  # sorted by name
    assert source_targets(300, of, np.array([2, 0, 1]), "equal", 50).tolist() == [100, 10, 190]
    assert source_targets(300, of, np.array([0, 2, 1]), "equal", 50).tolist() == [190, 10, 100]
    labels = np.array(["x"] * 1010, dtype=object)
    sources = np.array(["c"] * 500 + ["a"] * 500 + ["b"] * 10, dtype=object)
    chosen = select_cells(labels, sources, SPATIALCORE | {"max_cells": 300, "share": "equal"}, 1)
    assert [int((sources[chosen] == name).sum()) for name in "abc"] == [100, 10, 190]


def test_a_quarter_of_a_percent_of_natural_killer_cells() -> None:
    """Documented as 62 of 25,000; the share of the final total is 50 by either rule, and 62 where others are 25,000."""
    share = {"target_proportions": {"nk": 0.0025}}
    sorted_ = {"nk": {"s": 5000}, "a": {"s": 10_000}, "b": {"s": 10_000}}
    for policy in ("cap", "spatialcore"):
        assert counts(sorted_, policy=policy, max_cells=10_000, **share)["nk"] == 50
    more = sorted_ | {"c": {"s": 5000}}
    assert counts(more, policy="spatialcore", max_cells=10_000, **share)["nk"] == 62
    assert counts(more, policy="cap", max_cells=10_000, **share)["nk"] in (62, 63)
    few = {"nk": {"s": 5000}, "a": {"s": 1000}}
    assert counts(few, policy="spatialcore", max_cells=10_000, **share)["nk"] == 50  # its floor, 20 times the share
    assert counts(few, policy="cap", max_cells=10_000, **share)["nk"] in (2, 3)


def test_the_published_rule_ignores_the_cap_for_listed_classes_and_may_give_up() -> None:
    sizes = {"a": {"s": 5000}, "b": {"s": 2000}}
    half = {"target_proportions": {"a": 0.6}}
    assert counts(sizes, policy="spatialcore", max_cells=2000, **half) == {"a": 3000, "b": 2000}
    assert counts(sizes, policy="cap", max_cells=2000, **half) == {"a": 2000, "b": 2000}
    shares = dict(enumerate([0.0471, 0.0943, 0.1414, 0.1886, 0.2357, 0.2829], start=1))
    with pytest.raises(DataError, match="no total within 50 rounds, as the original"):
        target_totals(np.array([114] + [10**6] * 6), 10**5, 1, shares)


@st.composite
def wishes(draw: st.DrawFn) -> tuple[np.ndarray, dict[int, float], int]:
    """What the cap allows of every class, shares of some, and min_cells."""
    low = draw(st.integers(1, 60))
    allowed = np.array(draw(st.lists(st.integers(low, 3000), min_size=2, max_size=12)))
    listed = draw(st.sets(st.integers(0, len(allowed) - 1), min_size=1))
    weights = {i: draw(st.integers(1, 1000)) for i in sorted(listed)}
    whole = 1.0 if len(listed) == len(allowed) else draw(st.floats(0.01, 0.99))
    return allowed, {i: whole * n / sum(weights.values()) for i, n in weights.items()}, low


@settings(max_examples=400, deadline=None)
@given(wishes())
def test_shares_are_met_within_one_cell_or_a_bound_says_why(wish: tuple[np.ndarray, dict[int, float], int]) -> None:
    allowed, shares, low = wish
    found = totals_with_shares(allowed, shares, low)
    assert (found <= allowed).all()  # never above the cap, nor above what there is
    assert (found >= np.minimum(low, allowed)).all()
    others = [i for i in range(len(allowed)) if i not in shares]
    assert (found[others] == allowed[others]).all()
    relative = 1 / sum(shares.values()) if not others else 1.0
    for i, share in shares.items():
        wanted = share * relative * found.sum()
        if abs(found[i] - wanted) >= 1 + 1e-6:
            too_few = found[i] == allowed[i] and found[i] < wanted
            floor = found[i] == min(low, allowed[i]) and found[i] > wanted
            assert too_few or floor


@settings(deadline=None)
@given(wishes())
def test_shares_that_can_be_met_are_met(wish: tuple[np.ndarray, dict[int, float], int]) -> None:
    allowed, shares, _ = wish
    whole = sum(shares.values())
    rest = allowed.sum() - allowed[list(shares)].sum()
    total = rest / (1 - whole) if rest else min(allowed[i] / p for i, p in shares.items())
    wanted = {i: p * total for i, p in shares.items()}
    if all(1 <= wanted[i] <= allowed[i] for i in shares):
        found = totals_with_shares(allowed, shares, 1)
        assert abs(found.sum() - total) < 1
        assert all(abs(found[i] - p * found.sum()) < 1 + 1e-6 for i, p in shares.items())


def test_shares_by_hand_of_the_whole() -> None:
    allowed = np.array([1000, 500, 500])
    assert totals_with_shares(allowed, {0: 0.2}, 1).tolist() == [250, 500, 500]
    assert totals_with_shares(allowed, {0: 0.9}, 1).tolist() == [1000, 500, 500]  # too few; below its share
    assert totals_with_shares(allowed, {0: 0.6, 1: 0.1}, 1).tolist() == [1000, 166, 500]  # 0.1 of what can be reached
    assert totals_with_shares(allowed, {0: 0.001}, 40).tolist() == [40, 500, 500]
    assert totals_with_shares(allowed, {0: 0.5, 1: 0.25, 2: 0.25}, 1).tolist() == [1000, 500, 500]
    assert totals_with_shares(allowed, {0: 0.2, 1: 0.4, 2: 0.4}, 1).tolist() == [250, 500, 500]
    assert totals_with_shares(np.array([1000, 0, 500]), {0: 0.2, 1: 0.8}, 1).tolist() == [125, 0, 500]  # 1 is left out


def test_shares_are_named_by_id_or_by_the_label() -> None:
    sizes = {"nk": {"s": 100}, "b": {"s": 100}}
    for key in ("nk", "NK"):
        assert counts(sizes, policy="cap", max_cells=100, target_proportions={key: 0.2}) == {"nk": 25, "b": 100}
    for shares, message in [
        ({"NKK": 0.2}, "'NKK' is not a class of the dataset; did you mean 'NK'?"),
        ({"nk": 0.2, "NK": 0.1}, "'nk' and 'NK' are one class"),
        ({"nk": 0.5, "b": 0.5, "unknown": 0.1}, "'unknown' is not a class of the dataset"),
    ]:
        with pytest.raises(DataError, match=re.escape(message)):
            counts(sizes, policy="cap", max_cells=100, target_proportions=shares)
    names = {"nk": "NK", "b": "B", "c": "C"}  # a class of the dataset that does not train here drops out
    labels = np.array(["nk"] * 100 + ["b"] * 100, dtype=object)
    policy = {"policy": "cap", "max_cells": 100, "min_cells": 1, **PLAIN, "target_proportions": {"C": 0.5, "NK": 0.2}}
    assert len(select_cells(labels, labels, policy, 1, names)) == 125
    with pytest.raises(DataError, match="'X' is the name of several classes"):
        select_cells(labels, labels, policy | {"target_proportions": {"X": 0.1}}, 1, {"nk": "X", "b": "X"})


@pytest.mark.parametrize("policy", ["cap", "spatialcore"])
def test_shares_that_leave_no_room_are_refused(policy: str) -> None:
    sizes = {name: {"s": 100} for name in "abc"}
    with pytest.raises(DataError, match="leaves no room for"):
        counts(sizes, policy=policy, max_cells=80, target_proportions={"a": 0.5, "b": 0.5})


def test_whatever_the_order_of_cells_the_counts_are_the_same() -> None:
    rng = np.random.default_rng(1)
    labels, sources = (
        rng.choice(np.array(list("abc"), dtype=object), 300),
        rng.choice(np.array(["x", "y"], dtype=object), 300),
    )
    order = rng.permutation(300)
    policy = {"policy": "cap", "max_cells": 40, "min_cells": 1, "share": "equal", "min_per_source": 0}
    counts = []
    for at in (np.arange(300), order):
        chosen = at[select_cells(labels[at], sources[at], policy, 3)]
        pairs = [f"{a}{b}" for a, b in zip(labels[chosen], sources[chosen], strict=True)]
        counts.append(dict(zip(*np.unique(pairs, return_counts=True), strict=True)))
    assert counts[0] == counts[1]
