"""What is promised: weights count cells, ties and order change nothing, and every rule is applied as it says."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit
from sklearn.metrics import roc_auc_score

from annobench.fit.calibration import Groups, Platt, strength
from annobench.score.confidence import by_rule
from annobench.score.confidence_rules import (
    BINS,
    RESAMPLED,
    RuleConfidences,
    apply_rules,
)
from annobench.score.metrics.confidence import rows
from annobench.score.ranks import auroc, reliability, risk_coverage
from annobench.score.weighted import share_found, weighted_auroc, weighted_ece, weighted_risk
from helpers import scored

# few different confidences, so that ties are common; integer weights, none included
CELLS = st.lists(
    st.tuples(st.integers(0, 8).map(lambda i: i / 8), st.booleans(), st.integers(0, 3)), min_size=2, max_size=25
)


def columns(cells: list[tuple[float, bool, int]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Confidence, right, weights (1, n)."""
    confidence, right, weight = zip(*cells, strict=True)
    return np.array(confidence), np.array(right), np.array([weight], dtype=float)


def repeated(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    return np.repeat(values, weights[0].astype(int))


def both_kinds(right: np.ndarray, weights: np.ndarray) -> bool:
    return bool((weights[0] * right).any() and (weights[0] * ~right).any())


@given(CELLS)
def test_weighted_auroc_is_that_of_repeated_cells_and_of_scikit_learn(cells: list) -> None:
    score, positive, weights = columns(cells)
    if not both_kinds(positive, weights):
        return
    found = weighted_auroc(score, positive, weights)
    assert found == pytest.approx([auroc(repeated(score, weights), repeated(positive, weights))])
    assert found == pytest.approx([roc_auc_score(positive, score, sample_weight=weights[0])])


def expected_errors(confidence: np.ndarray, right: np.ndarray, taken: float) -> float:
    """Expected wrong weight among the `taken` most confident cells, a cell may be taken in part; ties by chance."""
    found = 0.0
    for value in sorted(set(confidence), reverse=True):
        group = confidence == value
        part = min(taken, group.sum())
        found += part * (~right[group]).mean()
        taken -= part
    return found


@given(CELLS)
def test_weighted_risk_is_that_of_repeated_cells(cells: list) -> None:
    confidence, right, weights = columns(cells)
    if not weights.any():
        return
    area, accuracy = weighted_risk(confidence, right, weights, 0.8)
    confidence, right = repeated(confidence, weights), repeated(right, weights)
    n = len(confidence)
    assert accuracy == pytest.approx([1 - expected_errors(confidence, right, 0.8 * n) / (0.8 * n)])
    # the area by brute force: the mean over a fine grid of coverages
    steps = (np.arange(400) + 0.5) / 400 * n
    brute = np.mean([expected_errors(confidence, right, c) / c for c in steps])
    assert area == pytest.approx([brute], abs=4e-3)


def test_the_weighted_area_is_the_limit_of_that_over_whole_cells() -> None:
    rng = np.random.default_rng(0)
    confidence, right = rng.random(30).round(1), rng.random(30) < 0.6
    area, _ = weighted_risk(confidence, right, np.ones((1, 30)), 0.8)
    errors = [abs(risk_coverage(np.repeat(confidence, k), np.repeat(right, k)).mean() - area[0]) for k in (1, 30, 900)]
    assert errors[2] < 1e-3
    assert errors[2] < errors[1] / 5


@given(CELLS)
def test_weighted_ece_is_that_of_repeated_cells(cells: list) -> None:
    confidence, right, weights = columns(cells)
    if not weights.any():
        return
    found = weighted_ece(confidence, right, weights, 5)
    bins = reliability(repeated(confidence, weights), repeated(right, weights), 5)
    n = sum(bin_[3] for bin_ in bins)
    assert found == pytest.approx([sum(abs(a - c) * k for _, a, c, k in bins) / n])


@given(CELLS, CELLS)
def test_share_found_is_that_of_repeated_cells(own: list, unrelated: list) -> None:
    (a, _, of_own), (b, _, of_unrelated) = columns(own), columns(unrelated)
    if not of_own.any() or not of_unrelated.any():
        return
    found = share_found(a, b, np.hstack([of_own, of_unrelated]))
    # a mix of whole cells with exactly 20 % unrelated ones: every own cell 4 f times, every unrelated one o times
    a, b = repeated(a, of_own), repeated(b, of_unrelated)
    mix = np.r_[np.repeat(a, 4 * len(b)), np.repeat(b, len(a))]
    strange = np.arange(len(mix)) >= 4 * len(a) * len(b)
    taken = strange.sum()
    expected = expected_errors(-mix, ~strange, taken) / taken
    assert found == pytest.approx([expected])


@given(CELLS, st.randoms())
def test_the_order_of_the_cells_changes_nothing(cells: list, random: object) -> None:
    confidence, right, weights = columns(cells)
    if not both_kinds(right, weights):
        return
    order = list(range(len(cells)))
    random.shuffle(order)  # type: ignore[attr-defined]
    arguments = (confidence, right, weights)
    mixed = (confidence[order], right[order], weights[:, order])
    assert weighted_auroc(*mixed) == pytest.approx(weighted_auroc(*arguments))
    assert np.ravel(weighted_risk(*mixed, 0.8)) == pytest.approx(np.ravel(weighted_risk(*arguments, 0.8)))
    assert weighted_ece(*mixed, 5) == pytest.approx(weighted_ece(*arguments, 5))


def test_every_replicate_stands_for_itself() -> None:
    rng = np.random.default_rng(1)
    confidence, right, weights = rng.random(40), rng.random(40) < 0.5, rng.exponential(size=(6, 40))
    for function in (
        weighted_auroc,
        lambda *a: weighted_risk(*a, 0.8)[0],
        lambda *a: weighted_risk(*a, 0.8)[1],
        lambda *a: weighted_ece(*a, 10),
    ):
        alone = [function(confidence, right, weights[[i]])[0] for i in range(6)]
        assert function(confidence, right, weights) == pytest.approx(alone)


def test_share_found_by_hand() -> None:
    ones = np.ones((1, 10))
    own, below, above = np.linspace(0.5, 0.9, 8), np.full(2, 0.1), np.full(2, 0.95)
    assert share_found(own, below, ones).tolist() == pytest.approx([1])
    assert share_found(own, above, ones).tolist() == pytest.approx([0])
    # nothing but ties: what chance finds
    assert share_found(np.full(8, 0.5), np.full(2, 0.5), ones).tolist() == pytest.approx([0.2])
    # the mix is 20 % unrelated however many unrelated cells there are
    assert share_found(np.full(8, 0.5), np.full(300, 0.5), np.ones((1, 308))).tolist() == pytest.approx([0.2])


# one rule, by hand


def confidences(rule: str = "raw", **changes: object) -> RuleConfidences:
    parts = {
        "test": np.array([0.9, 0.8, 0.7, 0.6, 0.4]),
        "right": np.array([True, True, False, True, False]),
        "validation": np.array([0.2, 0.9, 0.8, 0.7]),
        "unrelated": {"noise": np.array([0.5, 0.3]), "unrelated_tissue": np.array([0.85, 0.1, 0.1, 0.65])},
    }
    return RuleConfidences(rule, **(parts | changes))  # type: ignore[arg-type]


def test_a_handful_of_right_or_wrong_cells_gives_no_area(monkeypatch: pytest.MonkeyPatch) -> None:
    assert ("auroc_correct", "-") not in confidences().values(bins=10)
    assert "auroc_correct" not in confidences().replicates(np.ones((2, 5)), np.ones((2, 9)), bins=10)
    monkeypatch.setattr("annobench.score.confidence_rules.MIN_EACH", 2)
    assert ("auroc_correct", "-") in confidences().values(bins=10)


def test_values_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("annobench.score.confidence_rules.MIN_EACH", 1)
    found = confidences().values(bins=10)
    # pairs of a right and a wrong cell, in order: 0.9, 0.8 above both wrong ones, 0.6 above one of them
    assert found["auroc_correct", "-"] == pytest.approx(5 / 6)
    assert found["aurc", "-"] == pytest.approx((0 + 0 + 1 / 3 + 1 / 4 + 2 / 5) / 5)
    assert found["selective_accuracy", "-"] == pytest.approx(3 / 4)  # of the four most confident
    assert found["ece", "-"] == pytest.approx((0.1 + 0.2 + 0.7 + 0.4 + 0.4) / 5)
    assert found["noise_auroc", "-"] == pytest.approx(9 / 10)  # 0.4 is below 0.5
    # 0.85 is below one test cell, 0.65 below three, 0.1 below all five, twice
    assert found["unrelated_tissue_auroc", "-"] == pytest.approx((1 + 3 + 5 + 5) / 20)
    # a fifth of the mix: the two at 0.1 are half of the unrelated ones (10 %), then 10 % of the cell at 0.4 (16 %)
    assert found["unrelated_tissue_found", "-"] == pytest.approx(0.5)
    # published cut 0.5: one test cell below; at or above it one of two, two of four
    assert found["unknown_rate", "published"] == pytest.approx(1 / 5)
    assert found["accepted_noise", "published"] == pytest.approx(1 / 2)
    assert found["accepted_unrelated_tissue", "published"] == pytest.approx(2 / 4)
    # fair cut: 5 % quantile of the validation cells, 0.2 + 0.15 * 0.5 = 0.275
    assert found["unknown_rate", "fair"] == 0
    assert found["accepted_noise", "fair"] == 1
    assert found["accepted_unrelated_tissue", "fair"] == pytest.approx(2 / 4)
    assert len(found) == 13


def test_cuts() -> None:
    assert confidences("raw").cuts() == {"published": 0.5, "fair": pytest.approx(0.275)}
    assert confidences("zscore").cuts()["published"] == 0.8
    assert list(confidences("calibrated").cuts()) == ["fair"]
    assert confidences("softmax", validation=None).cuts() == {}
    assert list(confidences("raw", validation=np.empty(0)).cuts()) == ["published"]


@given(st.lists(st.floats(0, 1), min_size=1, max_size=200))
def test_the_fair_cut_accepts_19_of_20_validation_cells(validation: list[float]) -> None:
    values = np.array(validation)
    assert (values >= confidences(validation=values).cuts()["fair"]).mean() >= 0.95 - 1 / len(values)
    assert (values > confidences(validation=values).cuts()["fair"]).mean() <= 0.95 + 1 / len(values)


def test_undefined_values_are_left_out() -> None:
    found = confidences(right=np.ones(5, dtype=bool), unrelated={}, validation=None).values(10)
    assert set(found) == {("aurc", "-"), ("selective_accuracy", "-"), ("ece", "-"), ("unknown_rate", "published")}
    assert ("ece", "-") not in confidences(test=np.array([2.0, 1, 0, -1, -2])).values(10)  # no probability


def test_replicates_with_equal_weights_are_the_values(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("annobench.score.confidence_rules.MIN_EACH", 1)
    one = confidences()
    found = one.replicates(np.ones((2, 5)), np.ones((2, 9)), bins=10)
    values = one.values(10)
    assert set(found) == set(RESAMPLED)
    for metric in set(found) - {"aurc"}:  # which is continuous in the one and over whole cells in the other
        assert found[metric] == pytest.approx([values[metric, "-"]] * 2), metric


def test_curve_and_histograms() -> None:
    curve = confidences().curve()
    assert list(curve)[:2] == ["0.05", "0.10"]
    assert list(curve)[-1] == "1.00"
    assert [curve[c] for c in ("0.40", "0.60", "0.80", "1.00")] == pytest.approx([0, 1 / 3, 1 / 4, 2 / 5])
    shares = confidences().histograms()
    assert set(shares) == {"right", "wrong", "noise", "unrelated_tissue"}
    assert all(len(part) == BINS and part.sum() == pytest.approx(1) for part in shares.values())
    assert shares["unrelated_tissue"][2] == pytest.approx(0.5)  # 0.1 lies in the third bin of 0.04


def test_judge_takes_rows_by_their_part_and_calibrates_on_the_validation_cells() -> None:
    rng = np.random.default_rng(0)
    part = np.array(["noise"] * 3 + ["validation"] * 40 + ["test"] * 4, dtype=object)
    values = rng.normal(size=(47, 3))
    own = expit(values.max(axis=1))
    right = values[3:43].max(axis=1) > 0.8
    decisions = {"decisions": values, "part": part, "confidence": own}
    data = scored(["A", "B", "A", "B"], ["A", "A", "A", "B"])
    rows = np.array([46, 45, 44, 43])
    judged_rules = apply_rules(data.correct, decisions, at=rows, validation=np.arange(3, 43), right=right)
    found = {one.rule: one for one in judged_rules}
    assert list(found) == ["raw", "softmax", "zscore", "calibrated"]
    assert found["raw"].test.tolist() == own[[46, 45, 44, 43]].tolist()
    assert found["raw"].right.tolist() == [True, False, True, True]
    assert found["raw"].validation.tolist() == own[3:43].tolist()
    assert found["raw"].unrelated["noise"].tolist() == own[:3].tolist()
    assert set(found["raw"].unrelated) == {"noise"}
    calibration = Platt(strength(values[3:43]), right)
    assert found["calibrated"].test == pytest.approx(calibration(strength(values[[46, 45, 44, 43]])))
    assert found["calibrated"].unrelated["noise"] == pytest.approx(calibration(strength(values[:3])))


def test_a_method_without_confidence_has_no_raw_rule_and_without_validation_no_calibration() -> None:
    decisions = {"decisions": np.eye(3), "part": np.array(["test"] * 3, dtype=object), "confidence": np.full(3, np.nan)}
    none = np.empty(0, dtype=int)
    truth = scored(list("AAB"), list("AAA"))
    found = apply_rules(truth, decisions, at=np.arange(3), validation=none, right=none.astype(bool))
    assert [one.rule for one in found] == ["softmax", "zscore"]
    assert found[0].validation is None


def test_rows_name_rule_and_cut() -> None:
    found = {(row.level, row.group, row.metric, row.label_set): row.value for row in rows([confidences()], 10)}
    assert found["rule", "raw", "unknown_rate", "published"] == pytest.approx(0.2)
    assert found["rule", "raw", "aurc", "-"] == pytest.approx(confidences().values(10)["aurc", "-"])


def test_rolled_up_the_softmax_is_that_of_the_lineage_and_so_is_an_own_confidence_that_is_one() -> None:
    values = np.log(np.array([[0.5, 0.3, 0.2], [0.2, 0.3, 0.5]]))
    groups = Groups(np.array([0, 0, 1]), np.array([0, 1]))  # the first two classes are one lineage
    found = by_rule(values, np.array([0.5, 0.5]), None, groups)
    assert found["softmax"] == pytest.approx([0.8, 0.5])
    assert found["raw"] == pytest.approx([0.8, 0.5])
    assert by_rule(values, np.array([0.9, 0.1]), None, groups)["raw"].tolist() == [0.9, 0.1]  # no softmax: as it is
    assert by_rule(values, np.array([0.5, 0.5]), None)["raw"].tolist() == [0.5, 0.5]
