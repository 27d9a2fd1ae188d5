"""What is promised: above a cut the error is at most the wanted one, in all but a few worlds; and so with sets."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from annobench.fit.calibration import Platt
from annobench.fit.cuts import RISK, Ladder, binomial_below, conformal_threshold, exact_interval


def test_by_hand() -> None:
    confidence = np.repeat([0.9, 0.8, 0.7], 100)
    right = np.ones(300, dtype=bool)
    right[[5, 6, *range(110, 115), *range(200, 260)]] = False  # 2, 5 and 60 wrong ones
    ladder = Ladder.of(confidence, right)
    assert ladder.cuts.tolist() == [0.9, 0.8, 0.7]
    assert ladder.kept.tolist() == [100, 200, 300]
    assert ladder.wrong.tolist() == [2, 7, 67]
    # of 100 at most 4 may be wrong for 10 % at most, and so on; 2 of 100 do not show an error of at most 5 %
    assert ladder.cut(0.05) is None
    cut = ladder.cut(0.1)
    assert cut is not None
    assert (cut.confidence, cut.kept, cut.error) == (0.8, pytest.approx(2 / 3), 7 / 200)
    assert cut.low < cut.error < cut.high < 0.1
    # the sequence ends at the first cut that fails, whatever comes later
    assert ladder.cut(0.3) == Ladder.restore(ladder.state()).cut(0.3)
    assert ladder.cut(0.28) is not None
    late = Ladder.of(np.repeat([0.9, 0.1], [100, 2000]), np.arange(2100) >= 30)
    assert late.wrong.tolist()[-1] / 2100 < 0.02
    assert late.cut(0.05) is None


def test_too_few_cells_show_nothing() -> None:
    assert Ladder.of(np.linspace(0, 1, 58), np.ones(58, dtype=bool)).cut(0.05) is None  # 0.95 ** 58 > 0.05
    cut = Ladder.of(np.linspace(0, 1, 59), np.ones(59, dtype=bool)).cut(0.05)
    assert cut is not None
    assert (cut.confidence, cut.kept) == (0, 1)
    assert Ladder.of(np.empty(0), np.empty(0, dtype=bool)).cut(0.5) is None


@given(st.integers(0, 80), st.integers(0, 80), st.floats(0.001, 0.999))
def test_counts_are_those_of_scipy(k: int, more: int, p: float) -> None:
    n = k + more
    assert binomial_below(k, n, p) == pytest.approx(stats.binom.cdf(k, n, p), abs=1e-9)
    if n:
        expected = stats.binomtest(k, n).proportion_ci(0.95, "exact")
        assert exact_interval(k, n) == pytest.approx(tuple(expected), abs=1e-9)


@given(st.lists(st.tuples(st.integers(0, 6).map(lambda i: i / 6), st.booleans()), max_size=200))
def test_a_ladder_counts_the_cells_at_and_above_its_cuts(cells: list[tuple[float, bool]]) -> None:
    confidence = np.array([c for c, _ in cells])
    right = np.array([r for _, r in cells], dtype=bool)
    ladder = Ladder.of(confidence, right)
    for cut, kept, wrong in zip(ladder.cuts, ladder.kept, ladder.wrong, strict=True):
        assert kept == (confidence >= cut).sum()
        assert wrong == (~right[confidence >= cut]).sum()
    cuts = [ladder.cut(error) for error in (0.05, 0.1, 0.3)]
    found = [1.1 if cut is None else cut.confidence for cut in cuts]
    assert found == sorted(found, reverse=True)  # a lower error never has a lower cut


def world(rng: np.random.Generator, n: int, sharpness: float) -> tuple[np.ndarray, np.ndarray]:
    """Decision values, over- or underconfident, and which cells are right."""
    chance = rng.beta(4, 1, n)
    score = sharpness * np.log(chance / (1 - chance)) + rng.normal(0, 0.5, n)
    return score, rng.random(n) < chance


def test_the_error_at_the_cut_holds_in_simulated_worlds() -> None:
    broken = {0.05: 0, 0.1: 0}
    kept = {0.05: 0, 0.1: 0}
    for seed in range(20):
        rng = np.random.default_rng(seed)
        sharpness = rng.uniform(0.3, 3)
        score, right = world(rng, 1500, sharpness)
        calibration = Platt(score, right)
        ladder = Ladder.of(calibration(score), right)
        new, new_right = world(rng, 200_000, sharpness)
        for wanted in broken:
            cut = ladder.cut(wanted)
            if cut is not None:
                above = calibration(new) >= cut.confidence
                broken[wanted] += (~new_right[above]).mean() > wanted
                kept[wanted] += 1
    # where every world breaks with a chance of 5 %, more than 3 of 20 are as rare as 1.6 %
    assert max(broken.values()) <= stats.binom.ppf(0.98, 20, RISK)
    assert min(kept.values()) >= 15  # the promise is not kept by keeping nothing


def test_the_cut_uses_what_is_allowed() -> None:
    """The error above it is not far below the wanted one where there are many cells."""
    rng = np.random.default_rng(1)
    score, right = world(rng, 40_000, 1)
    cut = Ladder.of(score, right).cut(0.1)
    assert cut is not None
    new, new_right = world(rng, 200_000, 1)
    assert 0.09 < (~new_right[new >= cut.confidence]).mean() <= 0.1


def test_conformal_sets_hold_the_true_class() -> None:
    rng = np.random.default_rng(0)
    covered = []
    for _ in range(200):
        p = rng.dirichlet(np.full(4, 0.5), 150)
        truth = np.array([rng.choice(4, p=row) for row in p])
        own = (p**2 / (p**2).sum(axis=1, keepdims=True))[np.arange(150), truth]
        covered.append((own[100:] >= conformal_threshold(own[:100], 0.1)).mean())
    assert np.mean(covered) == pytest.approx(0.9, abs=0.02)
    assert conformal_threshold(np.array([0.2, 0.9, 0.5]), 0.25) == 0.2
    assert conformal_threshold(np.array([0.2, 0.9, 0.5]), 0.5) == 0.5
    assert conformal_threshold(np.array([0.2, 0.9, 0.5]), 0.2) == 0  # three cells cannot rule out a fifth
    assert conformal_threshold(np.array([]), 0.1) == 0
