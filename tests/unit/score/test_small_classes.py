"""What is promised: cells of small classes vary as much as they should, and methods stay paired."""

import numpy as np
import pytest

from annobench.ontology import Ontology
from annobench.score import statistics as stats
from annobench.score.counts import Classes, UnitCounts
from annobench.score.registry import METRICS
from annobench.score.small_classes import ADDED, ByClass, shared_weights

FLAT = Ontology("none", {})
NAMES = ["a", "b", "c"]


def counts(truth: str, predicted: str, kind: str = "cell", units: list[str] | None = None) -> UnitCounts:
    table = {"unit": units or [str(i) for i in range(len(truth))], "true": list(truth), "predicted": list(predicted)}
    return UnitCounts.of_table(
        {**table, "n": np.ones(len(truth)), "unit_kind": [kind] * len(truth)}, Classes(NAMES, FLAT)
    )


@pytest.mark.parametrize("n", [3, 4, 8, 25])
def test_a_mean_of_few_cells_varies_as_it_should(n: int) -> None:
    rng = np.random.default_rng(n)
    weights = rng.standard_exponential((20_000, n))
    shared = shared_weights(weights)
    assert shared.sum(axis=1) == pytest.approx(weights.sum(axis=1))
    assert (shared >= 0).all()
    values = np.arange(n) % 3
    means = shared @ values / shared.sum(axis=1)
    assert means.var() == pytest.approx(values.var() / (n - 1), rel=0.06)


def test_large_classes_keep_their_units_and_small_ones_get_rows() -> None:
    one = counts("a" * 40 + "bbc", "a" * 38 + "bcbbc", "block", [str(i % 20) for i in range(40)] + ["0", "0", "1"])
    apart = ByClass(one)
    assert [NAMES[c] for c in apart.classes] == ["b", "c"]
    assert apart.large.true.sum(axis=0).tolist() == [40, 0, 0]
    assert apart.small.true.tolist() == [[0, 2, 0], [0, 0, 1]]  # two cells of b in block 0 are one row
    assert [one.units[i] for i in apart.unit_of_row] == ["0", "1"]
    right = float(one.hits.sum())
    assert apart.chance == pytest.approx((right + ADDED) / (43 + 2 * ADDED))
    expected = apart.expected()
    assert expected.true.ravel().tolist() == [40, 3, 2]
    assert expected.n == pytest.approx(45)
    assert expected.predicted.sum() == pytest.approx(45)


def test_a_borrowed_cell_is_right_as_often_as_the_cells_are() -> None:
    one = ByClass(counts("aaabbbccc", "aaabbbcab"))
    drawn = np.random.default_rng(0).random((20_000, 3))
    assert one.right(drawn).mean(axis=0) == pytest.approx(np.full(3, one.chance), abs=0.01)


def test_methods_with_the_same_answers_have_no_difference_and_others_do() -> None:
    truth = "a" * 20 + "b" * 6 + "cc"
    first, second = {("s", 1): counts(truth, truth)}, {("s", 1): counts(truth, "a" * 18 + "bb" + truth[20:])}
    weights, metric = stats.Weights(300), METRICS["macro_f1"]
    drawn = [stats.replicates(one, metric, weights, "d") for one in (first, dict(first), second)]
    assert (drawn[0] == drawn[1]).all()
    assert drawn[0].std() > 0  # no cell is wrong, which does not say that none ever is
    moved = drawn[0] - drawn[2]
    assert 0 < moved.std() < np.hypot(drawn[0].std(), drawn[2].std())


def test_donors_are_resampled_whole() -> None:
    truth = "aab" * 4
    one = counts(truth, truth, "donor", [f"d{i % 4}" for i in range(12)])
    assert not one.of_cells
    assert stats.replicates({("s", 1): one}, METRICS["macro_f1"], stats.Weights(50), "d").std() == 0


def test_a_difference_that_chance_explains_includes_nothing() -> None:
    assert stats.agreeing((0.1, 0.2), 0.3, 0.95) == (0.0, 0.2)
    assert stats.agreeing((-0.2, -0.1), 0.3, 0.95) == (-0.2, 0.0)
    assert stats.agreeing((0.1, 0.2), 0.04, 0.95) == (0.1, 0.2)
    assert stats.agreeing((-0.1, 0.2), 0.3, 0.95) == (-0.1, 0.2)


@pytest.mark.slow
def test_intervals_cover_where_classes_have_few_cells() -> None:
    """The hardest row of benchmarks/interval_coverage.py; five folds of ten classes of 2 to 48 cells."""
    from benchmarks.interval_coverage import CASES, coverage, of_value

    assert coverage(CASES["folds"], of_value, 120)[0] >= 0.88  # 0.93 expected, standard error 0.02
