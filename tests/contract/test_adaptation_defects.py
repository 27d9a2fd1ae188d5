"""What must not come back: defects that published benchmarks of adapted foundation models had, and bad input.

Their other halves stand where the code is tested. What every strategy is held to (a gradient and an effect for every
trained tensor, one function in training and prediction): unit/methods/test_strategies.py. Scores of head and probe,
small adapters, choices on validation cells: unit/methods/test_adapted.py. Memory of a fit: contract/test_runner.py and
unit/workflow/test_warm.py. Damaged checkpoints: unit/data/test_checkpoints.py.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_matrix, diags

from adaptation import annotator, base
from annobench.cells.expression import log_normalised, variable_genes
from annobench.cells.stored_cells import StoredCells, read_cells
from annobench.config.entities import load_method
from annobench.config.plugins import method_facts
from annobench.config.regimes import Regime
from annobench.config.split import BalanceSettings
from annobench.core.errors import DataError
from annobench.core.parquet import Categorical, read_columns, write_columns
from annobench.core.paths import ROOT
from annobench.data.checkpoints.spec import InputSpec
from annobench.data.tokens.stored import TokensCard
from annobench.data.tokens.tokeniser import Tokeniser
from annobench.fit.annotate import annotate
from annobench.fit.annotate_job import AnnotateJob, ReadOptions
from annobench.fit.context import context_of, create_method
from annobench.fit.inputs import FitCells, load_cells
from annobench.fit.job import FitJob
from annobench.fit.method import Context, Method
from annobench.fit.parent import run_fit
from annobench.fit.predictions import joined
from annobench.fit.registry import load_class
from annobench.fit.run_record import RunRecord
from annobench.methods import adapted
from annobench.methods.adapted import Adapted
from annobench.methods.transformer import sources, strategies
from annobench.methods.transformer.model import Annotator
from annobench.methods.transformer.training import Labelled, Trainer
from annobench.ontology import Ontology
from annobench.splits.balance.select import select_cells
from annobench.splits.roles import assign_roles
from annobench.splits.spec import BalanceSpec, SplitSpec
from checkpoint_folders import token_folders, vocabulary_of
from helpers import KEEP, cells, fit_job

SHORT = {"steps": 12, "trial_steps": 4, "validate_every": 4, "learning_rates": [1e-3, 5e-3]}
Files = Mapping[str, dict[str, str]]


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def genes(jobs: Files) -> list[str]:
    """Symbols of the sixty genes of the cells."""
    return read_cells(jobs["memory"]["cells"]).var["feature_name"].astype(str).tolist()


@pytest.fixture(scope="module")
def folders(jobs: Files, genes: list[str], tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A checkpoint with forty of the genes, which has room for all of a cell, and the tokens of the cells."""
    return token_folders(tmp_path_factory.mktemp("tokens"), Path(jobs["memory"]["cells"]), genes[:40])


def job_of(files: dict[str, str], folders: Mapping[str, str], strategy: str = "lora", **recipe: Any) -> FitJob:
    facts = method_facts("adapted")
    more: dict[str, Any] = {"needs": facts.needs.to_params(), "abilities": facts.abilities.to_params()}
    parameters = {"strategy": strategy, "recipe": SHORT | recipe}
    job = fit_job(files, "adapted", parameters=parameters, keep=KEEP, **more).to_params()
    job["files"] |= folders
    job["facts"]["data_sha256"] = TokensCard.read(folders["tokens"]).data_sha256
    return FitJob.from_params(job)


def fitted(job: FitJob) -> tuple[Method, FitCells]:
    """A fit in this process."""
    given_cells = load_cells(job)
    method = create_method(Adapted, job)
    method.fit(given_cells.train, context_of(job, Ontology.load(job.files.ontology), given_cells))
    return method, given_cells


# --- 1: a "full" run that trained on 64 of 700 cells and 128 of 765 genes


@pytest.mark.parametrize("storage", ["memory", "store"])
def test_training_never_sees_fewer_cells_or_genes_than_were_declared(
    jobs: Files, folders: dict[str, str], genes: list[str], storage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained: list[Labelled] = []

    class Spy(Trainer):
        def __init__(self, *given: Any, **more: Any) -> None:
            super().__init__(*given, **more)
            trained.append(self.train)

    monkeypatch.setattr(adapted, "Trainer", Spy)
    fitted(job_of(jobs[storage], folders))
    chosen = read_columns(jobs[storage]["train"], ["cell_id", "label_id"], texts=["cell_id"])
    names = np.asarray(chosen["cell_id"], dtype=object)
    (data,) = trained
    assert len(data.cells) == len(data.codes) == len(names) > 50
    labels = np.asarray(chosen["label_id"], dtype=object).astype(str)
    assert np.unique(labels)[data.codes].tolist() == labels.tolist()
    whole = read_cells(jobs["memory"]["cells"])
    counts, vocabulary = whole[names].X.toarray(), vocabulary_of(genes[:40])
    for i in range(len(names)):
        found = data.cells.batch(np.array([i]), pad=0).genes[0].tolist()
        expressed = {vocabulary[gene] for gene in np.array(genes)[counts[i] > 0] if gene in vocabulary}
        assert (found[0], set(found[1:])) == (vocabulary["<cls>"], expressed)


def test_a_declared_limit_on_tokens_cuts_and_is_counted(jobs: Files, genes: list[str], tmp_path: Path) -> None:
    made = token_folders(tmp_path, Path(jobs["memory"]["cells"]), genes[:40], max_length=34)
    known = (read_cells(jobs["memory"]["cells"]).X[:, :40] > 0).sum(axis=1)
    run_fit(job_of(jobs["memory"], made, "probe"), tmp_path / "fit", tmp_path / "attempt.json")
    record = RunRecord.read(tmp_path / "fit" / "run.json")
    assert 0 < record.tokens["cells_cut"] == int((known > 33).sum()) < 400
    assert record.cells is not None
    assert record.cells.train == len(read_columns(jobs["memory"]["train"])["cell_id"])


# --- 2: the train sets of 1, 5 and 10 % of the labels were the same


def low_label(labels: np.ndarray, fraction: float, seed: int) -> set[int]:
    """Cells that train with a share of the labels: those of the split, and of its selection."""
    spec = {"regime": "low_label", "test_fraction": 0.2, "val_fraction": 0.15, "fraction": fraction}
    rows = np.flatnonzero(assign_roles({"label_id": labels}, SplitSpec(Regime.from_params(spec), seed)) == "train")
    of = Categorical.of(labels[rows])
    chosen = select_cells(of, Categorical.of(np.full(len(rows), "s", dtype=object)), BalanceSpec(BalanceSettings(), 1))
    return set(rows[chosen].tolist())


@settings(max_examples=40, deadline=None)
@given(
    st.dictionaries(st.sampled_from("abcdef"), st.integers(5, 250), min_size=2),
    st.lists(st.floats(0.005, 1), min_size=2, max_size=4, unique=True),
    st.integers(0, 99),
)
def test_low_label_sets_nest_and_are_the_same_only_where_their_sizes_are(
    sizes: dict[str, int], fractions: list[float], seed: int
) -> None:
    names = np.array(list(sizes), dtype=object)
    labels = np.random.default_rng(seed).permutation(np.repeat(names, list(sizes.values())))
    everything = low_label(labels, 1.0, seed)
    previous: set[int] = set()
    for fraction in sorted(fractions):
        found = low_label(labels, fraction, seed)
        assert previous <= found <= everything
        classes = {label: [i for i in everything if labels[i] == label] for label in sizes}
        expected = sum(max(1, round(len(rows) * fraction)) for rows in classes.values() if rows)
        assert len(found) == expected
        previous = found


def test_one_five_and_ten_percent_of_the_labels_of_a_small_dataset_differ() -> None:
    """The classes of PBMC 68k reduced."""
    sizes = [240, 129, 95, 68, 54, 43, 31, 19, 13, 8]
    labels = np.repeat(np.array([f"t{i}" for i in range(10)], dtype=object), sizes)
    one, five, ten = (low_label(labels, fraction, 1) for fraction in (0.01, 0.05, 0.1))
    assert one < five < ten
    assert len(one) >= 10
    assert len(ten) > 1.5 * len(five)


# --- 3: the overlap with the vocabulary was that of a cut to 128 genes


@settings(max_examples=40, deadline=None)
@given(st.lists(st.booleans(), min_size=1, max_size=60), st.integers(0, 2**32 - 1))
def test_overlap_is_never_that_of_a_part_of_the_genes(known: list[bool], seed: int) -> None:
    """Neither expression, nor variance, nor the order of the genes counts."""
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(known))
    var = pd.DataFrame({"feature_id": "", "feature_name": [f"G{i}" for i in order]})
    vocabulary = vocabulary_of([f"G{i}" for i, there in enumerate(known) if there] + ["other"])
    given_input = InputSpec(least_known=0.0, max_length=2)
    if not any(known):
        with pytest.raises(DataError, match="0 of its"):
            Tokeniser(given_input, vocabulary, var, organism="any", dataset="d")
        return
    made = Tokeniser(given_input, vocabulary, var, organism="any", dataset="d")
    assert (made.genes.known, made.genes.genes) == (sum(known), len(known))
    counts = rng.poisson(0.3, (3, len(known))).astype(np.float32)
    expected = (counts[:, np.array(known)[order]] > 0).sum(axis=1)
    assert made.tokens(csr_matrix(counts)).known.tolist() == expected.tolist()


def test_overlap_of_real_blood_cells_is_that_of_all_their_genes(real_data: Path) -> None:
    """765 genes, of which 135 are among the 999 of the small checkpoint: by hand, and by the tokeniser."""
    vocabulary = json.loads((real_data / "checkpoints" / "scformer_mini" / "vocab.json").read_text())
    blood = ad.read_h5ad(real_data / "pbmc_multistudy" / "pbmc68k_reduced_700_counts.h5ad")
    names = [str(name) for name in blood.var_names]
    var = pd.DataFrame({"feature_id": "", "feature_name": names})
    made = Tokeniser(InputSpec(least_known=0.1), vocabulary, var, organism="any", dataset="d")
    assert made.genes.known == len(set(names) & set(vocabulary)) == 135
    assert made.genes.genes == len(names) == 765


# --- 5: a baseline on raw counts


@pytest.mark.parametrize("name", ["logistic_regression", "pca_logistic", "nearest_centroid", "knn"])
def test_baselines_never_see_raw_counts(name: str, ontology: Ontology) -> None:
    """Cells that were sequenced deeper, and nothing else, get the same answers."""
    data = cells(ontology, cells=240, genes=120, seed=3)
    deep = data.copy()
    deep.X = csr_matrix(diags(np.random.default_rng(0).integers(1, 30, 240).astype(np.float32)) @ data.X)
    assert deep.X.sum() > 5 * data.X.sum()
    found = []
    for given_cells in (data, deep):
        file = load_method(name, ROOT, "")
        method = load_class(file["implementation"])(**file["parameters"])
        classes = sorted(set(data.obs["label_id"]))
        method.fit(given_cells[:160].copy(), Context(seed=1, classes=classes, ontology=ontology))
        found.append(joined(method.predict(given_cells[160:].copy())))
    assert (found[0].labels[:, 0] == found[1].labels[:, 0]).mean() > 0.97  # of rounding, ties may fall otherwise
    assert np.allclose(found[0].scores, found[1].scores, atol=0.02)


# --- 6: few epochs of few steps


@pytest.mark.parametrize("n", [9, 40])
def test_the_budget_is_in_steps_whatever_the_number_of_cells(
    jobs: Files, folders: dict[str, str], tmp_path: Path, n: int
) -> None:
    chosen = read_columns(jobs["memory"]["train"])
    write_columns(tmp_path / "train.parquet", {key: values[:n] for key, values in chosen.items()})
    job = job_of(jobs["memory"] | {"train": str(tmp_path / "train.parquet")}, folders, "head", steps=77, patience=99)
    method, given_cells = fitted(job)
    assert given_cells.train.n_obs == n
    assert method.notes is not None
    assert method.notes["training"]["steps"] == 77


# --- 8: seeds after modules, choices that see test cells, autograd in validation


@pytest.mark.parametrize("name", strategies.STRATEGIES)
def test_no_number_is_drawn_before_the_seed_is_set(name: str) -> None:
    """Of any strategy: what was drawn before a fit, in the same process, has no influence."""
    if name == "peft":
        pytest.importorskip("peft", reason="peft is not installed (requirements-adaptation.txt)")
    states = []
    for before in (1, 2):
        torch.manual_seed(before)
        np.random.seed(before)
        states.append(annotator(name, seed=5).state_dict())
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(states[0][key], tensor) for key, tensor in states[1].items())


@pytest.mark.parametrize("strategy", ["head", "lora", "probe"])
def test_no_gradients_are_kept_while_cells_are_only_looked_at(
    jobs: Files, folders: dict[str, str], strategy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Validation, features of a frozen backbone, prediction."""
    recorded: list[tuple[bool, bool]] = []
    features: Callable[..., torch.Tensor] = Annotator.features

    def spy(self: Annotator, batch: Any) -> torch.Tensor:
        found = features(self, batch)
        recorded.append((self.training, found.requires_grad or found.grad_fn is not None))
        return found

    monkeypatch.setattr(Annotator, "features", spy)
    method, given_cells = fitted(job_of(jobs["memory"], folders, strategy))
    list(method.predict(given_cells.query))
    looked = [with_gradient for training, with_gradient in recorded if not training]
    assert len(looked) > 2
    assert not any(looked)
    assert any(with_gradient for training, with_gradient in recorded if training) == (strategy == "lora")


def test_test_cells_never_choose_genes(ontology: Ontology) -> None:
    data = cells(ontology, cells=240, genes=300, seed=3)
    method = load_class("logistic_regression")(n_genes=60)
    classes = sorted(set(data.obs["label_id"]))
    method.fit(data[:160].copy(), Context(seed=1, classes=classes, ontology=ontology))
    chosen = set(method._features.genes.tolist())
    assert chosen == set(variable_genes(log_normalised(data[:160].copy()), 60).tolist())
    assert chosen != set(variable_genes(log_normalised(data), 60).tolist())


@pytest.mark.parametrize("needs_query", [False, True])
def test_a_fit_is_never_handed_test_cells_that_it_does_not_ask_for(
    jobs: Files, folders: dict[str, str], needs_query: bool
) -> None:
    params = job_of(jobs["memory"], folders).to_params()
    params["settings"]["method"]["needs"]["query"] = needs_query
    job = FitJob.from_params(params)
    given_cells = load_cells(job)
    context = context_of(job, Ontology.load(job.files.ontology), given_cells)
    assert (context.query is not None) == needs_query
    assert context.truth is None
    names = [set(part.obs_names) for part in (given_cells.train, given_cells.validation, given_cells.query)]
    assert not names[0] & names[2]
    assert not names[1] & names[2]


def test_changed_test_cells_leave_the_trained_weights_as_they_are(
    jobs: Files, folders: dict[str, str], tmp_path: Path
) -> None:
    """Which rate, which step, which gene: with half of the test cells gone all are chosen as before."""
    roles = read_columns(jobs["memory"]["split"])
    tested = np.flatnonzero(np.asarray(roles["role"]) == "test")
    roles["role"] = np.asarray(roles["role"], dtype=object)
    roles["role"][tested[::2]] = "unused"
    write_columns(tmp_path / "split.parquet", roles)
    states = []
    for split in (jobs["memory"]["split"], str(tmp_path / "split.parquet")):
        method, _ = fitted(job_of(jobs["memory"] | {"split": split}, folders))
        states.append(method._model.own_state())
    assert all(torch.equal(states[0][key], tensor) for key, tensor in states[1].items())


# --- bad input: a message, never a silent answer


def new_cells(folder: Path, jobs: Files, change: Callable[[ad.AnnData], ad.AnnData]) -> Path:
    """Cells of somebody else, on disk."""
    made = read_cells(jobs["memory"]["cells"])[:30].copy()
    made.obs = made.obs[["donor"]]
    made.uns.clear()
    change(made).write_h5ad(folder / "new.h5ad")
    return folder / "new.h5ad"


@pytest.fixture(scope="module")
def fit(jobs: Files, folders: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a real fit."""
    folder = tmp_path_factory.mktemp("fit")
    run_fit(job_of(jobs["memory"], folders), folder / "fit", folder / "attempt.json")
    assert RunRecord.read(folder / "fit" / "run.json").status == "ok"
    return folder / "fit"


def test_new_cells_without_a_known_gene_are_unknown_and_counted(jobs: Files, fit: Path, tmp_path: Path) -> None:
    """Their token is that of every other such cell: a label would be the same for all of them, whatever they are."""

    def without(made: ad.AnnData) -> ad.AnnData:
        dense = made.X.toarray()
        dense[:3, :40] = 0
        dense[:3, 40:] += 1  # counts, but in genes that the checkpoint does not know
        made.X = csr_matrix(dense)
        return made

    said: list[str] = []
    path = new_cells(tmp_path, jobs, without)
    annotate(AnnotateJob(fit, path, tmp_path / "out.csv"), say=said.append)
    found = pd.read_csv(tmp_path / "out.csv")
    assert (found["label_id"] == "unknown").tolist() == [True] * 3 + [False] * 27
    assert found["confidence"].isna().tolist() == [True] * 3 + [False] * 27
    assert "3 cells have no counts in the genes that the model reads: unknown, without confidence" in said


def test_new_cells_that_measure_no_gene_of_the_vocabulary_are_refused(jobs: Files, fit: Path, tmp_path: Path) -> None:
    path = new_cells(tmp_path, jobs, lambda made: made[:, 38:].copy())  # 22 of the 60 genes, of which it knows 2
    job = AnnotateJob(fit, path, tmp_path / "out.csv", ReadOptions(min_overlap=0.1))
    with pytest.raises(DataError, match="the cells: 2 of its 22 genes are among the 40 of the vocabulary, .* 9.1%"):
        annotate(job, say=lambda text: None)
    assert not (tmp_path / "out.csv").exists()


@pytest.mark.parametrize("told_by", ["obs", "genes"])
def test_new_cells_of_another_organism_are_refused(jobs: Files, genes: list[str], tmp_path: Path, told_by: str) -> None:
    made = token_folders(tmp_path, Path(jobs["memory"]["cells"]), genes, organism="Homo sapiens")
    mouse = read_cells(jobs["memory"]["cells"])[:5].copy()
    if told_by == "obs":
        mouse.obs["organism"] = "Mus musculus"
    else:
        mouse.var["feature_id"] = [f"ENSMUSG{i:011d}" for i in range(mouse.n_vars)]
    message = {"obs": "5 cells are of Mus musculus", "genes": "60 of 60 genes have Ensembl ids that begin ENSMUSG"}
    with pytest.raises(DataError, match=f"the cells: {message[told_by]}.*the vocabulary is of Homo sapiens"):
        sources.tokens_of(mouse, None, sources.base_of(made["weights"]))


def test_stored_cells_without_tokens_are_refused(jobs: Files, folders: dict[str, str]) -> None:
    stored = load_cells(job_of(jobs["store"], folders)).query
    assert isinstance(stored, StoredCells)
    with pytest.raises(DataError, match="have neither tokens nor values to make them of; tokenise the dataset again"):
        sources.tokens_of(stored, None, base())


@pytest.mark.parametrize("strategy", ["probe", "lora"])
def test_one_class_is_a_failed_fit_with_the_reason(
    jobs: Files, folders: dict[str, str], tmp_path: Path, strategy: str
) -> None:
    chosen = read_columns(jobs["memory"]["train"])
    labels = np.asarray(chosen["label_id"], dtype=object)
    columns = {key: np.asarray(values, dtype=object)[labels == labels[0]] for key, values in chosen.items()}
    write_columns(tmp_path / "train.parquet", columns)
    job = job_of(jobs["memory"] | {"train": str(tmp_path / "train.parquet")}, folders, strategy)
    run_fit(job, tmp_path / "fit", tmp_path / "attempt.json")
    record = RunRecord.read(tmp_path / "fit" / "run.json")
    assert record.status == "failed"
    assert record.reason == f"the training cells have one class only ({labels[0]}); expected two or more"


def test_a_label_with_one_cell_is_trained_and_may_be_predicted(
    jobs: Files, folders: dict[str, str], tmp_path: Path
) -> None:
    chosen = read_columns(jobs["memory"]["train"])
    labels = np.asarray(chosen["label_id"], dtype=object)
    kept = [*np.flatnonzero(labels != labels[0]).tolist(), 0]
    columns = {key: np.asarray(values, dtype=object)[kept] for key, values in chosen.items()}
    write_columns(tmp_path / "train.parquet", columns)
    run_fit(
        job_of(jobs["memory"] | {"train": str(tmp_path / "train.parquet")}, folders),
        tmp_path / "fit",
        tmp_path / "attempt.json",
    )
    record = RunRecord.read(tmp_path / "fit" / "run.json")
    assert (record.status, record.reason) == ("ok", None)
    facts = json.loads((tmp_path / "fit" / "model" / "adapter.json").read_text())
    assert labels[0] in facts["classes"]


def test_an_adaptation_is_not_put_on_another_base(jobs: Files, fit: Path, genes: list[str], tmp_path: Path) -> None:
    """Not even on one of the same shape: the hash of the weights decides."""
    facts = json.loads((fit / "model" / "adapter.json").read_text())
    other = token_folders(tmp_path, Path(jobs["memory"]["cells"]), genes[:40][::-1])
    (fit / "model" / "adapter.json").write_text(json.dumps(facts | {"backbone": other["weights"]}))
    try:
        with pytest.raises(DataError, match="was trained on a vocabulary with sha256"):
            annotate(AnnotateJob(fit, Path(jobs["memory"]["cells"]), tmp_path / "out.csv"), say=lambda text: None)
    finally:
        (fit / "model" / "adapter.json").write_text(json.dumps(facts))
