"""What is promised: every embedding is measured once, part by part, and a collapsed one is refused."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from annobench.core.errors import PredictionError
from annobench.fit import embedding_checks
from annobench.fit.embedding import Embedding, write_embedding
from annobench.fit.embedding_checks import Geometry, GeometryOfParts, effective_rank

CROSS = np.array([[3, 0], [-3, 0], [0, 1], [0, -1]]) / np.sqrt(2)  # singular values 3 and 1


def ids(n: int) -> np.ndarray:
    return np.array([f"c{i}" for i in range(n)], dtype=object)


@pytest.mark.parametrize(
    ("values", "rank"),
    [
        (CROSS, 0.75**-0.75 * 0.25**-0.25),  # exp(-(0.75 ln 0.75 + 0.25 ln 0.25)) = 1.7548
        (CROSS + np.array([5, -70]), 0.75**-0.75 * 0.25**-0.25),  # centred
        (CROSS / [3, 1], 2),
        (np.outer([1, 2, 3], [1, -1, 2]), 1),
        (np.array([[2, 3], [2, 3]]), 0),
    ],
)
def test_effective_rank_by_hand(values: np.ndarray, rank: float) -> None:
    assert Geometry.of(values).effective_rank == pytest.approx(rank, abs=1e-6)


def test_effective_rank_of_singular_values() -> None:
    assert effective_rank(np.array([2.0, 2.0, 0.0, 2.0])) == pytest.approx(3)
    assert effective_rank(np.zeros(3)) == 0


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    n=st.integers(2, 40),
    d=st.integers(1, 12),
    cuts=st.lists(st.integers(0, 40), max_size=3),
    offset=st.sampled_from([0.0, 3.0, 1000.0]),
)
def test_parts_give_what_the_singular_values_give(seed: int, n: int, d: int, cuts: list[int], offset: float) -> None:
    rng = np.random.default_rng(seed)
    values = (rng.normal(size=(n, d)) * rng.uniform(0.1, 3, d) + offset).astype(np.float32)
    parts = GeometryOfParts(d)
    for start, end in pairwise(sorted([0, n, *(min(cut, n) for cut in cuts)])):
        parts.add(values[start:end])
    found = parts.result()
    exact = values.astype(np.float64)
    singular = np.linalg.svd(exact - exact.mean(axis=0), compute_uv=False)
    shares = singular[singular > 1e-9 * singular[0]]
    shares = shares / shares.sum()
    assert found.effective_rank == pytest.approx(np.exp(-(shares * np.log(shares)).sum()), rel=1e-4)
    assert found.largest_deviation == pytest.approx(exact.std(axis=0).max(), rel=1e-6)
    assert (found.cells, found.dimensions, found.collapsed_dimensions) == (n, d, 0)


def test_collapsed_dimensions_are_counted() -> None:
    values = np.random.default_rng(0).normal(size=(50, 5))
    values[:, 1] = 7  # constant
    values[:, 3] *= 1e-8  # rounding
    values[:, 4] *= 1e-3  # small, but not nothing
    assert Geometry.of(values).collapsed_dimensions == 2
    assert Geometry.of(np.ones((3, 4))).collapsed_dimensions == 4


def test_unit_rows_are_noticed() -> None:
    values = np.random.default_rng(0).normal(size=(50, 5))
    unit = values / np.linalg.norm(values, axis=1, keepdims=True)
    assert Geometry.of(unit.astype(np.float16)).unit_norm
    assert not Geometry.of(values).unit_norm
    assert not Geometry.of(np.concatenate([unit, values[:1]])).unit_norm


def test_a_very_wide_embedding_has_no_effective_rank(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedding_checks, "MOST_DIMENSIONS", 4)
    found = Geometry.of(np.random.default_rng(0).normal(size=(9, 5)))
    assert found.effective_rank is None
    assert found.notes()["effective_rank"] == "not computed"
    assert not found.is_constant


def test_an_embedding_that_differs_by_rounding_is_refused(tmp_path: Path) -> None:
    values = np.full((20, 4), 0.37) + np.random.default_rng(0).normal(size=(20, 4)) * 3e-8
    with pytest.raises(PredictionError, match=r"the same for every cell but for rounding: .* beside values of 0.37"):
        write_embedding(tmp_path / "e.npz", {"test": ids(20)}, [Embedding(ids(20), values)])
    assert list(tmp_path.iterdir()) == []


def test_small_values_are_no_rounding(tmp_path: Path) -> None:
    values = np.random.default_rng(0).normal(size=(20, 4)) * 1e-9
    write_embedding(tmp_path / "e.npz", {"test": ids(20)}, [Embedding(ids(20), values)])


def test_what_is_written_says_what_was_found(tmp_path: Path) -> None:
    parts = [Embedding(ids(4)[i : i + 2], CROSS[i : i + 2]) for i in (0, 2)]
    first = write_embedding(tmp_path / "a.npz", {"train": ids(4)[:1], "test": ids(4)[1:]}, parts)
    second = write_embedding(tmp_path / "b.npz", {"test": ids(4)}, [Embedding(ids(4), CROSS)])
    other = write_embedding(tmp_path / "c.npz", {"test": ids(4)}, [Embedding(ids(4), -CROSS)])
    assert first.sha256 == second.sha256 != other.sha256
    assert first.geometry.notes() == {
        "cells": 4,
        "dimensions": 2,
        "effective_rank": 1.755,
        "collapsed_dimensions": 0,
        "unit_norm": False,
    }
