"""What is promised: never more than the cap, exact shares, nothing for free."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from annobench.balance import SHARES, equal, fill, proportional, select_cells, share_out
from annobench.errors import DataError

PLAIN = {"share": "proportional", "min_per_source": 0}


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


def test_forty_sources_never_exceed_the_cap() -> None:
    """Rounding up for each source, as published, gives 2,761 cells here."""
    labels = np.array(["a"] * 40 * 500, dtype=object)
    sources = np.repeat(np.array([f"s{i}" for i in range(40)], dtype=object), 500)
    policy = {"policy": "cap", "max_cells": 1000, "min_cells": 1, "share": "proportional", "min_per_source": 50}
    chosen = select_cells(labels, sources, policy, 1)
    assert len(chosen) == 1000
    assert set(np.unique(sources[chosen].astype(str), return_counts=True)[1]) == {25}


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
