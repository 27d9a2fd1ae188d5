"""What is promised: every method of the repository keeps the contract, on the same cells, through the same suite."""

import tempfile
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pytest
from scipy.sparse import csr_matrix

from annobench.cells.expression import to_cp10k
from annobench.cells.store.store import Store
from annobench.cells.store.writer import StoreWriter
from annobench.cells.stored_cells import StoredCells
from annobench.config.entities import available, load_method
from annobench.config.plugins import implementations, method_facts
from annobench.config.uses import used_outputs
from annobench.core.paths import ROOT
from annobench.fit import predictions, predictions_file
from annobench.fit.decisions import write_decisions
from annobench.fit.embedding import write_embedding
from annobench.fit.method import Context, FinishedFit, Method
from annobench.fit.predictions import Predictions, joined
from annobench.fit.registry import load_class
from annobench.fit.run_record import RunRecord
from annobench.ontology import UNKNOWN, Ontology
from helpers import cells, run_record


def reads_frozen(name: str) -> bool:
    """Whether a method reads the embedding of a pre-trained backbone, which needs its files."""
    return any(
        load_method(other, ROOT, "")["implementation"].startswith("frozen_")
        for others in load_method(name, ROOT, "")["uses"].values()
        for other in others
    )


# what gives an embedding only is tested in tests/contract/test_embedders.py; a pre-trained model needs its file and
# real gene symbols: see tests/unit/methods/test_celltypist_model.py; imported predictions need a table: see
# tests/unit/methods/test_imported.py; spatialcore needs an environment of its own: see
# tests/contract/test_spatialcore.py; adapted backbones need tokens: see tests/unit/methods/test_adapted.py
METHODS = [
    m
    for m in available("methods", ROOT)
    if load_method(m, ROOT, "")["implementation"] not in ("adapted", "celltypist_pretrained", "imported")
    and load_method(m, ROOT, "")["abilities"]["predictions"]  # the others have tests of what they give
    and m != "spatialcore"
    and not reads_frozen(m)  # see tests/contract/test_token_fits.py
    and not m.startswith("hce_")  # settings for millions of cells: see tests/unit/methods/test_hce_methods.py
    and not m.endswith(("_hce_logsumexp", "_label_updating"))  # the networks of _ce and _hce with another loss
    and not m.startswith("vote_")  # the votes of `vote`, counted otherwise: see tests/unit/methods/test_vote.py
]
OTHER_LOSSES = [m for m in available("methods", ROOT) if m.split("_", 1)[0] in ("linear", "mlp", "tabnet")]
SMALLER = {"celltypist_panel": {"batch_size": 50}}  # the cells here are fewer than one batch
ONE_EACH = list({load_method(m, ROOT, "")["implementation"]: m for m in reversed(METHODS)}.values())
LEARNERS = [m for m in METHODS if not load_method(m, ROOT, "")["needs"]["truth"]]
# a probe keeps no model: it reads where cells lie in the embedding of another fit, which new cells do not have
SAVED = [m for m in LEARNERS if "exec" not in load_method(m, ROOT, "") and not load_method(m, ROOT, "")["uses"]]
HIDDEN = ["label_id"]
Fit = Callable[[str], tuple[Method, Predictions]]


FOLDERS: list[Path] = []  # the last one is for the fits that others read


@pytest.fixture(scope="module", autouse=True)
def folder_of_used_fits(tmp_path_factory: pytest.TempPathFactory) -> None:
    FOLDERS.append(tmp_path_factory.mktemp("used"))


@pytest.fixture(scope="module")
def data(ontology: Ontology) -> ad.AnnData:
    """Three studies; two hundred cells; a class and its subtype among the five."""
    return cells(ontology, cells=240, genes=120, seed=3)


def build(name: str) -> Method:
    method = load_method(name, ROOT, "")
    if "exec" in method:
        exec_block = method["exec"]
        return load_class("exec")(
            options=method["parameters"], command=exec_block["command"], format=exec_block["format"]
        )
    return load_class(method["implementation"])(**method["parameters"] | SMALLER.get(name, {}))


def parts(data: ad.AnnData) -> tuple[ad.AnnData, ad.AnnData, ad.AnnData]:
    train, validation, query = data[:140].copy(), data[140:170].copy(), data[170:].copy()
    query.obs = query.obs.drop(columns=HIDDEN)
    return train, validation, query


def context(data: ad.AnnData, ontology: Ontology, seed: int = 1, **more: Any) -> Context:
    truth = dict(zip(data.obs_names, data.obs["label_id"], strict=True))
    classes = sorted(set(data[:140].obs["label_id"]))
    return Context(seed=seed, classes=classes, ontology=ontology, validation=data[140:170].copy(), truth=truth, **more)


def used(name: str, data: ad.AnnData, ontology: Ontology) -> dict[str, tuple[FinishedFit, ...]]:
    """Fits of the methods that a method reads, on the same cells."""
    method = load_method(name, ROOT, "")
    outputs = used_outputs(method["implementation"])
    return {
        role: tuple(left_by(other, role, outputs[role], data, ontology) for other in others)
        for role, others in method["uses"].items()
    }


def left_by(name: str, role: str, output: str, data: ad.AnnData, ontology: Ontology) -> FinishedFit:
    """The fit of a method with what is read of it: an embedding of training and test cells, or predictions."""
    train, validation, query = parts(data)
    folder = Path(tempfile.mkdtemp(dir=FOLDERS[-1]))
    method = trained(name, data, ontology)
    if output == "embedding":  # it may give nothing else
        ids = {role: part.obs_names.to_numpy(object) for role, part in (("train", train), ("test", query))}
        write_embedding(folder / "embedding.npz", ids, (one for part in (train, query) for one in method.embed(part)))
        outputs: tuple[str, ...] = ("embedding",)
    else:
        found = {part: joined(method.predict(cells)) for part, cells in (("test", query), ("validation", validation))}
        predictions_file.write(folder / "predictions.parquet", found["test"])
        outputs = ("predictions", "decisions")[: 1 + write_decisions(folder / "decisions.npz", found)]
    run_record(folder / "run.json", method=name, outputs=outputs)
    return FinishedFit(folder, RunRecord.read(folder / "run.json"), role, output)


def trained(name: str, data: ad.AnnData, ontology: Ontology, seed: int = 1, whole: ad.AnnData | None = None) -> Method:
    """A fitted method; `whole` is for the fits that it reads, where `data` has no matrix."""
    method = build(name)
    uses = used(name, data if whole is None else whole, ontology)
    method.fit(parts(data)[0], context(data, ontology, seed, uses=uses))
    return method


def fitted(
    name: str, data: ad.AnnData, ontology: Ontology, seed: int = 1, whole: ad.AnnData | None = None
) -> tuple[Method, Predictions]:
    """A fitted method and its predictions."""
    method = trained(name, data, ontology, seed, whole)
    return method, joined(method.predict(parts(data)[2]))


@pytest.fixture(scope="module")
def fit_once(data: ad.AnnData, ontology: Ontology) -> Fit:
    """A method after its fit and what it predicted, for tests that only look at them; fitted for the first of these."""
    return cache(lambda name: fitted(name, data, ontology))


def each(names: Iterable[str]) -> pytest.MarkDecorator:
    """One test for every method; those of one method run in one process, where it is fitted once."""
    params = [pytest.param(name, marks=pytest.mark.xdist_group(f"fit_{name}")) for name in names]
    return pytest.mark.parametrize("name", params)


def may_predict(name: str, labels: Iterable[str], ontology: Ontology) -> list[str]:
    """Labels that a method may predict of cells with these labels in training."""
    closed = load_method(name, ROOT, "")["abilities"]["closed_labels"]
    return sorted(set(labels) if closed else ontology.terms)


def replace_rows(data: ad.AnnData, rows: Any, values: Any) -> None:
    """Overwrite the counts of some cells."""
    dense = data.X.toarray()
    dense[rows] = values
    data.X = csr_matrix(dense)


def same(first: Predictions, second: Predictions) -> bool:
    scores = first.scores is None or np.allclose(first.scores, second.scores, atol=1e-5)
    return first.labels[:, 0].tolist() == second.labels[:, 0].tolist() and scores


@each(METHODS)
def test_predictions_keep_the_contract(name: str, data: ad.AnnData, ontology: Ontology, fit_once: Fit) -> None:
    method = load_method(name, ROOT, "")
    _, found = fit_once(name)
    valid = predictions.validate(found, data.obs_names[170:], may_predict(name, data.obs["label_id"], ontology))
    if method["abilities"]["probabilities"]:
        assert valid.probabilities is not None
        assert (valid.probabilities >= 0).all()
        assert (valid.probabilities <= 1 + 1e-6).all()
        best = np.asarray(valid.classes, dtype=object)[valid.probabilities.argmax(axis=1)]
        rejected = valid.labels[:, 0] == UNKNOWN
        assert best[~rejected].tolist() == valid.labels[~rejected, 0].tolist()
        assert not rejected.any() or method["parameters"]["reject_below"]
    else:
        assert valid.probabilities is None


@each(sorted({*OTHER_LOSSES, *(m for m in LEARNERS if load_method(m, ROOT, "")["kind"] == "method")}))
def test_methods_learn_something(name: str, data: ad.AnnData, fit_once: Fit) -> None:
    _, found = fit_once(name)
    truth = data.obs["label_id"].loc[list(found.cell_ids)]
    assert (found.labels[:, 0] == truth.to_numpy()).mean() > 0.5  # the most frequent class has a quarter of the cells


@each(LEARNERS)
def test_the_same_seed_gives_the_same_predictions(
    name: str, data: ad.AnnData, ontology: Ontology, fit_once: Fit
) -> None:
    assert same(fit_once(name)[1], fitted(name, data, ontology)[1])


@each(LEARNERS)
def test_test_cells_change_nothing_that_is_learned(
    name: str, data: ad.AnnData, ontology: Ontology, fit_once: Fit
) -> None:
    """Gene choice, scaling and model selection: other test cells beside it do not change the prediction of a cell."""
    _, found = fit_once(name)
    other = data.copy()
    changed = np.arange(200, 240)  # the first thirty test cells stay
    replace_rows(other, changed, np.random.default_rng(0).poisson(50, (40, data.n_vars)))
    other.obs.loc[other.obs_names[changed], "label_id"] = "CL:0000860"
    _, again = fitted(name, other, ontology)
    keep = [i for i, cell in enumerate(found.cell_ids) if cell in set(data.obs_names[170:200])]
    assert found.labels[keep, 0].tolist() == again.labels[keep, 0].tolist()
    if found.scores is not None:
        assert np.allclose(found.scores[keep], again.scores[keep], atol=1e-5)


class Leaky:
    """A planted leak: scales with the mean of the cells that it is asked about."""

    def __init__(self, inner: Method) -> None:
        self.inner = inner

    def predict(self, query: ad.AnnData) -> Iterator[Predictions]:
        shifted = query.copy()
        dense = query.X.toarray()
        replace_rows(shifted, slice(None), np.maximum(np.rint(dense - 0.9 * dense.mean(axis=0)), 0))
        return self.inner.predict(shifted)


def test_a_planted_leak_is_caught_by_that_test(data: ad.AnnData, ontology: Ontology) -> None:
    method, _ = fitted("nearest_centroid", data, ontology)
    _, _, query = parts(data)
    other = query.copy()
    replace_rows(other, slice(30, 70), np.random.default_rng(0).poisson(50, (40, data.n_vars)))
    leaky = Leaky(method)
    for predictor, leaks in ((leaky, True), (method, False)):
        scores = [joined(predictor.predict(asked)).scores[:30] for asked in (query, other)]
        assert np.allclose(*scores, atol=1e-5) != leaks


@each(SAVED)
def test_a_saved_model_predicts_the_same(name: str, data: ad.AnnData, fit_once: Fit, tmp_path: Path) -> None:
    method, found = fit_once(name)
    method.save(tmp_path)
    files = [file.suffix for file in tmp_path.iterdir()]
    assert set(files) <= {".npz", ".json", ".safetensors"}  # nothing whose loading executes code
    again = joined(type(method).load(tmp_path).predict(parts(data)[2]))
    assert same(found, again)


@each(m for m in METHODS if load_method(m, ROOT, "")["abilities"]["embedding"])
def test_embeddings(name: str, data: ad.AnnData, fit_once: Fit) -> None:
    method, _ = fit_once(name)
    query = parts(data)[2]
    (embedding,) = method.embed(query)
    values = embedding.in_order(query.obs_names.to_numpy())
    assert values.dtype == np.float32
    assert values.shape[0] == 70
    assert np.isfinite(values).all()


@pytest.mark.parametrize("implementation", implementations())
def test_what_is_read_without_importing_is_what_the_class_states(implementation: str) -> None:
    facts, kind = method_facts(implementation), load_class(implementation)
    assert (facts.needs, facts.abilities) == (kind.needs, kind.abilities)
    assert facts.set_by_yaml == kind.set_by_yaml
    assert facts.uses == kind.uses
    assert hasattr(kind, "to") or not facts.abilities.parallel
    stated = facts.needs.to_params().keys() | facts.abilities.to_params().keys()
    assert {name.split(".")[1] for name in facts.set_by_yaml} <= stated


@each(ONE_EACH)
def test_a_method_that_does_not_need_counts_takes_logarithms(
    name: str, data: ad.AnnData, ontology: Ontology, fit_once: Fit
) -> None:
    if load_method(name, ROOT, "")["needs"]["counts"]:
        pytest.skip("it needs counts")
    logged = data.copy()
    logged.X = to_cp10k(data.X, "counts")
    logged.uns["annobench"]["matrix"] = "log1p_cp10k"
    _, found = fitted(name, logged, ontology)
    predictions.validate(found, data.obs_names[170:], may_predict(name, data.obs["label_id"], ontology))
    assert (found.labels[:, 0] == fit_once(name)[1].labels[:, 0]).mean() > 0.9


@each(m for m in METHODS if load_method(m, ROOT, "")["needs"]["cells"] == "none")
def test_a_method_without_need_of_the_matrix_gives_the_same_without_it(
    name: str, data: ad.AnnData, ontology: Ontology, fit_once: Fit
) -> None:
    bare = ad.AnnData(obs=data.obs, var=data.var, uns=data.uns)
    assert same(fit_once(name)[1], fitted(name, bare, ontology, whole=data)[1])


@each(m for m in METHODS if not load_method(m, ROOT, "")["abilities"]["trains"])
def test_a_method_that_does_not_train_ignores_the_training_cells(
    name: str, data: ad.AnnData, ontology: Ontology, fit_once: Fit
) -> None:
    _, _, query = parts(data)
    method, setting = build(name), context(data, ontology)
    setting.classes = []  # as in the regime zero_shot
    method.fit(data[:0].copy(), setting)
    assert same(fit_once(name)[1], joined(method.predict(query)))


@each(m for m in ONE_EACH if load_method(m, ROOT, "")["abilities"]["streams"])
def test_a_method_that_streams_takes_stored_cells(
    name: str, data: ad.AnnData, ontology: Ontology, fit_once: Fit, tmp_path: Path
) -> None:
    obs = data.obs.rename_axis("cell_id")
    with StoreWriter(tmp_path, data.var, shard_cells=100, uns=dict(data.uns["annobench"])) as writer:
        writer.append(data.X, obs)
        writer.finish()
    stored = StoredCells(Store.open(tmp_path), np.arange(data.n_obs), obs)
    method, setting = build(name), context(data, ontology)
    setting.validation = stored[140:170]
    method.fit(stored[:140], setting)
    allowed = may_predict(name, setting.classes, ontology)
    found = predictions.validate(joined(method.predict(stored[170:])), data.obs_names[170:], allowed)
    assert (found.labels[:, 0] == fit_once(name)[1].labels[:, 0]).mean() > 0.9


@each(LEARNERS)
def test_two_classes_and_a_class_of_one_cell(name: str, data: ad.AnnData, ontology: Ontology) -> None:
    labels = np.where(data.obs["label_id"] == "CL:0000236", "CL:0000236", "CL:0000084")
    for single in (False, True):
        few = data.copy()
        few.obs["label_id"] = labels
        if single:
            few.obs.loc[few.obs_names[0], "label_id"] = "CL:0000860"
        _, found = fitted(name, few, ontology)
        predictions.validate(found, data.obs_names[170:], may_predict(name, few.obs["label_id"], ontology))


@each(LEARNERS)
def test_a_cell_without_counts_gets_a_prediction(
    name: str, data: ad.AnnData, ontology: Ontology, fit_once: Fit
) -> None:
    empty = data.copy()
    replace_rows(empty, [200], 0)
    found = joined(fit_once(name)[0].predict(parts(empty)[2]))
    predictions.validate(found, data.obs_names[170:], may_predict(name, data.obs["label_id"], ontology))


@each(LEARNERS)
def test_training_without_validation_cells(name: str, data: ad.AnnData, ontology: Ontology) -> None:
    train, _, query = parts(data)
    method, setting = build(name), context(data, ontology, uses=used(name, data, ontology))
    setting.validation = None
    method.fit(train, setting)
    predictions.validate(joined(method.predict(query)), query.obs_names, may_predict(name, setting.classes, ontology))


def test_celltypist_scores_are_celltypists_own(data: ad.AnnData, ontology: Ontology) -> None:
    import celltypist
    import scanpy as sc

    _method, found = fitted("celltypist_custom", data, ontology)
    train, _, query = parts(data)
    for part in (train, query):
        sc.pp.normalize_total(part, target_sum=1e4)
        sc.pp.log1p(part)
    model = celltypist.train(train, labels="label_id", n_jobs=1, random_state=1)
    table = celltypist.annotate(query, model=model).probability_matrix
    sigmoids = table.to_numpy()
    assert np.allclose(found.confidence, sigmoids.max(axis=1), atol=1e-4)
    assert np.allclose(found.probabilities, sigmoids / sigmoids.sum(axis=1, keepdims=True), atol=1e-4)


def test_the_awk_method_equals_numpy(data: ad.AnnData, ontology: Ontology) -> None:
    _, found = fitted("awk_centroid", data, ontology)
    train, _, query = parts(data)

    def unit(matrix: Any) -> np.ndarray:
        dense = matrix.toarray()
        logged = np.log1p(dense / dense.sum(axis=1, keepdims=True) * 1e4)
        return logged / np.linalg.norm(logged, axis=1, keepdims=True)

    labels = train.obs["label_id"].to_numpy()
    classes = np.unique(labels)
    centroids = np.vstack([unit(train.X)[labels == c].sum(axis=0) for c in classes])
    cosine = unit(query.X) @ (centroids / np.linalg.norm(centroids, axis=1, keepdims=True)).T
    order = np.argsort(-cosine, axis=1)[:, :2]
    arranged = predictions.validate(found, query.obs_names, classes)
    assert arranged.labels.tolist() == classes[order].tolist()
    assert np.allclose(arranged.scores, np.take_along_axis(cosine, order, axis=1), atol=1e-5)


def test_every_implementation_is_used_by_a_method_file() -> None:
    used = {load_method(name, ROOT, "")["implementation"] for name in available("methods", ROOT)}
    assert used == set(implementations())
