"""What is promised: sums over units behave as the cells behind them, and values of fits as what they are."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from annobench.core.parquet import Categorical
from annobench.score import statistics as stats
from annobench.score.counts import sums_where
from annobench.score.evidence import Evidence
from annobench.score.metric import COUNTS, FITS, SUMS, Metric
from annobench.score.registry import FAMILIES, METRICS, rows_of
from annobench.score.samples import FitValue, UnitSums, evaluate
from annobench.score.units import Units
from helpers import scored

CLASSES = ["A", "A1", "B"]
OF_SUMS = [metric for metric in METRICS.values() if metric.basis == SUMS]


def evidence(cells: np.ndarray, seed: int, units: int = 5) -> Evidence:
    """Some of 60 random cells, each of which may be there several times."""
    rng = np.random.default_rng(seed)
    shares = rng.dirichlet(np.full(3, 0.5), 60)
    order = np.argsort(-shares, axis=1)
    truth, unit = rng.integers(0, 3, 60), rng.integers(0, units, 60)
    names = np.array(CLASSES, dtype=object)
    more: dict[str, Any] = {"confidence": shares.max(axis=1)[cells], "is_probability": True, "training": CLASSES}
    more |= {"probabilities": shares[cells], "probability_classes": CLASSES, "bins": 7}
    found = Evidence(scored(names[truth][cells], names[order][cells], **more))
    found.units = Units("donor", Categorical.of(np.array([f"d{i}" for i in unit[cells]], dtype=object)))
    return found


def sums(one: Evidence, metric: Metric) -> UnitSums:
    family = FAMILIES[metric.family]
    assert family.unit_sums
    return UnitSums(one.units.names, one.sums(family.name, family.unit_sums)[metric.name])


def of_labels() -> list[Metric]:
    """Metrics of sums over cells with predicted labels."""
    return [one for one in OF_SUMS if FAMILIES[one.family].needs == ("predictions",)]


def test_every_metric_says_what_it_comes_from() -> None:
    assert {metric.name for metric in OF_SUMS} >= {"ece", "brier", "accuracy_top1", "accuracy_top5"}
    for metric in METRICS.values():
        assert metric.basis in (COUNTS, SUMS, FITS)
        assert metric.from_counts is None or metric.from_sums is None
    for metric in OF_SUMS:
        assert FAMILIES[metric.family].unit_sums is not None


@given(st.integers(0, 2**32 - 1), st.lists(st.integers(0, 3), min_size=5, max_size=5))
@settings(max_examples=30, deadline=None)
def test_weighted_sums_are_those_of_repeated_cells(seed: int, weights: list[int]) -> None:
    once = evidence(np.arange(60), seed)
    of_unit = dict(zip(once.units.names, weights, strict=False))
    units = once.units.of_cells.to_text()
    repeated = np.repeat(np.arange(60), [of_unit[unit] for unit in units])
    if not len(repeated):
        return
    again = evidence(repeated, seed)
    drawn = np.array([[of_unit[unit] for unit in once.units.names]], dtype=float)
    for metric in (one for one in of_labels() if one.name != "accuracy_top5"):  # there are three classes
        weighted = evaluate(metric, sums(once, metric).weighted(drawn))
        assert weighted[0] == pytest.approx(float(evaluate(metric, sums(again, metric).observed()))), metric.name
        rows = {row.metric: row.value for row in rows_of(again) if row.level == "overall"}
        assert weighted[0] == pytest.approx(rows[metric.name]), metric.name


def test_swapped_sums_are_those_of_swapped_cells() -> None:
    metric = METRICS["brier"]
    first, second = (sums(evidence(np.arange(60), seed), metric) for seed in (1, 2))
    second = UnitSums(first.units, {part: values.copy() for part, values in second.parts.items()})
    second.parts["sum"][2] = first.parts["sum"][2]
    second = UnitSums(first.units, {**second.parts, "n": first.parts["n"]})
    assert first.matches(second)
    assert first.differing(second).tolist() == [0, 1, 3, 4]
    swaps = np.array([[0, 0, 0, 0], [1, 1, 1, 1], [1, 0, 0, 0]], dtype=bool)
    a, b = (evaluate(metric, one) for one in first.swapped(second, first.differing(second), swaps))
    values = [float(evaluate(metric, one.observed())) for one in (first, second)]
    assert (a[0], b[0]) == pytest.approx(values)
    assert (a[1], b[1]) == pytest.approx(values[::-1])
    assert a[2] == pytest.approx(values[0] + (second.parts["sum"][0] - first.parts["sum"][0]) / first.parts["n"].sum())


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 400), st.integers(1, 9), st.integers(0, 2**32 - 1))
def test_sums_over_chosen_units_are_those_of_a_product(replicates: int, units: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    chosen, counts = rng.random((replicates, units)) < 0.5, rng.integers(-9, 9, (units, 3)) * 1.0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("annobench.score.counts._CACHED", 64)
        found = sums_where(chosen, counts)
        one = sums_where(chosen, counts[:, 0])
    assert np.array_equal(found, chosen * 1.0 @ counts)
    assert np.array_equal(one, chosen * 1.0 @ counts[:, 0])


def test_swaps_are_those_of_the_name_whatever_was_drawn_before() -> None:
    names = [f"unit:{i}" for i in range(40)]
    plain = {name: np.random.default_rng([0, *f"swap:{name}".encode()]).random(50) < 0.5 for name in names}
    weights = stats.Weights(10)
    for some in (names[5:7], names[:3], names[::-1], names[2:30]):
        assert np.array_equal(weights.swaps(some, 50), np.column_stack([plain[name] for name in some]))
    assert weights.swaps(names[:2], 7).shape == (7, 2)


def values(of: dict[tuple[str, int], float]) -> dict[tuple[str, int], FitValue]:
    return {(split, seed): FitValue(f"{split}/{seed}", value) for (split, seed), value in of.items()}


def test_fits_are_resampled_over_seeds_or_splits() -> None:
    seeds = values({("s", 1): 0.2, ("s", 2): 0.4, ("t", 1): 0.6, ("t", 2): 0.8})
    assert stats.of_fits(seeds) == ("seeds", seeds)
    basis, splits = stats.of_fits(values({("s", 1): 0.2, ("s", 2): 0.4, ("t", 1): 0.6}))
    assert basis == "splits"
    assert [(one.unit, one.value) for one in splits.values()] == [("s", pytest.approx(0.3)), ("t", 0.6)]
    assert stats.of_fits(values({("s", 1): 0.2}))[0] == stats.ONE_VALUE
    metric = METRICS["aurc"]
    assert stats.estimate(seeds, metric) == pytest.approx(0.5)
    assert stats.estimate(splits, metric) == pytest.approx(0.45)


def test_intervals_over_seeds_cover_a_mean_as_often_as_they_say() -> None:
    rng, hits = np.random.default_rng(0), 0
    for trial in range(200):
        one = values({("s", seed): value for seed, value in enumerate(rng.normal(0.5, 0.1, 5))})
        drawn = stats.replicates(one, METRICS["aurc"], stats.Weights(400, seed=trial), "d")
        low, high = stats.interval(drawn, stats.estimate(one, METRICS["aurc"]), 0.95)
        hits += low <= 0.5 <= high
    assert 180 <= hits <= 199  # 190 expected


def test_swaps_of_fits_are_a_sign_test() -> None:
    metric = METRICS["aurc"]
    first = values({("s", seed): 0.1 for seed in range(8)})
    second = values({("s", seed): 0.2 + seed / 100 for seed in range(8)})
    p = stats.swap_test(first, second, metric, stats.Weights(100), dataset="d", number=4000)
    assert p == pytest.approx(2 / 256, abs=0.004)
    assert stats.swap_test(first, first, metric, stats.Weights(100), dataset="d", number=100) == 1
    other = values({("s", 1): 0.3})
    with pytest.raises(ValueError, match="same units and classes"):
        stats.swap_test(first, {("s", 1): FitValue("t/1", 0.3)}, metric, stats.Weights(9), dataset="d", number=9)
    assert stats.swap_test(first, other, metric, stats.Weights(100), dataset="d", number=100) == 1  # one fit


def test_losses_rank_the_right_way_round() -> None:
    about = {"name": "m", "label": "m", "meaning": "m"}
    high = Metric(**about, low=0, high=1, best=1)
    low = Metric(**about, low=0, high=float("inf"), best=0)
    middle = Metric(**about, low=0, high=1, best=0.4)
    open_ended = Metric(**about, low=-20, high=float("inf"), best=float("inf"))
    assert sorted([0.1, 0.9, 0.5], key=high.loss) == [0.9, 0.5, 0.1]
    assert sorted([0.1, 0.9, 0.5], key=low.loss) == [0.1, 0.5, 0.9]
    assert sorted([0.1, 0.9, 0.5], key=middle.loss) == [0.5, 0.1, 0.9]
    assert sorted([-3.0, 90.0, 5.0], key=open_ended.loss) == [90, 5, -3]
    with pytest.raises(ValueError, match="has no best value"):
        Metric(**about, low=0, high=1, best=None).loss(0.5)
