"""What is promised: the support vector machine is scikit-learn's, and rejects what it is told to reject."""

from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.calibration import CalibratedClassifierCV
from sklearn.svm import LinearSVC

from annobench.cells.expression import log_normalised
from annobench.core.errors import ConfigError
from annobench.fit.method import Context
from annobench.fit.predictions import Predictions, joined, validate
from annobench.methods.svm import LinearSvm, calibration_folds, rejected
from annobench.ontology import Ontology
from helpers import cells


@pytest.fixture(scope="module")
def data(ontology: Ontology) -> ad.AnnData:
    return cells(ontology, cells=240, genes=120, seed=3)


def fitted(data: ad.AnnData, ontology: Ontology, **parameters: Any) -> LinearSvm:
    method = LinearSvm(**parameters)
    method.fit(data[:140].copy(), Context(seed=1, classes=sorted(set(data.obs["label_id"])), ontology=ontology))
    return method


@pytest.mark.parametrize("classes", [5, 2])
def test_it_equals_scikit_learn_by_hand(data: ad.AnnData, ontology: Ontology, classes: int) -> None:
    few = data.copy()
    if classes == 2:
        few.obs["label_id"] = np.where(few.obs["label_id"] == "CL:0000236", "CL:0000236", "CL:0000084")
    found = joined(fitted(few, ontology, n_genes=None).predict(few[140:].copy()))
    values, labels = log_normalised(few), few.obs["label_id"].to_numpy(dtype=str)
    parts, rare = calibration_folds(labels[:140], 5, seed=1)
    assert not rare
    model = CalibratedClassifierCV(LinearSVC(random_state=1), cv=parts).fit(values[:140], labels[:140])
    expected = model.predict_proba(values[140:])
    assert found.classes == tuple(model.classes_)
    assert np.allclose(found.probabilities, expected, atol=1e-9)
    assert found.labels[:, 0].tolist() == model.predict(values[140:]).tolist()
    distances = np.mean([one.estimator.decision_function(values[140:]) for one in model.calibrated_classifiers_], 0)
    assert np.allclose(found.decisions if classes > 2 else found.decisions[:, 1], distances, atol=1e-9)


def test_cells_below_the_cut_are_unknown_and_counted(data: ad.AnnData, ontology: Ontology) -> None:
    plain, cut = fitted(data, ontology), fitted(data, ontology, reject_below=0.7)
    query = data[140:].copy()
    kept, found = joined(plain.predict(query)), joined(cut.predict(query))
    low = kept.probabilities.max(axis=1) < 0.7
    assert 0 < low.sum() < len(low)
    assert ((found.labels[:, 0] == "unknown") == low).all()
    assert (found.labels[low, 1] == kept.labels[low, 0]).all()
    assert np.array_equal(found.labels[~low], kept.labels[~low])
    assert np.array_equal(found.probabilities, kept.probabilities)
    assert np.array_equal(found.confidence, kept.confidence)
    validate(found, query.obs_names, sorted(set(data.obs["label_id"])))
    joined(cut.predict(query[:3].copy()))  # later questions, such as of validation cells, are not counted
    assert cut.notes["cells_unknown"] == low.sum()


@pytest.mark.parametrize(("below", "unknown"), [(0.0, 0.0), (1.0, 1.0)])
def test_the_ends_of_the_cut(data: ad.AnnData, ontology: Ontology, below: float, unknown: float) -> None:
    found = joined(fitted(data, ontology, reject_below=below).predict(data[140:].copy()))
    assert (found.labels[:, 0] == "unknown").mean() == unknown


@pytest.mark.parametrize("parameters", [{"reject_below": 1.5}, {"reject_below": -0.1}, {"folds": 1}])
def test_values_that_mean_nothing_are_refused(parameters: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(parameters))):
        LinearSvm(**parameters)


def test_a_saved_model_is_the_same_to_the_last_bit(data: ad.AnnData, ontology: Ontology, tmp_path: Path) -> None:
    method = fitted(data, ontology, reject_below=0.7)
    method.save(tmp_path)
    first, again = (joined(m.predict(data[140:].copy())) for m in (method, LinearSvm.load(tmp_path)))
    assert np.array_equal(first.labels, again.labels)
    assert np.array_equal(first.probabilities, again.probabilities)
    assert np.array_equal(first.decisions, again.decisions)


def test_classes_with_few_cells_are_said(data: ad.AnnData, ontology: Ontology) -> None:
    few = data.copy()
    few.obs.loc[few.obs_names[:3], "label_id"] = "CL:0000540"
    method = fitted(few, ontology)
    assert method.notes["not_held_out"] == (
        "1 classes with fewer than 5 cells (3 cells: CL:0000540) are calibrated on cells that also train"
    )
    assert "CL:0000540" in joined(method.predict(few[140:].copy())).classes


def test_machines_that_do_not_converge_are_said(data: ad.AnnData, ontology: Ontology) -> None:
    method = fitted(data, ontology, max_iter=1)
    assert method.notes["not_converged"] == "5 of 5 machines stopped after 1 iterations (parameters.max_iter)"
    assert "not_converged" not in fitted(data, ontology).notes


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from("abcd"), min_size=1, max_size=60), st.integers(2, 6), st.integers(0, 99))
def test_every_fold_trains_and_calibrates_every_class(drawn: list[str], folds: int, seed: int) -> None:
    labels = np.array(drawn)
    parts, few = calibration_folds(labels, folds, seed)
    counts = {name: drawn.count(name) for name in set(drawn)}
    assert len(parts) == max(1, min(folds, max(counts.values())))
    for rest, held in parts:
        assert set(labels[rest]) == set(labels[held]) == set(drawn)
        assert set(labels[np.intersect1d(rest, held)]) == set(few)
    often = [i for i, name in enumerate(drawn) if name not in few]
    assert sorted(i for _, held in parts for i in held if i in often) == often  # each is held out once
    assert len(parts) == 1 or set(few) == {name for name, n in counts.items() if n < len(parts)}


def test_rejecting_keeps_the_number_of_labels() -> None:
    found = Predictions.from_probabilities(["a", "b"], np.array([[0.6, 0.4], [0.1, 0.9]]), ["x", "y"], top_k=2)
    assert rejected(found, 0.7).labels.tolist() == [["unknown", "x"], ["y", "x"]]
    assert found.scores.tolist() == [[0.6, 0.6], [0.9, 0.1]]
