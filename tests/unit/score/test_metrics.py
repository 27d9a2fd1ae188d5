"""What is promised: every metric equals a second implementation or a hand-worked case, and reaches its stated ends."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from annobench.fit.run_record import RunRecord
from annobench.score import ranks
from annobench.score.evidence import Evidence
from annobench.score.metrics import (
    calibration,
    confidence,
    flat,
    hierarchical,
    markers,
    ontology_aware,
    per_class,
    perturbation,
    perturbation_published,
    resources,
    status,
    topk,
    unseen_types,
)
from annobench.score.registry import FAMILIES, METRICS, rows_of
from annobench.score.scored import Scored
from helpers import rows_of_family, scored, toy_ontology, values

IDENTITY = {"dataset": "d", "split": "s", "method": "m", "seed": 1}
LABELS = ["A", "A1", "A2", "A2x", "B"]
PAIRS = st.lists(st.tuples(st.sampled_from(LABELS), st.sampled_from(LABELS)), min_size=1, max_size=60)


def every_row(data: Scored) -> list[Any]:
    return list(rows_of(Evidence(data)))


# flat, against scikit-learn


@given(PAIRS)
def test_flat_metrics_equal_scikit_learn(pairs: list[tuple[str, str]]) -> None:
    truth, predicted = zip(*pairs, strict=True)
    found = values(rows_of_family(flat, scored(truth, predicted)))
    present, union = sorted(set(truth)), sorted(set(truth) | set(predicted))
    assert found["accuracy", "-", "all"] == pytest.approx(sk.accuracy_score(truth, predicted))
    for label_set, labels in (("truth", present), ("either", union)):
        for average in ("macro", "weighted"):
            if average == "weighted" and label_set == "either":
                continue
            p, r, f, _ = sk.precision_recall_fscore_support(
                truth, predicted, labels=labels, average=average, zero_division=0
            )
            for name, value in (("precision", p), ("recall", r), ("f1", f)):
                assert found[f"{average}_{name}", label_set, "all"] == pytest.approx(value), (average, name, label_set)
    recall = sk.recall_score(truth, predicted, labels=present, average="macro", zero_division=0)
    assert found["balanced_accuracy", "truth", "all"] == pytest.approx(recall)
    assert found["micro_f1", "-", "all"] == pytest.approx(sk.f1_score(truth, predicted, average="micro"))
    if len(union) > 1:
        assert found["cohen_kappa", "-", "all"] == pytest.approx(sk.cohen_kappa_score(truth, predicted))
    if len(set(truth)) > 1 and len(set(predicted)) > 1:
        assert found["mcc", "-", "all"] == pytest.approx(sk.matthews_corrcoef(truth, predicted))


@given(PAIRS)
def test_per_class_metrics_equal_scikit_learn(pairs: list[tuple[str, str]]) -> None:
    truth, predicted = zip(*pairs, strict=True)
    found = values(rows_of_family(per_class, scored(truth, predicted)))
    labels = sorted(set(truth))
    p, r, f, support = sk.precision_recall_fscore_support(truth, predicted, labels=labels, zero_division=0)
    for i, label in enumerate(labels):
        assert [found[name, "-", label] for name in ("precision", "recall", "f1")] == pytest.approx([p[i], r[i], f[i]])
    rows = [row for row in rows_of_family(per_class, scored(truth, predicted)) if row.metric == "f1"]
    assert [row.n for row in rows] == support.tolist()


def test_shared_classes_are_those_of_truth_that_were_trained() -> None:
    found = values(rows_of_family(flat, scored(["A", "B", "A1"], ["A", "B", "B"], training=["A", "B"])))
    assert found["macro_f1", "shared", "all"] == pytest.approx((1 + 2 / 3) / 2)
    assert found["macro_f1", "truth", "all"] == pytest.approx((1 + 2 / 3 + 0) / 3)
    assert found["unseen_share", "-", "all"] == pytest.approx(1 / 3)


def test_unknown_is_wrong_but_no_class() -> None:
    found = values(rows_of_family(flat, scored(["A", "A", "B"], ["A", "unknown", "B"])))
    assert found["accuracy", "-", "all"] == pytest.approx(2 / 3)
    assert found["macro_f1", "either", "all"] == pytest.approx((2 / 3 + 1) / 2)
    assert found["unknown_share", "-", "all"] == pytest.approx(1 / 3)


def test_groups_are_scored_on_their_own() -> None:
    groups = {"study": list("ssttu"), "tissue": ["lung", "unknown", "unknown", "lung", "unknown"]}
    data = scored(["A", "B", "A", "B", "A"], ["A", "B", "B", "B", "A1"], groups=groups)
    rows = [*rows_of_family(flat, data), *rows_of_family(ontology_aware, data)]
    found = {(row.metric, row.level, row.group): (row.value, row.n) for row in rows}
    assert found["accuracy", "study", "s"] == (1.0, 2)
    assert found["accuracy", "study", "t"] == (0.5, 2)
    assert found["macro_f1", "study", "t"] == (pytest.approx((0 + 2 / 3) / 2), 2)
    assert found["accuracy", "study", "u"] == found["macro_f1", "study", "u"] == (0.0, 1)
    assert found["ontology_accuracy", "study", "u"] == found["ontology_macro_f1", "study", "u"] == (1.0, 1)
    assert found["ontology_accuracy", "tissue", "lung"] == (1.0, 2)
    assert ("accuracy", "tissue", "unknown") not in found


# top-k


def test_a_hit_among_the_k_best_counts_as_the_truth() -> None:
    labels = np.array([["A", "B"], ["B", "A"], ["B", "A1"]], dtype=object)
    found = values(rows_of_family(topk, scored(["A", "A", "A"], labels)))
    assert found["accuracy_top1", "-", "all"] == pytest.approx(1 / 3)
    assert found["accuracy_top2", "-", "all"] == pytest.approx(2 / 3)
    assert found["macro_f1_top2", "truth", "all"] == pytest.approx(2 * 2 / (3 + 2))
    assert ("accuracy_top3", "-", "all") not in found


# hierarchical, by hand and against a plain loop over cells


def test_hierarchical_by_hand() -> None:
    # closures: A2x = {A2x, A2, A, B}, A1 = {A1, A}, B = {B}
    # (A2x, A1): both {A}; (A1, A1): both {A1, A}; (B, A2x): both {B}
    found = values(rows_of_family(hierarchical, scored(["A2x", "A1", "B"], ["A1", "A1", "A2x"])))
    hits, predicted, true = 1 + 2 + 1, 2 + 2 + 4, 4 + 2 + 1
    assert found["hierarchical_precision_micro", "-", "all"] == pytest.approx(hits / predicted)
    assert found["hierarchical_recall_micro", "-", "all"] == pytest.approx(hits / true)
    assert found["hierarchical_f1_micro", "-", "all"] == pytest.approx(2 * hits / (predicted + true))
    # nodes with true cells: A (2: tp 2), A1 (1: tp 1), A2 (1: tp 0), A2x (1: tp 0), B (2: tp 1)
    recalls = {"A": 2 / 2, "A1": 1 / 1, "A2": 0, "A2x": 0, "B": 1 / 2}
    support = {"A": 2, "A1": 1, "A2": 1, "A2x": 1, "B": 2}
    assert found["hierarchical_recall_macro", "-", "all"] == pytest.approx(sum(recalls.values()) / 5)
    weighted = sum(recalls[n] * support[n] for n in recalls) / sum(support.values())
    assert found["hierarchical_recall_weighted", "-", "all"] == pytest.approx(weighted)


@given(PAIRS)
def test_hierarchical_equals_a_plain_loop(pairs: list[tuple[str, str]]) -> None:
    toy = toy_ontology()
    truth, predicted = zip(*pairs, strict=True)
    found = values(rows_of_family(hierarchical, scored(truth, predicted)))
    both = sum(len(toy.closure(t) & toy.closure(p)) for t, p in pairs)
    of_truth, of_prediction = sum(len(toy.closure(t)) for t in truth), sum(len(toy.closure(p)) for p in predicted)
    assert found["hierarchical_f1_micro", "-", "all"] == pytest.approx(2 * both / (of_truth + of_prediction))
    f_measures = []
    for node in sorted(set().union(*(toy.closure(t) for t in truth))):
        tp = sum(node in toy.closure(t) & toy.closure(p) for t, p in pairs)
        fp = sum(node in toy.closure(p) - toy.closure(t) for t, p in pairs)
        fn = sum(node in toy.closure(t) - toy.closure(p) for t, p in pairs)
        f_measures.append(2 * tp / (2 * tp + fp + fn))
    assert found["hierarchical_f1_macro", "-", "all"] == pytest.approx(np.mean(f_measures))


def test_unknown_costs_hierarchical_recall_not_precision() -> None:
    found = values(rows_of_family(hierarchical, scored(["A1", "A1"], ["A1", "unknown"])))
    assert found["hierarchical_precision_micro", "-", "all"] == 1
    assert found["hierarchical_recall_micro", "-", "all"] == 0.5


# ontology-aware


def test_a_descendant_of_the_truth_is_right_an_ancestor_is_not() -> None:
    data = scored(["A", "A1", "A", "B"], ["A1", "A", "A", "A2x"], training=["A", "A1", "A2x", "B"])
    found = values(rows_of_family(ontology_aware, data))
    assert found["ontology_accuracy", "-", "all"] == pytest.approx(3 / 4)
    shares = [found[f"{name}_share", "-", "all"] for name in ("exact", "finer", "coarser", "unrelated")]
    assert shares == pytest.approx([1 / 4, 2 / 4, 1 / 4, 0])
    # corrected predictions: A, A, A, B, so A has tp 2 of 3 predicted and 2 true, A1 none, B all
    assert found["ontology_macro_f1", "truth", "all"] == pytest.approx((2 * 2 / (2 + 3) + 0 + 1) / 3)
    assert found["leaf_share", "-", "all"] == pytest.approx(2 / 4)


@given(PAIRS, st.sets(st.sampled_from(LABELS)))
@settings(max_examples=40, deadline=None)
def test_ontology_aware_equals_the_rule_applied_cell_by_cell(pairs: list[tuple[str, str]], ood: set[str]) -> None:
    """The evaluation of the paper: replace, then the classification report, over all classes or some of them."""
    toy = toy_ontology()
    truth, predicted = zip(*pairs, strict=True)
    replaced = [t if p == t or p in toy.descendants(t) else p for t, p in pairs]
    data = scored(truth, predicted, ood=sorted(ood))
    found = values(rows_of_family(ontology_aware, data))

    def report(labels: list[str] | None) -> dict[str, Any]:
        return sk.classification_report(truth, replaced, labels=labels, output_dict=True, zero_division=0)

    expected = {"truth": sorted(set(truth)), "either": None, "ood": sorted(ood & set(truth))}
    for label_set, labels in expected.items():
        if labels != []:
            value = report(labels)["macro avg"]["f1-score"]
            assert found["ontology_macro_f1", label_set, "all"] == pytest.approx(value), label_set
    of_classes, theirs = values(rows_of_family(per_class, data)), report(None)
    for label in expected["truth"]:
        assert of_classes["ontology_f1", "-", label] == pytest.approx(theirs[label]["f1-score"])
    assert np.isnan(found["ontology_macro_f1", "ood", "all"]) == (not ood & set(truth))


def test_the_classes_of_another_release_are_a_label_set() -> None:
    data = scored(["A", "B", "A1"], ["A", "B", "B"], ood=["A1", "B", "A2"])
    found = values([*rows_of_family(flat, data), *rows_of_family(ontology_aware, data)])
    assert found["macro_f1", "ood", "all"] == found["ontology_macro_f1", "ood", "all"] == pytest.approx((2 / 3 + 0) / 2)
    assert found["macro_recall", "ood", "all"] == pytest.approx(1 / 2)
    assert not any(key[1] == "ood" for key in values(rows_of_family(flat, scored(["A"], ["A"]))))


# calibration


@given(st.lists(st.tuples(st.sampled_from([0.1, 0.4, 0.4001, 0.8, 1.0]), st.booleans()), min_size=2, max_size=80))
def test_auroc_and_risk_coverage(cells: list[tuple[float, bool]]) -> None:
    confidence, right = np.array([c for c, _ in cells]), np.array([r for _, r in cells])
    if right.any() and not right.all():
        assert ranks.auroc(confidence, right) == pytest.approx(sk.roc_auc_score(right, confidence))
    risks = ranks.risk_coverage(confidence, right)
    assert risks[-1] == pytest.approx(1 - right.mean())
    # a second implementation: the mean over many random orders of the ties
    rng, total = np.random.default_rng(0), np.zeros(len(cells))
    for _ in range(300):
        order = np.lexsort((rng.random(len(cells)), -confidence))
        total += np.cumsum(~right[order]) / np.arange(1, len(cells) + 1)
    assert np.abs(risks - total / 300).max() < 0.2


def test_reliability_bins_are_closed_above() -> None:
    confidence = np.array([0.0, 0.1, 0.100001, 1.0])
    bins = ranks.reliability(confidence, np.array([True, False, True, True]), 10)
    assert [(name, n) for name, _, _, n in bins] == [("00", 2), ("01", 1), ("09", 1)]


def test_ece_and_brier_by_hand() -> None:
    probabilities = np.array([[0.8, 0.2], [0.8, 0.2], [0.3, 0.7], [0.6, 0.4]])
    data = scored(
        ["A", "B", "B", "A"],
        ["A", "A", "B", "A"],
        confidence=probabilities.max(axis=1),
        is_probability=True,
        probabilities=probabilities,
        probability_classes=np.array(["A", "B"], dtype=object),
        bins=10,
    )
    found = values(rows_of_family(calibration, data))
    assert found["ece", "-", "all"] == pytest.approx((2 * abs(0.5 - 0.8) + abs(1 - 0.7) + abs(1 - 0.6)) / 4)
    brier = (0.2**2 * 2 + 0.8**2 * 2 + 0.3**2 * 2 + 0.4**2 * 2) / 4
    assert found["brier", "-", "all"] == pytest.approx(brier)
    assert found["auroc_ovr", "shared", "all"] == pytest.approx(sk.roc_auc_score([0, 1, 1, 0], probabilities[:, 1]))


def test_brier_of_a_class_that_was_never_trained() -> None:
    data = scored(
        ["A1", "A"],
        ["A", "A"],
        confidence=np.array([1.0, 1.0]),
        is_probability=True,
        probabilities=np.array([[1.0, 0.0], [1.0, 0.0]]),
        probability_classes=np.array(["A", "B"], dtype=object),
        training=["A", "B"],
    )
    assert values(rows_of_family(calibration, data))["brier", "-", "all"] == pytest.approx((1 + 1 + 0) / 2)


def test_correlations_are_no_probabilities() -> None:
    found = values(rows_of_family(calibration, scored(["A", "B"], ["A", "A"], confidence=np.array([0.9, 0.2]))))
    assert ("ece", "-", "all") not in found
    assert found["auroc_correct", "-", "all"] == 1


# all of them


def test_every_row_is_a_registered_metric_within_its_range() -> None:
    rng = np.random.default_rng(0)
    truth = rng.choice(LABELS, 50)
    probabilities = rng.dirichlet(np.ones(5), 50)
    order = np.argsort(-probabilities, axis=1)
    data = scored(
        truth,
        np.array(LABELS, dtype=object)[order],
        confidence=probabilities.max(axis=1),
        is_probability=True,
        probabilities=probabilities,
        probability_classes=np.array(LABELS, dtype=object),
        groups={"donor": np.array(["d"] * 50, dtype=object)},
    )
    rows = every_row(data)
    for row in rows:
        metric = METRICS[row.metric]
        assert metric.family == row.family
        assert metric.low <= row.value <= metric.high, row
    seen = {row.metric for row in rows}
    elsewhere = [*resources.METRICS, *status.METRICS, *confidence.METRICS, *markers.METRICS]  # need more than labels
    elsewhere += [m for m in METRICS.values() if "embedding" in FAMILIES[m.family].needs]
    elsewhere += [*perturbation.METRICS, *perturbation_published.METRICS]
    elsewhere += unseen_types.METRICS  # every type here is seen
    fitted = {"decisions", "temperature", "run"}  # what only a fit leaves; tests of their own look at these families
    elsewhere += [m for m in METRICS.values() if fitted & set(FAMILIES[m.family].needs)]
    silent = {m.name for m in METRICS.values()} - seen - {m.name for m in elsewhere}
    assert not silent


def test_the_oracle_reaches_the_best_value_of_every_metric() -> None:
    truth = np.array(LABELS * 4, dtype=object)
    probabilities = (truth[:, None] == np.array(LABELS)[None, :]).astype(float)
    order = np.argsort(-probabilities, axis=1, kind="stable")
    data = scored(
        truth,
        np.array(LABELS, dtype=object)[order],
        confidence=probabilities.max(axis=1),
        is_probability=True,
        probabilities=probabilities,
        probability_classes=np.array(LABELS, dtype=object),
    )
    for row in every_row(data):
        best = METRICS[row.metric].best
        if best is not None:
            assert row.value == pytest.approx(best), row


def test_majority_scores_what_theory_says() -> None:
    truth = ["A"] * 6 + ["B"] * 3 + ["A1"]
    found = values(rows_of_family(flat, scored(truth, ["A"] * 10)))
    assert found["accuracy", "-", "all"] == pytest.approx(0.6)
    assert found["balanced_accuracy", "truth", "all"] == pytest.approx(1 / 3)
    assert found["macro_f1", "truth", "all"] == pytest.approx((2 * 6 / 16) / 3)
    assert found["cohen_kappa", "-", "all"] == pytest.approx(0)
    assert found["mcc", "-", "all"] == pytest.approx(0)


def test_random_guessing_scores_what_theory_says() -> None:
    rng = np.random.default_rng(0)
    share = np.array([0.6, 0.3, 0.1])
    truth, guess = (np.array(["A", "B", "A1"])[rng.choice(3, 60_000, p=share)] for _ in range(2))
    found = values(rows_of_family(flat, scored(truth, guess)))
    assert found["accuracy", "-", "all"] == pytest.approx((share**2).sum(), abs=0.01)
    assert found["balanced_accuracy", "truth", "all"] == pytest.approx(1 / 3, abs=0.01)
    assert found["cohen_kappa", "-", "all"] == pytest.approx(0, abs=0.015)


def test_resources_come_out_of_the_run_record() -> None:
    evidence = Evidence(scored(["A"], ["A"]))
    evidence.run = RunRecord(**IDENTITY, fit_seconds=1.5, peak_rss_mb=100, peak_gpu_mb=None)
    found = values(resources.FAMILY.compute(evidence))
    assert found == {("fit_seconds", "-", "all"): 1.5, ("peak_rss_mb", "-", "all"): 100}
