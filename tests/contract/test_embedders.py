"""What is promised: what gives an embedding gives the same one again, from memory, a store or a saved model."""

import json
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pytest
import scanpy as sc

from annobench.cells.store.store import Store
from annobench.cells.store.writer import StoreWriter
from annobench.cells.stored_cells import StoredCells
from annobench.config.entities import load_method
from annobench.config.method_facts import Abilities, Needs
from annobench.core.errors import ConfigError, MethodSkipped
from annobench.core.paths import ROOT
from annobench.fit.child import main
from annobench.fit.embedding import Embedding, read_embedding
from annobench.fit.method import Context, Method
from annobench.fit.predictions import joined
from annobench.fit.registry import load_class
from annobench.methods.mlp import Perceptron
from annobench.methods.pca import PrincipalComponentAnalysis
from annobench.methods.tabnet import TabNet
from annobench.ontology import Ontology
from helpers import KEEP, cells, fit_job

NETWORKS: dict[str, dict[str, Any]] = {
    "mlp": {"width": 16, "blocks": 2, "recipe": {"epochs": 2, "min_steps": 4}},
    "tabnet": {"decision": 8, "attention": 4, "shared": 1, "own": 1, "recipe": {"epochs": 2, "min_steps": 4}},
}
PCAS = ["pca", "pca_train", "pca_peer"]


@pytest.fixture(scope="module")
def data(ontology: Ontology) -> ad.AnnData:
    return cells(ontology, cells=240, genes=120, seed=3)


def context(data: ad.AnnData, ontology: Ontology, **more: Any) -> Context:
    classes = sorted(set(data[:140].obs["label_id"]))
    return Context(seed=1, classes=classes, ontology=ontology, validation=data[140:170].copy(), **more)


def network(name: str, data: ad.AnnData, ontology: Ontology) -> Method:
    method = load_class(name)(**NETWORKS[name])
    method.fit(data[:140].copy(), context(data, ontology))
    return method


def pca(name: str, data: ad.AnnData, ontology: Ontology) -> PrincipalComponentAnalysis:
    """Fitted as the runner does it."""
    file = load_method(name, ROOT, "")
    method = PrincipalComponentAnalysis(**file["parameters"] | {"n_genes": 60, "n_components": 10})
    query = data[170:].copy() if file["needs"]["query"] else None
    method.fit(data[:140].copy(), context(data, ontology, query=query))
    return method


def values(method: Method, query: Any) -> np.ndarray:
    parts = list(method.embed(query))
    names = np.concatenate([part.cell_ids for part in parts])
    return Embedding(names, np.concatenate([part.values for part in parts])).in_order(query.obs_names.to_numpy())


# networks


@pytest.mark.parametrize("name", NETWORKS)
def test_the_head_makes_predictions_of_the_embedding(name: str, data: ad.AnnData, ontology: Ontology) -> None:
    method, query = network(name, data, ontology), data[170:].copy()
    found = values(method, query)
    state = {key: value.double().numpy() for key, value in method._model.state_dict().items()}  # type: ignore[attr-defined]
    last = [key for key in state if key.endswith("weight")][-1] if name == "mlp" else "head"
    logits = found @ state[last].T + (state[last.replace("weight", "bias")] if name == "mlp" else 0)
    assert np.allclose(logits, joined(method.predict(query)).decisions, atol=1e-4)
    assert found.shape == (70, {"mlp": 16, "tabnet": 8}[name])


@pytest.mark.parametrize("name", NETWORKS)
def test_networks_embed_alike_again_after_loading_and_from_a_store(
    name: str, data: ad.AnnData, ontology: Ontology, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    method, query = network(name, data, ontology), data[170:].copy()
    found = values(method, query)
    assert np.array_equal(found, values(method, query))
    assert np.allclose(found, values(network(name, data, ontology), query), atol=1e-5)
    (tmp_path / "model").mkdir()
    method.save(tmp_path / "model")
    assert np.array_equal(found, values(type(method).load(tmp_path / "model"), query))
    obs = data.obs.rename_axis("cell_id")
    with StoreWriter(tmp_path / "store", data.var, shard_cells=100, uns=dict(data.uns["annobench"])) as writer:
        writer.append(data.X, obs)
        writer.finish()
    stored = StoredCells(Store.open(tmp_path / "store"), np.arange(data.n_obs), obs)
    monkeypatch.setattr("annobench.methods.torch.classifier._ASKED", 17)  # parts
    assert np.allclose(found, values(method, stored[170:]), atol=1e-5)


def test_what_has_no_hidden_layer_says_so() -> None:
    assert Perceptron.abilities.embedding
    assert TabNet.abilities.embedding
    assert not load_class("linear").abilities.embedding
    # of millions of cells it would take a pass and a gigabyte
    assert not load_method("hce_mlp_hce", ROOT, "")["abilities"]["embedding"]
    assert not load_method("hce_tabnet_ce", ROOT, "")["abilities"]["embedding"]


# principal components


@pytest.mark.parametrize("name", PCAS)
def test_states_of_the_method_files_agree_with_what_it_is_fitted_on(name: str) -> None:
    file = load_method(name, ROOT, "")
    on_train = file["parameters"]["fitted_on"] == "train"
    assert file["needs"]["query"] == (not on_train)
    assert file["abilities"]["trains"] == on_train


def test_components_of_the_test_cells_equal_scanpys(data: ad.AnnData, ontology: Ontology) -> None:
    query = data[170:].copy()
    query.X = query.X.astype(np.float32)
    for name, total in (("pca_peer", None), ("pca", 1e4)):
        theirs = query.copy()
        sc.pp.normalize_total(theirs, target_sum=total)
        sc.pp.log1p(theirs)
        sc.pp.highly_variable_genes(theirs, n_top_genes=60, flavor="seurat")
        sc.pp.pca(theirs, n_comps=10, random_state=42)
        ours = values(pca(name, data, ontology), query)
        expected = theirs.obsm["X_pca"]
        signs = np.sign((ours * expected).sum(axis=0))
        assert np.allclose(ours * signs, expected, atol=2e-3), name


def test_other_test_cells_change_nothing_where_training_cells_decide(data: ad.AnnData, ontology: Ontology) -> None:
    method = pca("pca_train", data, ontology)
    assert np.allclose(values(method, data[170:].copy())[:20], values(method, data[170:190].copy()), atol=1e-5)


@pytest.mark.parametrize("name", PCAS)
def test_the_same_seed_gives_the_same_components(name: str, data: ad.AnnData, ontology: Ontology) -> None:
    query = data[170:].copy()
    first, second = (values(pca(name, data, ontology), query) for _ in range(2))
    assert np.array_equal(first, second)


def test_components_of_training_cells_are_kept(data: ad.AnnData, ontology: Ontology, tmp_path: Path) -> None:
    query = data[170:].copy()
    method = pca("pca_train", data, ontology)
    method.save(tmp_path)
    assert np.array_equal(values(PrincipalComponentAnalysis.load(tmp_path), query), values(method, query))
    (tmp_path / "other").mkdir()
    pca("pca", data, ontology).save(tmp_path / "other")
    assert list((tmp_path / "other").iterdir()) == []


@pytest.mark.parametrize(("fitted_on", "given"), [("query", False), ("train", True)])
def test_a_file_that_contradicts_itself_is_refused(
    fitted_on: Any, given: bool, data: ad.AnnData, ontology: Ontology
) -> None:
    method = PrincipalComponentAnalysis(fitted_on=fitted_on)
    with pytest.raises(ConfigError, match=f"parameters.fitted_on is {fitted_on}: the method file must say"):
        method.fit(data, context(data, ontology, query=data if given else None))


def test_a_median_of_logarithms_is_a_reason_to_skip(data: ad.AnnData, ontology: Ontology) -> None:
    logged = data.copy()
    logged.uns["annobench"]["matrix"] = "log1p_cp10k"
    with pytest.raises(MethodSkipped, match=r"total: null\), and the dataset holds log1p_cp10k"):
        pca("pca_peer", logged, ontology)


# through the runner


@pytest.mark.parametrize("name", ["pca", "pca_train"])
def test_a_fit_records_what_its_embedding_is_like(
    name: str,
    jobs: dict[str, dict[str, str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    file = load_method(name, ROOT, "")
    job = fit_job(
        jobs["store"],
        "pca",
        parameters=file["parameters"] | {"n_components": 7},
        needs=Needs.from_params(file["needs"]).to_params(),
        abilities=Abilities.from_params(file["abilities"]).to_params(),
    )
    (tmp_path / "job.json").write_text(json.dumps(job.to_params()))
    monkeypatch.setattr("annobench.fit.child.die_with_parent", lambda: None)
    main(tmp_path / "job.json")
    result = json.loads((tmp_path / "result.json").read_text())
    assert result["reason"] is None
    assert result["outputs"] == (["embedding"] if name == "pca" else ["embedding", "model"])
    found = result["notes"]["embedding"]
    assert found.pop("sha256")
    assert 1 < found.pop("effective_rank") <= 7
    tested = len(read_embedding(tmp_path / "embedding.npz").cell_ids)
    assert found == {"cells": tested, "dimensions": 7, "collapsed_dimensions": 0, "unit_norm": False}
    assert f"embedding: cells {tested}, dimensions 7, effective_rank" in capsys.readouterr().out


def imported(files: dict[str, str], folder: Path, **parameters: Any) -> dict[str, Any]:
    """What the child process of a fit says of an imported embedding."""
    file = load_method("imported_embedding", ROOT, "")
    job = fit_job(
        files,
        "imported_embedding",
        parameters=file["parameters"] | parameters,
        needs=Needs.from_params(file["needs"]).to_params(),
        abilities=Abilities.from_params(file["abilities"]).to_params(),
        keep=KEEP | {"embedding_roles": ["train", "val", "test"]},
        training="all",
    )
    (folder / "job.json").write_text(json.dumps(job.to_params()))
    main(folder / "job.json")
    found: dict[str, Any] = json.loads((folder / "result.json").read_text())
    return found


@pytest.mark.parametrize("storage", ["memory", "store"])
def test_an_import_through_the_runner(
    storage: str, jobs: dict[str, dict[str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("annobench.fit.child.die_with_parent", lambda: None)
    files = jobs[storage] | {"panel": str(Path(jobs[storage]["split"]).with_name("panel.csv"))}
    names = ad.read_h5ad(jobs["memory"]["cells"]).obs_names.to_numpy().astype(str)
    places = np.random.default_rng(0).normal(size=(len(names), 3)).astype(np.float32)
    order = np.random.default_rng(1).permutation(len(names))
    path = tmp_path / "e.npz"
    np.savez(path, e=places[order], names=names[order])
    given = {"path": str(path), "key": "e", "cell_id": "names"}
    result = imported(files, tmp_path, **given)
    assert (result["status"], result["reason"], result["outputs"]) == ("ok", None, ["embedding"])
    stored = read_embedding(tmp_path / "embedding.npz")
    of = dict(zip(names.tolist(), places.tolist(), strict=True))
    assert stored.values.tolist() == [of[cell] for cell in stored.cell_ids]
    assert set(stored.roles) == {"train", "val", "test"}
    assert result["notes"]["cells_joined"] == len(stored.cell_ids) == result["notes"]["embedding"]["cells"]
    assert result["notes"]["cells_surplus"] == len(names) - len(stored.cell_ids)
    np.savez(path, e=np.full((len(names), 3), 0.1), names=names)
    result = imported(files, tmp_path, **given)
    assert (result["status"], result["reason"]) == ("failed", "the embedding is the same for every cell")
    result = imported(files, tmp_path, path=str(tmp_path / "no.h5ad"), how="run the model")
    assert result["status"] == "skipped"
    assert result["reason"].endswith("How to make it: run the model")
