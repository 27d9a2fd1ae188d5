"""What is promised: networks and the optimiser are what the papers and PyTorch say."""

from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import torch
from scipy.sparse import csr_matrix
from scipy.sparse import random as random_matrix

from annobench.cells.store.loader import Loader
from annobench.cells.store.rows import MemoryRows, PackedRows
from annobench.cells.store.store import Store
from annobench.cells.store.writer import StoreWriter
from annobench.cells.stored_cells import StoredCells
from annobench.core.errors import DataError
from annobench.fit.method import Context
from annobench.fit.predictions import joined
from annobench.methods.linear import Linear
from annobench.methods.mlp import Perceptron
from annobench.methods.torch import classifier, networks, resident
from annobench.methods.torch.classifier import label_codes
from annobench.methods.torch.optimiser import AdamW
from annobench.methods.torch.resident import (
    HostFeed,
    MatrixOnDevice,
    Records,
    ResidentFeed,
    SparseFeed,
    StreamedFeed,
    feed_of,
)
from annobench.ontology import Ontology
from helpers import cells


@pytest.fixture(autouse=True)
def double() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)


def test_parameter_counts_of_the_paper() -> None:
    def size(network: torch.nn.Module) -> int:
        return sum(p.numel() for p in network.parameters())

    assert size(networks.linear(19_331, 164)) == 3_170_448
    assert size(networks.mlp(19_331, 164)) == 2_613_284


@pytest.mark.parametrize("clip", [None, 0.01, 100])
def test_adamw_with_clipping_equals_pytorch(clip: float | None) -> None:
    first, second = networks.mlp(20, 3, width=8, blocks=2), networks.mlp(20, 3, width=8, blocks=2)
    second.load_state_dict(first.state_dict())
    ours, theirs = AdamW(first, 0.05), torch.optim.AdamW(second.parameters(), lr=1e-2, weight_decay=0.05)
    for _ in range(5):
        batch = torch.randn(16, 20)
        for network in (first, second):
            network.eval()  # no dropout
            network.zero_grad()
            network(batch).square().mean().backward()
        if clip is not None:
            torch.nn.utils.clip_grad_norm_(second.parameters(), clip)
        ours.step(1e-2, clip)
        theirs.step()
    for p, q in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.allclose(p, q, atol=1e-7)


# --- cells on a device, decoded there


def counts(n: int = 300, genes: int = 3000) -> csr_matrix:
    """Sparse counts with all that a record can hold: gaps of 255 and more, wide counts, cells without any."""
    rng = np.random.default_rng(1)
    matrix = random_matrix(n, genes, 0.03, format="lil", random_state=1, data_rvs=lambda k: rng.geometric(0.3, k))
    matrix[[7, 8, n - 1]] = 0
    matrix[8, genes - 1] = 3  # gaps only, then one count
    matrix[9, 0], matrix[10, 0], matrix[10, 255], matrix[10, 511] = 255, 254, 256, 2**24
    matrix[11, [254, 255, 256]] = [2**32 - 1, 65_536, 1]
    return csr_matrix(matrix, dtype=np.float64)


SOME = np.arange(5, 2500, 3)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """The same counts in a store of several shards."""
    folder = tmp_path_factory.mktemp("store")
    matrix = counts()
    names = [f"g{i}" for i in range(matrix.shape[1])]
    genes = pd.DataFrame({"feature_id": names, "feature_name": names})
    obs = pd.DataFrame({"label_id": ["a"] * 300}, index=pd.Index([f"c{i}" for i in range(300)], name="cell_id"))
    with StoreWriter(folder, genes, shard_cells=64, uns={"matrix": "counts"}) as writer:
        for start in range(0, 300, 50):
            writer.append(matrix[start : start + 50], obs.iloc[start : start + 50])
        writer.finish()
    return Store.open(folder)


def assert_feeds_agree(loader: Loader, feed: Any) -> None:
    """Positions and classes are those of the loader, values to 1e-6."""
    assert len(feed) == len(loader)
    assert feed.cells == loader.sizes.sum()
    for start in (0, 3):
        expected, found = list(loader.epoch(2, start)), list(feed.epoch(2, start))
        assert len(found) == len(expected)
        for batch, (values, codes) in zip(expected, found, strict=True):
            assert values.shape == (batch.n, batch.genes)
            assert np.array_equal(values.numpy() != 0, batch.dense() != 0)
            assert np.allclose(values.numpy(), batch.dense(), atol=1e-6, rtol=1e-6)
            assert np.array_equal(codes.numpy(), batch.codes)


@pytest.mark.parametrize("features", [None, SOME])
@pytest.mark.parametrize("world", [1, 3])
def test_cells_decoded_on_the_device_are_those_of_the_kernels(features: Any, world: int) -> None:
    rows = PackedRows(counts(), features)
    loader = Loader(rows, np.arange(300) % 5, batch_size=17, seed=3, rank=world - 1, world=world)
    assert_feeds_agree(loader, ResidentFeed(loader, Records.of(rows, "cpu")))
    assert_feeds_agree(loader, HostFeed(loader, "cpu"))


@pytest.mark.parametrize("panel", [None, np.arange(0, 2800, 2)])
def test_windows_of_a_store_pass_through_the_device(store: Store, panel: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resident, "_CHUNK", 70)
    features = None if panel is None else np.arange(0, 1400, 5)
    rows = store.rows(np.arange(4, 300), panel, features)
    small = Loader(rows, np.arange(296), batch_size=4, memory_mb=0.6 * rows.nbytes / 1e6)
    assert not small.resident
    assert_feeds_agree(small, StreamedFeed(small, "cpu"))
    large = Loader(rows, np.arange(296), batch_size=4)
    assert_feeds_agree(large, ResidentFeed(large, Records.of(rows, "cpu")))


def test_a_matrix_of_values_on_the_device() -> None:
    matrix = csr_matrix(counts().log1p(), dtype=np.float32)
    loader = Loader(MemoryRows(matrix), np.arange(300), batch_size=17)
    assert_feeds_agree(loader, ResidentFeed(loader, MatrixOnDevice(matrix, "cpu")))


def test_drawn_cells_and_bf16_on_the_device() -> None:
    rows = PackedRows(counts())
    loader = Loader(rows, batch_size=100, weights=np.arange(300) < 3)
    assert_feeds_agree(loader, ResidentFeed(loader, Records.of(rows, "cpu")))
    values, _ = next(ResidentFeed(loader, Records.of(rows, "cpu"), torch.bfloat16).epoch())
    assert values.dtype == torch.bfloat16
    assert np.allclose(values.float().numpy(), next(loader.epoch()).dense(), rtol=0.01)


def test_a_cpu_takes_sparse_batches() -> None:
    assert isinstance(feed_of(Loader(PackedRows(counts()), batch_size=10)), SparseFeed)


@pytest.mark.parametrize("damage", ["gap", "wide", "short"])
def test_damaged_records_are_refused_on_the_device(damage: str) -> None:
    window = PackedRows(counts()).window(np.arange(300))
    window.buffer = window.buffer.copy()
    row = 10 if damage == "wide" else 20
    begin = window.records["begins"][row]
    if damage == "short":
        window.records["nnz"][row] *= 2
    else:  # a byte that says `more` where there is none
        window.buffer[begin if damage == "gap" else window.records["ends"][row] - 9] = 255
    with pytest.raises(DataError, match=f"cell {row}: its bytes are not a record of 3000 genes"):
        Records(window, "cpu")


# --- the classifier


def test_codes_of_labels_do_not_depend_on_unused_categories() -> None:
    names = ["b", "a", "b", "c"]
    plain, codes = label_codes(pd.Series(names))
    unused = pd.Series(pd.Categorical(names, categories=["z", "c", "b", "a"]))
    assert plain.tolist() == ["a", "b", "c"]
    assert codes.tolist() == [1, 0, 1, 2]
    assert label_codes(unused)[0].tolist() == plain.tolist()
    assert label_codes(unused)[1].tolist() == codes.tolist()
    assert label_codes(pd.Series(["c", "new", "a"]), plain)[1].tolist() == [2, -1, 0]


@pytest.fixture(scope="module")
def simulated(ontology: Ontology) -> ad.AnnData:
    return cells(ontology, cells=300, genes=200, seed=3)


def in_store(data: ad.AnnData, folder: Path) -> StoredCells:
    obs = data.obs.copy()
    obs.index.name = "cell_id"
    with StoreWriter(folder, data.var, shard_cells=64, uns=dict(data.uns["annobench"])) as writer:
        writer.append(data.X, obs)
        writer.finish()
    found = Store.open(folder)
    return StoredCells(found, np.arange(data.n_obs), obs)


@pytest.mark.parametrize("n_genes", [None, 60])
def test_cells_of_a_store_give_the_predictions_of_cells_in_memory(
    simulated: ad.AnnData, ontology: Ontology, n_genes: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(classifier, "_ASKED", 16)
    monkeypatch.setattr(classifier, "_PART", 48)
    stored = in_store(simulated, tmp_path)
    answers = []
    for data in (simulated, stored):
        train, validation, query = (
            data[slice(*bounds)] if isinstance(data, StoredCells) else data[slice(*bounds)].copy()
            for bounds in ((0, 150), (150, 180), (180, 300))
        )
        validation.obs = validation.obs.assign(label_id=[*validation.obs["label_id"].astype(str)[:-1], "CL:0000000"])
        method = Linear(n_genes=n_genes, recipe={"min_steps": 100})
        method.fit(train, Context(seed=1, classes=[], ontology=ontology, validation=validation))
        answers.append(list(method.predict(query)))
    (whole,), parts = answers
    assert [len(part.cell_ids) for part in parts] == [32, 32, 32, 24]
    assert [cell for part in parts for cell in part.cell_ids] == list(whole.cell_ids)
    assert np.allclose(np.concatenate([part.probabilities for part in parts]), whole.probabilities, atol=1e-4)


@pytest.mark.parametrize("stored", [False, True])
def test_classes_without_training_cells_are_none_and_rare_ones_can_be_drawn_more_often(
    simulated: ad.AnnData, ontology: Ontology, tmp_path: Path, stored: bool
) -> None:
    """One class is empty, though a category; of another three cells are left. Drawn as often as others it is found."""
    names = simulated.obs["label_id"].astype(str).to_numpy()
    empty, rare = sorted(set(names))[:2]
    kept = np.flatnonzero((names != empty) & ((names != rare) | (np.cumsum(names == rare) <= 3)))
    data = in_store(simulated, tmp_path) if stored else simulated
    found = {}
    for weights in (False, "sampling"):
        method = Linear(class_weights=weights, recipe={"min_steps": 60, "epochs": 1})
        method.fit(data[kept] if stored else data[kept].copy(), Context(seed=1, classes=[], ontology=ontology))
        answers = joined(method.predict(data))
        assert empty not in answers.classes
        found[weights] = answers.probabilities[names == rare, list(answers.classes).index(rare)].mean()
    assert found["sampling"] > 1.5 * found[False]
    with pytest.raises(ValueError, match="class_weights is 'yes', expected true, false or sampling"):
        Linear(class_weights="yes").fit(simulated.copy(), Context(seed=1, classes=[], ontology=ontology))


def test_what_is_packed_is_predicted_as_what_is_kept(
    simulated: ad.AnnData, ontology: Ontology, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fitted() -> np.ndarray:
        method = Perceptron(n_genes=60, width=16, blocks=2, recipe={"min_steps": 50})
        method.fit(simulated[:150].copy(), Context(seed=1, classes=[], ontology=ontology))
        return joined(method.predict(simulated[150:].copy())).probabilities

    kept = fitted()
    monkeypatch.setattr(classifier, "_SMALL", 0)
    assert np.allclose(fitted(), kept, atol=1e-3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda query: query[:, :150].copy(), "trained on 200 genes, the cells have 150: 50 are missing"),
        (lambda query: query[:, ::-1].copy(), "the cells have 200: others are there, or another order"),
        (lambda query: ad.concat([query, query[:, :1].copy()[:, [0]]], axis=1, index_unique="-"), "are missing"),
    ],
)
def test_a_gene_list_that_does_not_fit_the_model_is_refused(
    simulated: ad.AnnData, ontology: Ontology, tmp_path: Path, change: Any, message: str
) -> None:
    method = Linear(recipe={"min_steps": 5})
    method.fit(simulated[:150].copy(), Context(seed=1, classes=[], ontology=ontology))
    method.save(tmp_path)
    query = change(simulated[150:].copy())
    query.uns["annobench"] = {"matrix": "counts"}
    for model in (method, Linear.load(tmp_path)):
        with pytest.raises(DataError, match=message):
            joined(model.predict(query))
        assert len(joined(model.predict(simulated[150:].copy())).cell_ids) == 150
