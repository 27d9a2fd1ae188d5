"""Probes equal scikit-learn's classifiers, and profiles of donors are what one computes by hand."""

from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import StandardScaler

from annobench.core.errors import DataError
from annobench.fit.embedding import write_embedding
from annobench.fit.method import Context, Embedding, FinishedFit
from annobench.fit.predictions import Predictions, joined
from annobench.fit.run_record import RunRecord
from annobench.methods.probe import Probe, profiles
from helpers import run_record, toy_ontology

CLASSES = ["A", "B", "C"]
N = 90


@pytest.fixture
def fit(tmp_path: Path) -> FinishedFit:
    """A finished fit whose embedding has three clouds of points."""
    names = np.array([f"c{i}" for i in range(N)], dtype=object)
    rng = np.random.default_rng(0)
    values = rng.normal(np.arange(N)[:, None] % 3, 0.8, (N, 4)) * [1, 10, 0.1, 1]
    write_embedding(tmp_path / "embedding.npz", {"train": names}, [Embedding(names, values)])
    run_record(tmp_path / "run.json", method="base", outputs=("embedding",))
    return FinishedFit(tmp_path, RunRecord.read(tmp_path / "run.json"), "embedding", "embedding")


def cells(rows: list[int], **obs: Any) -> ad.AnnData:
    """Cells as a method with `needs.cells: none` gets them."""
    labels = {"label_id": [CLASSES[i % 3] for i in rows], "donor": [f"d{i % 2}" for i in rows]}
    return ad.AnnData(obs=pd.DataFrame(labels | obs, index=[f"c{i}" for i in rows]))


def probed(fit: FinishedFit, train: ad.AnnData, query: ad.AnnData, **parameters: Any) -> tuple[Probe, Predictions]:
    method = Probe(**parameters)
    method.fit(train, Context(seed=3, classes=CLASSES, ontology=toy_ontology(), uses={"embedding": (fit,)}))
    return method, joined(method.predict(query))


@pytest.mark.parametrize(
    ("name", "model"),
    [
        ("logistic_regression", LogisticRegression(max_iter=1000)),
        ("knn", KNeighborsClassifier(5)),
        ("random_forest", RandomForestClassifier(100, random_state=3)),
    ],
)
def test_probabilities_are_those_of_scikit_learn(fit: FinishedFit, name: str, model: Any) -> None:
    rows = np.random.default_rng(1).permutation(N).tolist()
    train, query = cells(rows[:60]), cells(rows[60:])
    method, found = probed(fit, train, query, classifier=name)
    values = fit.embedding().values.astype(float)
    scaler = StandardScaler(with_mean=name != "random_forest", with_std=name != "random_forest").fit(values[rows[:60]])
    model.fit(scaler.transform(values[rows[:60]]), train.obs["label_id"].astype(str))
    expected = model.predict_proba(scaler.transform(values[rows[60:]]))
    assert found.classes == tuple(CLASSES)
    assert np.allclose(found.probabilities, expected, atol=1e-6)
    assert found.cell_ids.tolist() == query.obs_names.tolist()
    assert (found.labels[:, 0] == query.obs["label_id"]).mean() > 0.6  # else the clouds would teach nothing
    assert (found.decisions is not None) == (name == "logistic_regression")
    assert method.notes == {"embedding": "base", "dimensions": 4}
    assert method.trainable_parameters == (3 * 4 + 3 if name == "logistic_regression" else None)


def test_two_classes_have_a_decision_value_each(fit: FinishedFit) -> None:
    rows = [i for i in range(N) if i % 3 < 2]
    _, found = probed(fit, cells(rows[:40]), cells(rows[40:]))
    assert found.decisions is not None
    assert np.allclose(found.decisions[:, 0], -found.decisions[:, 1])
    assert ((found.decisions[:, 1] > 0) == (found.labels[:, 0] == "B")).all()


def test_neighbours_are_no_more_than_the_cells(fit: FinishedFit) -> None:
    _, found = probed(fit, cells([0, 1, 2]), cells([3]), classifier="knn", n_neighbors=50)
    assert np.allclose(found.probabilities, 1 / 3)


def test_a_regression_that_was_stopped_says_so(fit: FinishedFit) -> None:
    method, _ = probed(fit, cells(list(range(60))), cells([70]), max_iter=1)
    assert method.notes is not None
    assert method.notes["not_converged"] == "stopped after 1 iterations (parameters.max_iter)"


def test_cells_that_were_not_embedded_are_counted_and_named(fit: FinishedFit) -> None:
    with pytest.raises(DataError, match="the embedding of 'base' lacks 2 of 3 cells, such as c90, c91; have them"):
        probed(fit, cells([0, 90, 91]), cells([1]))


PLACES = np.array([[0.0, 1.0], [2.0, 3.0], [10.0, 11.0], [4.0, 4.0], [6.0, 8.0]])
LABELS = np.array(["A", "A", "A", "B", "A"], dtype=object)
DONORS = np.array(["d1", "d1", "d1", "d1", "d2"], dtype=object)


@pytest.mark.parametrize(("how", "first"), [("mean", [4.0, 5.0]), ("median", [2.0, 3.0])])
def test_profiles_by_hand(how: str, first: list[float]) -> None:
    places, labels, notes = profiles(PLACES, LABELS, DONORS, how)
    assert places.tolist() == [first, [4.0, 4.0], [6.0, 8.0]]
    assert labels.tolist() == ["A", "B", "A"]
    assert notes == {"aggregate": how, "profiles": 3, "cells_without_donor": 0}


@given(st.lists(st.tuples(st.sampled_from("AB"), st.sampled_from(["d1", "d2"])), min_size=2, max_size=20))
def test_profiles_equal_those_of_a_loop(pairs: list[tuple[str, str]]) -> None:
    labels, donors = (np.array(column, dtype=object) for column in zip(*pairs, strict=True))
    if len(set(labels)) < 2:
        return
    values = np.random.default_rng(len(pairs)).normal(size=(len(pairs), 2))
    places, classes, _ = profiles(values, labels, donors, "mean")
    asked = [(d, c) for d in sorted(set(donors)) for c in sorted(set(labels)) if ((donors == d) & (labels == c)).any()]
    assert classes.tolist() == [c for _, c in asked]
    assert np.allclose(places, [values[(donors == d) & (labels == c)].mean(axis=0) for d, c in asked])


def test_cells_of_unknown_donor_are_left_out_and_counted() -> None:
    donors = np.array(["unknown", "d1", "d1", "d1", "unknown"], dtype=object)
    labels = np.array(["C", "A", "A", "B", "A"], dtype=object)
    places, classes, notes = profiles(PLACES, labels, donors, "mean")
    assert (len(places), classes.tolist()) == (2, ["A", "B"])
    assert notes == {"aggregate": "mean", "profiles": 2, "cells_without_donor": 2, "classes_without_donor": "C"}


@pytest.mark.parametrize(
    ("donors", "message"),
    [
        (["unknown"] * 5, "parameters.aggregate: mean: no training cell has a donor; name the column in cells.donor"),
        (["d1", "d1", "d1", "unknown", "d2"], r"have one class only \(A\), 1 cells of unknown donor are left out"),
    ],
)
def test_profiles_without_donors_are_refused(donors: list[str], message: str) -> None:
    with pytest.raises(DataError, match=message):
        profiles(PLACES, LABELS, np.array(donors, dtype=object), "mean")


def test_a_probe_of_profiles_labels_every_test_cell(fit: FinishedFit) -> None:
    train = cells(list(range(60)))
    method, found = probed(fit, train, cells(list(range(60, N))), aggregate="median")
    assert method.notes is not None
    assert method.notes["profiles"] == 6
    assert len(found.cell_ids) == 30
    del train.obs["donor"]
    with pytest.raises(DataError, match="no training cell has a donor"):
        probed(fit, train, cells([60]), aggregate="median")
