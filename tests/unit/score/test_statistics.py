"""What is promised: intervals cover, tests hold their level, and the headline metrics are those of scoring."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import t as student
from statsmodels.stats.multitest import multipletests

from annobench.core.counts import macro_f1_of_codes
from annobench.ontology import Ontology
from annobench.score import statistics as stats
from annobench.score.counts import Classes, UnitCounts
from annobench.score.evidence import Evidence
from annobench.score.registry import METRICS, rows_of
from annobench.score.samples import UnitSums, evaluate
from helpers import scored, toy_ontology, values

LABELS = ["A", "A1", "A2x", "B", "unknown"]
FLAT = Ontology("none", {})


def counts(units: Any, truth: Any, predicted: Any, classes: list[str], ontology: Ontology = FLAT) -> UnitCounts:
    pairs = {"unit": units, "true": truth, "predicted": predicted, "n": np.ones(len(units), dtype=int)}
    return UnitCounts.of_table(pairs, Classes(classes, ontology))


@given(st.lists(st.tuples(st.sampled_from(LABELS[:-1]), st.sampled_from(LABELS), st.sampled_from("xyz")), min_size=1))
def test_metrics_from_counts_of_units_equal_scoring(cells: list[tuple[str, str, str]]) -> None:
    truth, predicted, units = zip(*cells, strict=True)
    one = counts(units, truth, predicted, sorted(LABELS), toy_ontology()).observed()
    found = values(rows_of(Evidence(scored(truth, predicted))))
    of_counts = [metric for metric in METRICS.values() if metric.from_counts]
    assert len(of_counts) > 25
    for metric in of_counts:
        value = evaluate(metric, one)
        if metric.level == "class":
            for label in set(truth):
                expected = found[metric.name, "-", label]
                assert value[one.classes.labels.index(label)] == pytest.approx(expected), (metric.name, label)
        else:
            assert value == pytest.approx(found[metric.name, metric.label_set, "all"]), metric.name


@given(st.lists(st.tuples(*[st.sampled_from(LABELS[:-1])] * 2, st.sampled_from("xyz"), st.integers(0, 3)), min_size=1))
def test_weighted_counts_are_those_of_repeated_cells(cells: list[tuple[str, str, str, int]]) -> None:
    truth, predicted, units, _ = zip(*cells, strict=True)
    weight = {unit: n for _, _, unit, n in cells}
    one = counts(units, truth, predicted, sorted(LABELS), toy_ontology())
    weighted = one.weighted(np.array([[weight[unit] for unit in one.units]], dtype=float))
    again = [cell for cell in cells for _ in range(weight[cell[2]])]
    if not again:
        return
    truth, predicted, units, _ = zip(*again, strict=True)
    other = counts(units, truth, predicted, sorted(LABELS), toy_ontology()).observed()
    for metric in (metric for metric in METRICS.values() if metric.from_counts):
        found = evaluate(metric, weighted.over(other.members))
        expected = evaluate(metric, other)
        assert found[0] == pytest.approx(expected), metric.name


def test_parts_and_groups_of_units_hold_the_same_cells() -> None:
    rng = np.random.default_rng(0)
    units, truth, predicted = (rng.choice(list(text), 200) for text in ("wxyz", "AB", "ABC"))
    one = counts(units, truth, predicted, sorted("ABC"), toy_ontology())
    some = one.part(np.array([1, 3]))
    chosen = np.isin(units, ["x", "z"])
    expected = counts(units[chosen], truth[chosen], predicted[chosen], sorted("ABC"), toy_ontology())
    for name in ("accuracy", "macro_f1", "ontology_macro_f1"):
        assert evaluate(METRICS[name], some.observed()) == pytest.approx(evaluate(METRICS[name], expected.observed()))
    groups = one.grouped(["g", "h", "g", "h"])
    assert groups.units == ["g", "h"]
    assert groups.hits[1].sum() == some.hits.sum()


def test_estimate_is_the_mean_over_splits_of_the_mean_over_seeds() -> None:
    right = counts(["u"] * 4, list("aabb"), list("aabb"), ["a", "b"])
    wrong = counts(["u"] * 4, list("aabb"), list("bbaa"), ["a", "b"])
    found = stats.estimate({("s", 1): right, ("s", 2): wrong, ("t", 1): right}, METRICS["accuracy"])
    assert found == pytest.approx((0.5 + 1) / 2)


def test_weights_are_shared_by_name_and_have_mean_one() -> None:
    weights = stats.Weights(4000)
    for n in (2, 4, 500):
        assert weights.of([f"unit{i}" for i in range(n)]).mean() == pytest.approx(1, abs=0.05)
    many = weights.of([f"unit{i}" for i in range(500)])
    again = stats.Weights(4000).of(["unit3", *(f"x{i}" for i in range(499))])
    assert (again[:, 0] == many[:, 3]).all()
    assert (weights.of(["alone"]) == 1).all()


def draw(rng: np.random.Generator, n: int, units: int | None) -> tuple[Any, Any, Any]:
    share = np.array([0.5, 0.3, 0.15, 0.05])
    truth = rng.choice(4, n, p=share)
    predicted = np.where(rng.random(n) < np.array([0.9, 0.8, 0.7, 0.6])[truth], truth, (truth + 1) % 4)
    unit = np.arange(n) if units is None else rng.integers(units, size=n)
    return unit, truth.astype(str), predicted.astype(str)


@pytest.mark.parametrize("units", [None, 20])
def test_intervals_cover_the_true_value_about_as_often_as_they_say(units: int | None) -> None:
    rng = np.random.default_rng(1)
    _, truth, predicted = draw(rng, 400_000, None)
    target = macro_f1_of_codes(truth.astype(int), predicted.astype(int))
    hits = 0
    for trial in range(100):
        unit, truth, predicted = draw(rng, 500, units)
        one = {("s", 1): counts([str(u) for u in unit], truth, predicted, list("0123"))}
        weights = stats.Weights(400, seed=trial)
        low, high = stats.interval(
            stats.replicates(one, METRICS["macro_f1"], weights, "d"), stats.estimate(one, METRICS["macro_f1"]), 0.95
        )
        hits += low <= target <= high
    assert 88 <= hits <= 99  # 95 expected


@pytest.mark.parametrize("n", [2, 3, 4, 6, 12])
def test_intervals_of_a_mean_over_few_units_are_those_of_student(n: int) -> None:
    """Units that differ: accuracy is a plain mean over donors of equal size, for which Student's t is exact."""
    rng = np.random.default_rng(n)
    hits, widths, exact = 0, [], []
    for trial in range(150):
        right = np.clip(rng.normal(0.5, 0.05, n), 0, 1)
        cells = 400
        truth = np.tile(np.array(["a", "b"]), n * cells // 2)
        unit = np.repeat([f"d{i}" for i in range(n)], cells)
        good = np.concatenate([np.arange(cells) < round(share * cells) for share in right])
        one = {("s", 1): counts(unit, truth, np.where(good, truth, np.where(truth == "a", "b", "a")), ["a", "b"])}
        values = stats.replicates(one, METRICS["accuracy"], stats.Weights(400, seed=trial), "d")
        low, high = stats.interval(values, stats.estimate(one, METRICS["accuracy"]), 0.95)
        hits += low <= 0.5 <= high
        widths.append(high - low)
        exact.append(2 * student.ppf(0.975, n - 1) * right.std(ddof=1) / np.sqrt(n))
    assert 133 <= hits <= 150  # 142 expected
    if n > 2:  # of two units the weighted mean is spread evenly between them
        assert np.median(widths) == pytest.approx(np.median(exact), rel=0.12)


def test_few_units_and_seeds_never_give_an_interval_without_ends() -> None:
    truth = np.array(list("ab") * 20)
    unit = np.repeat(["d1", "d2"], 20)
    fits = {("s", seed): counts(unit, truth, np.roll(truth, seed - 1), ["a", "b"]) for seed in (1, 2)}
    values = stats.replicates(fits, METRICS["macro_f1"], stats.Weights(2000), "d")
    low, high = stats.interval(values, stats.estimate(fits, METRICS["macro_f1"]), 0.95)
    assert 0 <= low <= high <= 1
    with pytest.raises(ValueError, match="1 of 2 replicates are not numbers"):
        stats.interval(np.array([0.5, np.nan]), 0.5, 0.95)


@pytest.mark.parametrize("pairs", [1, 55, 400])
def test_swaps_leave_room_below_what_holm_asks_for(pairs: int) -> None:
    assert 1 / (1 + stats.swaps_needed(pairs, 0.95)) * pairs < 0.05 / 4


def test_seeds_widen_the_interval() -> None:
    unit, truth, predicted = draw(np.random.default_rng(2), 300, None)
    names = [str(u) for u in unit]
    good = counts(names, truth, truth, list("0123"))
    fair = counts(names, truth, predicted, list("0123"))
    weights = stats.Weights(500)
    same = stats.replicates({("s", 1): fair, ("s", 2): fair, ("s", 3): fair}, METRICS["accuracy"], weights, "d")
    spread = stats.replicates({("s", 1): fair, ("s", 2): good, ("s", 3): fair}, METRICS["accuracy"], weights, "d")
    assert spread.std() > 2 * same.std()


def test_swap_test_finds_a_difference_and_holds_its_level() -> None:
    rng = np.random.default_rng(3)
    p_values = []
    for trial in range(200):
        unit, truth, predicted = draw(rng, 150, None)
        noise = rng.random(150) < 0.1
        first = np.where(noise & (rng.random(150) < 0.5), "0", predicted)
        second = np.where(noise & (rng.random(150) < 0.5), "0", predicted)
        names = [str(u) for u in unit]
        a, b = ({("s", 1): counts(names, truth, p, list("0123"))} for p in (first, second))
        p_values.append(
            stats.swap_test(a, b, METRICS["macro_f1"], stats.Weights(200, seed=trial), dataset="d", number=200)
        )
    assert np.mean(np.array(p_values) <= 0.05) <= 0.1
    unit, truth, predicted = draw(rng, 400, None)
    names = [str(u) for u in unit]
    a, b = ({("s", 1): counts(names, truth, p, list("0123"))} for p in (truth, predicted))
    assert stats.swap_test(a, b, METRICS["macro_f1"], stats.Weights(500), dataset="d", number=500) == pytest.approx(
        1 / 501
    )


def test_identical_methods_have_p_one_and_no_difference() -> None:
    unit, truth, predicted = draw(np.random.default_rng(4), 100, None)
    one = {("s", 1): counts([str(u) for u in unit], truth, predicted, list("0123"))}
    assert stats.swap_test(one, one, METRICS["macro_f1"], stats.Weights(200), dataset="d", number=200) == 1


def test_few_units_cannot_give_a_small_p_value() -> None:
    truth = np.array(list("ab") * 50)
    unit = np.repeat(["d1", "d2", "d3"], [40, 30, 30])
    a, b = ({("s", 1): counts(unit, truth, p, ["a", "b"])} for p in (truth, np.roll(truth, 1)))
    assert (
        stats.swap_test(a, b, METRICS["accuracy"], stats.Weights(2000), dataset="d", number=2000) > 0.2
    )  # 2 of 8 swaps are as extreme


def test_fits_over_different_units_are_refused() -> None:
    a = {("s", 1): counts(["x"], ["a"], ["a"], ["a", "b"])}
    b = {("s", 1): counts(["y"], ["a"], ["a"], ["a", "b"])}
    with pytest.raises(ValueError, match="same units and classes"):
        stats.swap_test(a, b, METRICS["accuracy"], stats.Weights(100), dataset="d", number=100)


def test_interval_of_a_constant_and_bounds() -> None:
    assert stats.interval(np.ones(100), 1.0, 0.95) == (1.0, 1.0)
    replicates = np.random.default_rng(5).normal(0.5, 0.1, 4000)
    low, high = stats.interval(replicates, 0.5, 0.9)
    assert low == pytest.approx(0.5 - 1.645 * 0.1, abs=0.02)
    assert high == pytest.approx(0.5 + 1.645 * 0.1, abs=0.02)


def test_holm_by_hand() -> None:
    p = [0.01, 0.04, 0.03, 0.005]
    assert stats.holm(p) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert stats.holm(p) == pytest.approx(multipletests(p, method="holm")[1])
    assert len(stats.holm([])) == 0


def test_a_metric_that_does_not_come_from_what_there_is_is_an_error() -> None:
    one = counts(["x"], ["a"], ["a"], ["a", "b"])
    with pytest.raises(ValueError, match="brier cannot be computed from Counts"):
        evaluate(METRICS["brier"], one.observed())
    with pytest.raises(ValueError, match="accuracy cannot be computed from dict"):
        evaluate(METRICS["accuracy"], UnitSums(["x"], {"n": np.ones(1)}).observed())
