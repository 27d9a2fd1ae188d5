"""What is promised: never more than the cap, exact shares, nothing for free."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from annobench.balance import select_cells, share_out
from annobench.errors import DataError


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
    chosen = select_cells(labels, sources, {"policy": "cap", "max_cells": cap, "min_cells": floor}, seed)
    assert (np.diff(chosen) > 0).all()
    for label in "abcd":
        n, kept = (labels == label).sum(), (labels[chosen] == label).sum()
        assert kept == (min(n, cap) if n >= floor else 0)


def test_none_keeps_everything() -> None:
    labels = np.array(["a", "b", "a"], dtype=object)
    assert list(select_cells(labels, labels, {"policy": "none"}, 1)) == [0, 1, 2]


def test_seeds_decide_which_cells() -> None:
    labels = np.array(["a"] * 100, dtype=object)
    policy = {"policy": "cap", "max_cells": 10, "min_cells": 1}
    first, again, other = (select_cells(labels, labels, policy, seed) for seed in (1, 1, 2))
    assert (first == again).all()
    assert (first != other).any()


def test_a_floor_above_every_class_is_refused() -> None:
    labels, sources = np.array(["a"] * 5 + ["b"] * 3), np.array(["s"] * 8)
    with pytest.raises(DataError, match=r"no class has 9 training cells \(the largest has 5\)"):
        select_cells(labels, sources, {"policy": "cap", "max_cells": 10, "min_cells": 9}, 1)
