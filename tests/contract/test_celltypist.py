"""What is promised: CellTypist is trained with the settings that are named, or the fit says why it is not."""

import json
from pathlib import Path
from typing import Any

import anndata as ad
import celltypist
import numpy as np
import pytest

from annobench.config.entities import load_method
from annobench.core.errors import ConfigError, MethodSkipped
from annobench.core.paths import ROOT
from annobench.fit.method import Context
from annobench.fit.predictions import joined
from annobench.methods.celltypist_custom import CellTypistCustom, _normalised
from annobench.ontology import Ontology
from helpers import cells

RECIPE: dict[str, Any] = {"use_SGD": True, "mini_batch": True, "balance_cell_type": True}


@pytest.fixture(scope="module")
def data(ontology: Ontology) -> ad.AnnData:
    return cells(ontology, cells=240, genes=80, seed=4)


def fitted(data: ad.AnnData, ontology: Ontology, *, seed: int = 1, **parameters: Any) -> CellTypistCustom:
    method = CellTypistCustom(**parameters)
    classes = sorted(set(data.obs["label_id"]))
    method.fit(data[:160].copy(), Context(seed=seed, classes=classes, ontology=ontology))
    return method


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"mini_batch": True}, "mini_batch needs use_SGD"),
        ({"use_SGD": True, "balance_cell_type": True}, "balance_cell_type needs mini_batch"),
        ({"use_SGD": True, "batch_size": 50}, "need mini_batch"),
        ({"epochs": 3}, "need mini_batch"),
        ({**RECIPE, "max_iter": 5}, "max_iter has no effect with mini_batch"),
        ({"alpha": 0.1}, "alpha needs use_SGD"),
        ({"use_SGD": True, "C": 2.0}, "C has no effect with use_SGD"),
        ({"top_genes": 10}, "top_genes needs feature_selection"),
        ({**RECIPE, "batch_number": 0}, "at least 1"),
    ],
)
def test_settings_that_would_do_nothing_are_refused(parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        CellTypistCustom(**parameters)


def test_fewer_cells_than_a_batch_and_fewer_genes_than_wanted_are_skips(data: ad.AnnData, ontology: Ontology) -> None:
    with pytest.raises(MethodSkipped, match="160 cells, batch_size 160; lower batch_size, or set mini_batch to false"):
        fitted(data, ontology, **RECIPE, batch_size=160)
    fitted(data, ontology, **RECIPE, batch_size=159)
    with pytest.raises(MethodSkipped, match="more expressed genes than top_genes: .* genes, 80"):
        fitted(data, ontology, feature_selection=True, top_genes=80)
    fitted(data, ontology, feature_selection=True, top_genes=20)
    unexpressed = data.copy()
    unexpressed.X = unexpressed.X.multiply(np.arange(80) < 20).tocsr()
    with pytest.raises(MethodSkipped, match="20 genes, 20"):
        fitted(unexpressed, ontology, feature_selection=True, top_genes=20)


def test_the_settings_reach_celltypist(data: ad.AnnData, ontology: Ontology, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, Any] = {}
    train = celltypist.train

    def spy(*arguments: Any, **options: Any) -> Any:
        seen.update(options)
        return train(*arguments, **options | {"batch_size": 50})

    monkeypatch.setattr(celltypist, "train", spy)
    monkeypatch.setattr(CellTypistCustom, "_check_sizes", lambda self, values, options: None)
    fitted(data, ontology, **load_method("celltypist_panel", ROOT, "")["parameters"] | {"whole_if_small": False})
    # what spatialcore 0.5.4 hands to celltypist.train, the seed aside
    expected = {"use_SGD": True, "mini_batch": True, "balance_cell_type": True, "feature_selection": False}
    expected |= {"epochs": 10, "batch_size": 1000, "batch_number": 200, "check_expression": False, "alpha": 1e-4}
    assert {key: seen[key] for key in expected} == expected


def test_mini_batches_are_seeded(data: ad.AnnData, ontology: Ontology) -> None:
    first, again, other = (
        fitted(data, ontology, seed=seed, **RECIPE, batch_size=40)._model.classifier.coef_ for seed in (1, 1, 2)
    )
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_a_first_cell_without_counts_is_no_error(data: ad.AnnData, ontology: Ontology) -> None:
    """CellTypist checks the first cell for all, and would refuse the whole matrix."""
    holed = data.copy()
    holed.X = holed.X.multiply(np.arange(holed.n_obs)[:, None] != 0).tocsr()
    assert joined(fitted(holed, ontology).predict(data[160:].copy())).labels.shape[0] == 80


@pytest.mark.parametrize("classes", [2, 5])
def test_what_is_saved_predicts_the_same(data: ad.AnnData, ontology: Ontology, tmp_path: Path, classes: int) -> None:
    kept = sorted(set(data.obs["label_id"]))[:classes]
    part = data[data.obs["label_id"].isin(kept)].copy()
    method = CellTypistCustom(**RECIPE, batch_size=20, epochs=2)
    method.fit(part[:60].copy(), Context(seed=1, classes=kept, ontology=ontology))
    method.save(tmp_path)
    query = part[60:].copy()
    before, after = joined(method.predict(query)), joined(CellTypistCustom.load(tmp_path).predict(query))
    assert before.labels.tolist() == after.labels.tolist()
    assert np.allclose(before.probabilities, after.probabilities)
    assert np.allclose(before.confidence, after.confidence)
    assert {file.name for file in tmp_path.iterdir()} == {"arrays.npz", "state.json"}  # nothing that is executed
    assert json.loads((tmp_path / "state.json").read_text())["classes"] == kept


def test_decision_values_far_below_zero_have_probabilities(data: ad.AnnData, ontology: Ontology) -> None:
    """As large as those of published models; the sigmoids of all classes are then zero."""
    method = fitted(data, ontology)
    query = data[160:].copy()
    before = joined(method.predict(query))
    expected = celltypist.annotate(_normalised(query), model=method._model).probability_matrix
    shares = expected.to_numpy() / expected.to_numpy().sum(axis=1, keepdims=True)
    assert np.allclose(before.probabilities, shares)
    assert np.allclose(before.confidence, expected.to_numpy().max(axis=1))
    method._model.classifier.intercept_ -= 3000
    after = joined(method.predict(query))
    assert np.isfinite(after.probabilities).all()
    assert np.allclose(after.probabilities.sum(axis=1), 1)
    assert after.confidence.max() == 0
    assert after.labels[:, 0].tolist() == before.labels[:, 0].tolist()


def test_where_one_batch_holds_all_cells_they_may_be_seen_at_once(data: ad.AnnData, ontology: Ontology) -> None:
    recipe = load_method("celltypist_panel", ROOT, "")["parameters"]
    method = fitted(data, ontology, **recipe)
    plain = fitted(data, ontology, use_SGD=True)
    assert np.array_equal(method._model.classifier.coef_, plain._model.classifier.coef_)
    with pytest.raises(MethodSkipped, match="more training cells than one batch"):
        fitted(data, ontology, **recipe | {"whole_if_small": False})
