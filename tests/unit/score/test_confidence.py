"""What is promised: every confidence rule is the formula it says, and a calibration says how often one is right."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.special import expit
from scipy.special import softmax as scipy_softmax
from sklearn.linear_model import LogisticRegression

from annobench.fit.calibration import Platt, softmax, strength
from annobench.fit.decisions import read_decisions, write_decisions
from annobench.fit.predictions import Predictions
from annobench.score.confidence import PUBLISHED, RULES, by_rule, zscore

VALUES = st.floats(-50, 50, allow_nan=False, width=32)
DECISIONS = st.integers(2, 8).flatmap(
    lambda k: arrays(float, st.tuples(st.integers(1, 9), st.just(k)), elements=VALUES)
)


# the z-score rule


def test_zscore_by_hand() -> None:
    # mean 2, population standard deviation sqrt(2), largest 4: z = 2 / sqrt(2)
    assert zscore(np.array([[0.0, 1, 2, 3, 4]])) == pytest.approx([1 / (1 + np.exp(-np.sqrt(2)))])
    # the sample standard deviation would give another value
    assert zscore(np.array([[0.0, 0, 6]])) == pytest.approx([1 / (1 + np.exp(-np.sqrt(2)))])


def test_two_types_always_get_the_same_zscore_and_so_never_pass_the_published_cut() -> None:
    rng = np.random.default_rng(0)
    found = zscore(rng.normal(0, [[1], [1e-3], [1e4]], (3, 2)))
    assert found == pytest.approx([expit(1)] * 3)
    assert (found < PUBLISHED["zscore"]).all()


def test_equal_values_say_nothing() -> None:
    assert zscore(np.full((2, 5), -1200.0)).tolist() == [0.5, 0.5]


@given(DECISIONS)
def test_zscore_lies_between_a_half_and_its_ceiling(decisions: np.ndarray) -> None:
    found = zscore(decisions)
    assert (found >= 0.5).all()
    assert (found <= expit(np.sqrt(decisions.shape[1] - 1)) + 1e-12).all()


def test_the_ceiling_is_reached_by_one_class_against_equals() -> None:
    assert zscore(np.array([[1.0, 0, 0, 0, 0]])) == pytest.approx([expit(2)])
    assert zscore(np.array([[1.0, 0, 0]])) == pytest.approx([0.8044], abs=1e-4)  # of three types


@given(DECISIONS, st.floats(-1000, 1000), st.floats(0.01, 100))
def test_zscore_knows_neither_level_nor_scale(decisions: np.ndarray, shift: float, scale: float) -> None:
    if decisions.std(axis=1).min() < 1e-3:  # rounding alone makes the difference there
        return
    assert zscore(decisions * scale + shift) == pytest.approx(zscore(decisions), abs=1e-6)


def test_noise_passes_the_published_cut_where_there_are_many_types() -> None:
    """What the specification measured: 65 types 0.01 % unassigned, 10 types 22 %, 3 types 80 %."""
    rng = np.random.default_rng(1)
    for types, share, error in ((3, 0.805, 0.02), (10, 0.222, 0.02), (65, 0.0001, 0.001)):
        assert (zscore(rng.standard_normal((5000, types))) < 0.8).mean() == pytest.approx(share, abs=error)


# softmax


@given(DECISIONS)
def test_softmax_equals_scipy(decisions: np.ndarray) -> None:
    assert softmax(decisions) == pytest.approx(scipy_softmax(decisions, axis=1).max(axis=1))


def test_softmax_of_large_values_is_finite() -> None:
    assert softmax(np.array([[-3400.0, -1200.0], [4e4, 4e4]])) == pytest.approx([1, 0.5])


# calibration


def of_sklearn(score: np.ndarray, right: np.ndarray) -> LogisticRegression:
    """Every cell once as right and once as wrong, weighted by Platt's target; no penalty."""
    n, wrong = right.sum(), (~right).sum()
    target = np.where(right, (n + 1) / (n + 2), 1 / (wrong + 2))
    score = score[:, None] if score.ndim == 1 else score
    x, y = np.r_[score, score], np.r_[np.ones(len(score)), np.zeros(len(score))]
    # no penalty; the solver is exact at this size
    return LogisticRegression(C=np.inf, tol=1e-10, max_iter=10_000).fit(x, y, sample_weight=np.r_[target, 1 - target])


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("level", "scale"), [(0, 1), (-1500, 300), (1e-3, 1e-4)])
def test_platt_equals_logistic_regression_on_smoothed_targets(seed: int, level: float, scale: float) -> None:
    rng = np.random.default_rng(seed)
    x = rng.standard_normal(150)
    right = rng.random(150) < expit(1.5 * x + 0.5)
    theirs = of_sklearn(x, right)
    assert theirs.coef_[0, 0] > 0
    ours = Platt(level + scale * x, right)
    asked = np.linspace(-4, 4, 17)
    assert ours(level + scale * asked) == pytest.approx(theirs.predict_proba(asked[:, None])[:, 1], abs=1e-3)


def test_platt_of_two_scores_equals_logistic_regression() -> None:
    rng = np.random.default_rng(3)
    x = rng.standard_normal((300, 2)) * [1, 50] + [0, -400]
    right = rng.random(300) < expit(x[:, 0] + (x[:, 1] + 400) / 50)
    standard = (x - x.mean(axis=0)) / x.std(axis=0)
    theirs = of_sklearn(standard, right)
    assert (theirs.coef_ > 0).all()
    assert Platt(x, right)(x) == pytest.approx(theirs.predict_proba(standard)[:, 1], abs=1e-3)


def test_of_two_scores_the_one_that_falls_has_no_weight() -> None:
    rising = np.arange(40.0)
    right = rising + 3 * np.random.default_rng(0).standard_normal(40) > 20
    both = np.column_stack([-rising, rising])
    found = Platt(both, right)
    assert found.weights[0] == 0
    assert found.weights[1] > 0
    assert found(both) == pytest.approx(Platt(rising, right)(rising), abs=1e-3)


def test_strength_is_the_largest_value_and_its_lead() -> None:
    decisions = np.array([[2.0, 0, -1], [-1200, -1300, -1200]])
    expected = np.column_stack([[2, -1200], np.log(scipy_softmax(decisions, axis=1).max(axis=1))])
    assert strength(decisions) == pytest.approx(expected)
    lower = strength(decisions - 500)  # as far ahead, with less to speak for it: what a z-score cannot see
    assert lower[:, 1] == pytest.approx(expected[:, 1])
    assert lower[:, 0] == pytest.approx(expected[:, 0] - 500)


def test_a_score_that_tells_right_from_wrong_without_fault_stays_finite() -> None:
    score = np.array([1.0, 2, 3, 11, 12, 13])
    found = Platt(score, score > 5)
    assert np.isfinite(found.weights).all()
    assert found(score)[[0, -1]].tolist() == [pytest.approx(0.2, abs=0.05), pytest.approx(0.8, abs=0.05)]


@settings(max_examples=30)
@given(st.lists(st.tuples(VALUES, st.booleans()), min_size=1, max_size=30))
def test_a_higher_score_never_means_less_confidence(pairs: list[tuple[float, bool]]) -> None:
    score, right = np.array([p[0] for p in pairs]), np.array([p[1] for p in pairs])
    found = Platt(score, right)(np.linspace(-200, 200, 41))
    assert np.isfinite(found).all()
    assert (np.diff(found) >= 0).all()
    assert ((found >= 0) & (found <= 1)).all()


def test_a_score_that_falls_with_rightness_gives_the_base_rate() -> None:
    score = np.arange(10.0)
    found = Platt(score, score < 5)
    assert found.weights[0] == 0
    assert found(score) == pytest.approx([0.5] * 10, abs=1e-4)  # (5 * 6/7 + 5 * 1/7) / 10


@pytest.mark.parametrize(("right", "expected"), [(True, 11 / 12), (False, 1 / 12)], ids=["all right", "all wrong"])
def test_without_a_counterexample_the_chance_is_that_of_the_rule_of_succession(right: bool, expected: float) -> None:
    score = np.linspace(0, 1, 10)
    assert Platt(score, np.full(10, right))(score) == pytest.approx([expected] * 10, abs=2e-3)


@pytest.mark.parametrize(("right", "expected"), [(True, 2 / 3), (False, 1 / 3)])
def test_one_cell_is_enough(right: bool, expected: float) -> None:
    found = Platt(np.array([-1200.0]), np.array([right]))
    assert found(np.array([-1200.0])) == pytest.approx([expected], abs=1e-4)


@pytest.mark.parametrize("level", [0.0, 0.1, -1234.567, 1e-7])
def test_a_constant_score_gives_the_base_rate_whatever_is_asked(level: float) -> None:
    right = np.array([True] * 3 + [False])
    found = Platt(np.full(4, level), right)
    base = (3 * 4 / 5 + 1 / 3) / 4
    assert found(np.array([level, level + 0.5, level - 0.5])) == pytest.approx([base] * 3, abs=1e-3)


def test_no_cell_is_an_error() -> None:
    with pytest.raises(ValueError, match="needs validation cells"):
        Platt(np.empty(0), np.empty(0, dtype=bool))


# all rules


def test_by_rule_gives_what_can_be_had_in_the_order_of_the_rules() -> None:
    decisions = np.array([[2.0, 0, -1], [0.5, 0.4, 0.3]])
    seen = np.array([[0.0, 0, 0], [1, 0, 0], [2, 1, 0], [3, 0, -1]])
    calibration = Platt(strength(seen), np.array([False, False, True, True]))
    found = by_rule(decisions, np.array([0.9, 0.6]), calibration)
    assert tuple(found) == RULES == ("raw", "softmax", "zscore", "calibrated")
    assert found["raw"].tolist() == [0.9, 0.6]
    assert found["softmax"] == pytest.approx(scipy_softmax(decisions, axis=1).max(axis=1))
    assert found["zscore"].tolist() == zscore(decisions).tolist()
    assert found["calibrated"] == pytest.approx(calibration(strength(decisions)))
    assert list(by_rule(decisions, None, None)) == ["softmax", "zscore"]


# the file


def answers(name: str, decisions: np.ndarray, classes: str = "ab", confidence: bool = True) -> Predictions:
    order = np.argsort(-decisions, axis=1)
    return Predictions(
        np.array([f"{name}{i}" for i in range(len(decisions))], dtype=object),
        np.array(list(classes), dtype=object)[order],
        confidence=expit(decisions.max(axis=1)) if confidence else None,
        classes=tuple(classes),
        decisions=decisions,
    )


def test_decisions_round_trip_and_classes_are_matched_by_name(tmp_path: Path) -> None:
    test, noise = np.array([[1.5, -2], [0.25, 3]]), np.array([[7.0, -7]])
    parts = {"test": answers("t", test), "noise": answers("n", noise, "ba", confidence=False)}
    assert write_decisions(tmp_path / "d.npz", parts)
    found = read_decisions(tmp_path / "d.npz")
    assert found["classes"].tolist() == ["a", "b"]
    assert found["decisions"].tolist() == [[1.5, -2], [0.25, 3], [-7, 7]]  # the unrelated ones were in the order b, a
    assert found["part"].tolist() == ["test", "test", "noise"]
    assert found["cell_ids"].tolist() == ["t0", "t1", "n0"]
    assert found["labels"].tolist() == ["a", "b", "b"]
    assert found["confidence"][:2] == pytest.approx(expit([1.5, 3]))
    assert np.isnan(found["confidence"][2])


def test_probabilities_stand_in_for_decision_values_as_logarithms(tmp_path: Path) -> None:
    given_ = Predictions.from_probabilities(["c"], np.array([[0.75, 0.25, 0]]), list("abc"))
    assert write_decisions(tmp_path / "d.npz", {"test": given_})
    expected = np.log([0.75, 0.25, 1e-12])
    assert read_decisions(tmp_path / "d.npz")["decisions"][0] == pytest.approx(expected, rel=1e-6)


def test_labels_alone_leave_nothing_to_write(tmp_path: Path) -> None:
    assert not write_decisions(tmp_path / "d.npz", {"test": Predictions.from_labels(["c"], ["a"])})
    assert not (tmp_path / "d.npz").exists()


def test_a_set_with_other_classes_or_without_cells_is_left_out(tmp_path: Path) -> None:
    parts = {
        "test": answers("t", np.array([[1.0, 0]])),
        "noise": answers("n", np.array([[1.0, 0]]), "ac"),
        "shuffled": answers("s", np.empty((0, 2))),
    }
    assert write_decisions(tmp_path / "d.npz", parts)
    assert set(read_decisions(tmp_path / "d.npz")["part"]) == {"test"}
