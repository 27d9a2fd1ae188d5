"""What is promised: cells are moved by differences between donors, as the paper says, and by a seed alone."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_matrix
from scipy.sparse import random as random_matrix

from annobench.cells.store.loader import Loader
from annobench.cells.store.rows import MemoryRows
from annobench.cells.store.store import Store
from annobench.cells.store.writer import StoreWriter
from annobench.cells.stored_cells import StoredCells
from annobench.core.errors import MethodSkipped
from annobench.fit.method import Context
from annobench.fit.predictions import joined
from annobench.methods.mlp import Perceptron
from annobench.methods.tabnet import TabNet
from annobench.methods.torch import augmentation
from annobench.methods.torch.augmentation import AugmentedFeed, Sizes, donor_vectors
from annobench.methods.torch.classifier import donor_numbers
from annobench.methods.torch.resident import HostFeed, SparseFeed
from annobench.ontology import Ontology
from helpers import cells

GENES = 40


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def problem(n: int = 240, donors: int = 4) -> tuple[csr_matrix, np.ndarray, np.ndarray]:
    """Values, classes and donors; every donor has genes of its own that are higher in it."""
    rng = np.random.default_rng(0)
    codes, donor = rng.integers(3, size=n), rng.integers(donors, size=n)
    values = rng.exponential(0.3, (n, GENES)) * (rng.random((n, GENES)) < 0.3)
    values[np.arange(n), codes] += 3
    values[np.arange(n), 10 + donor] += 1
    values[np.arange(n), 30 + donor] += 8
    return csr_matrix(values.astype(np.float32)), codes, donor


# --- the vectors


def test_vectors_are_differences_of_mean_profiles() -> None:
    values, codes, donors = problem()
    found = donor_vectors(MemoryRows(values), codes, donors, seed=1).toarray()
    assert found.shape == (3 * 5, GENES)  # 4 donors have 6 pairs, of which one is left out
    assert found.dtype == np.float32
    possible = []
    for code in range(3):
        mean = [values[(codes == code) & (donors == d)].toarray().mean(axis=0) for d in range(4)]
        for a in range(4):
            for b in range(a + 1, 4):
                difference = mean[a] - mean[b]
                difference[np.abs(difference) <= 0.25] = 0
                possible.append(difference.clip(-1.5, 1.5))
    distance = np.abs(found[:, None] - np.array(possible)[None]).max(axis=2)
    assert distance.min(axis=1).max() < 1e-5
    assert len(set(distance.argmin(axis=1).tolist())) == 15  # no pair twice
    assert np.abs(found).max() == 1.5
    assert np.abs(found[found != 0]).min() > 0.25


def test_a_seed_decides_and_unknown_donors_do_not_count() -> None:
    values, codes, donors = problem()
    rows = MemoryRows(values)

    def made(seed: int, donors: Any = donors, **more: Any) -> np.ndarray:
        return donor_vectors(rows, codes, donors, seed=seed, sizes=Sizes(pairs=3, **more)).toarray()

    assert np.array_equal(made(1), made(1))
    assert not np.array_equal(made(1), made(2))
    assert made(1, vectors=4).shape == (4, GENES)
    masked = np.where(donors == 3, -1, donors)
    alone = np.flatnonzero(donors < 3)
    some = donor_vectors(MemoryRows(values[alone]), codes[alone], donors[alone], seed=1, sizes=Sizes(pairs=3))
    assert np.array_equal(made(1, masked), some.toarray())
    for too_few in (np.where(donors < 2, donors, -1), np.full(240, -1)):  # two donors have one pair, which is left out
        with pytest.raises(MethodSkipped, match="no class has training cells of three donors"):
            made(1, too_few)


@given(st.integers(0, 60), st.integers(1, 40), st.integers(0, 1000))
def test_pairs_are_different_and_in_range(n: int, most: int, seed: int) -> None:
    found = augmentation._pairs(n, most, np.random.default_rng(seed)).tolist()
    assert len(found) == max(min(n * (n - 1) // 2 - 1, most), 0)
    assert all(0 <= a < b < n for a, b in found)
    assert len({tuple(pair) for pair in found}) == len(found)


def test_classes_come_equally_often_in_what_is_looked_at() -> None:
    codes = np.repeat([0, 1, 2], [9000, 900, 100])
    drawn = augmentation._balanced(codes, np.ones(10_000, dtype=bool), 300, np.random.default_rng(0))
    assert (np.diff(drawn) > 0).all()
    counts = np.bincount(codes[drawn])
    assert counts.sum() == 300
    assert counts[0] == pytest.approx(counts[1], rel=0.3)
    assert counts[2] > 50
    usable = codes != 1
    everything = augmentation._balanced(codes, usable, 20_000, np.random.default_rng(0))
    assert everything.tolist() == np.flatnonzero(usable).tolist()


def test_rare_kinds_of_vectors_are_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    common = np.eye(4, GENES)[rng.integers(2, size=400)] * 1.5
    rare = np.eye(4, GENES)[np.full(6, 3)] * -1.5
    found = csr_matrix(np.concatenate([common, rare]) + rng.normal(0, 0.01, (406, GENES)), dtype=np.float32)
    monkeypatch.setattr(augmentation, "_PER_CLUSTER", 100)
    kept = augmentation._typical(found, Sizes(clusters=3, smallest=20), 1).toarray()
    assert len(kept) == 400
    assert (kept[:, 3] > -1).all()
    assert len(augmentation._typical(found, Sizes(clusters=3, smallest=1000), 1).toarray()) >= 180  # the largest stays
    assert len(augmentation._typical(found[:99], Sizes(), 1).toarray()) == 99  # too few to tell what is rare


# --- in training


def sparse_problem() -> tuple[csr_matrix, csr_matrix]:
    """Cells and vectors with empty rows, equal columns, sums that vanish, and values above the limit."""
    cells = random_matrix(50, GENES, 0.3, format="lil", random_state=1, data_rvs=lambda k: np.linspace(0.1, 9.2, k))
    moves = random_matrix(7, GENES, 0.4, format="lil", random_state=2, data_rvs=lambda k: np.linspace(-1.5, 1.5, k))
    cells[[3, 49]], moves[4] = 0, 0
    cells[5], moves[1] = 1.5, 1.5
    return csr_matrix(cells, dtype=np.float32), csr_matrix(moves, dtype=np.float32)


@pytest.mark.parametrize("threads", [1, 3])
def test_sparse_and_dense_cells_are_moved_alike(threads: int) -> None:
    cells, moves = sparse_problem()
    loader = Loader(MemoryRows(cells), np.arange(50), batch_size=20, seed=3)
    sparse = AugmentedFeed(SparseFeed(loader), moves, seed=5, threads=threads)
    dense = AugmentedFeed(HostFeed(loader, "cpu"), moves, seed=5)
    assert (len(sparse), sparse.cells) == (3, 50)
    for epoch in (0, 1):
        pairs = zip(sparse.epoch(epoch), dense.epoch(epoch), strict=True)
        for (ours, codes), (theirs, same) in pairs:
            rows = codes.numpy()
            assert rows.tolist() == same.tolist()
            assert np.allclose(ours.dense(), theirs.numpy(), atol=1e-6)
            assert (ours.values > 0).all()
            assert ours.csr().has_canonical_format
            # every cell is moved by one of the vectors, up or down
            options = np.concatenate([moves.toarray(), -moves.toarray()])
            expected = (cells[rows].toarray()[:, None] + options[None]).clip(0, 9)
            assert np.abs(expected - ours.dense()[:, None]).max(axis=2).min(axis=1).max() < 1e-6


def test_what_moves_a_cell_follows_from_seed_epoch_batch_and_rank() -> None:
    cells, moves = sparse_problem()

    def made(epoch: int, start: int = 0, **more: Any) -> list[np.ndarray]:
        feed = SparseFeed(Loader(MemoryRows(cells), np.arange(50), batch_size=20, shuffle=False))
        return [batch.dense() for batch, _ in AugmentedFeed(feed, moves, **{"seed": 5, **more}).epoch(epoch, start)]

    whole = made(2)
    assert all(np.array_equal(a, b) for a, b in zip(whole[1:], made(2, 1), strict=True))
    assert not np.array_equal(whole[0], made(3)[0])
    assert not np.array_equal(whole[0], made(2, seed=6)[0])
    assert not np.array_equal(whole[0], made(2, rank=1)[0])


# --- in the networks


@pytest.fixture(scope="module")
def data(ontology: Ontology) -> Any:
    found = cells(ontology, cells=240, genes=60, seed=4)
    found.obs["donor"] = [f"d{i % 4}" for i in range(240)]
    found.obs["study"] = "s"
    return found


def fitted(data: Any, ontology: Ontology, seed: int = 1, **more: Any) -> np.ndarray:
    method = Perceptron(**{"width": 8, "blocks": 1, "recipe": {"min_steps": 10, "epochs": 2}, "augment": True} | more)
    method.fit(data, Context(seed=seed, classes=[], ontology=ontology))
    return joined(method.predict(data)).probabilities


def test_a_fit_is_repeatable_and_differs_from_one_without(data: Any, ontology: Ontology) -> None:
    first = fitted(data, ontology)
    assert np.array_equal(first, fitted(data, ontology))
    assert np.abs(first - fitted(data, ontology, augment=False)).max() > 1e-3


def test_cells_of_a_store_are_augmented_as_those_in_memory(data: Any, ontology: Ontology, tmp_path: Path) -> None:
    obs = data.obs.copy()
    obs.index.name = "cell_id"
    with StoreWriter(tmp_path, data.var, shard_cells=64, uns=dict(data.uns["annobench"])) as writer:
        writer.append(data.X, obs)
        writer.finish()
    stored = StoredCells(Store.open(tmp_path), np.arange(data.n_obs), obs)
    assert np.allclose(fitted(stored, ontology, n_genes=30), fitted(data, ontology, n_genes=30), atol=1e-3)


def test_tabnet_trains_on_moved_cells(data: Any, ontology: Ontology) -> None:
    method = TabNet(decision=4, attention=4, shared=1, own=1, recipe={"min_steps": 4, "epochs": 1}, augment=True)
    method.fit(data, Context(seed=1, classes=[], ontology=ontology))
    assert np.isfinite(joined(method.predict(data)).probabilities).all()


@pytest.mark.parametrize("how", ["no column", "all unknown"])
def test_without_donors_the_method_is_skipped(data: Any, ontology: Ontology, how: str) -> None:
    alone = data.copy()
    alone.obs = alone.obs.drop(columns="donor") if how == "no column" else alone.obs.assign(donor="unknown")
    with pytest.raises(MethodSkipped, match="no training cell has a known donor"):
        fitted(alone, ontology)


def test_donors_of_different_studies_are_different() -> None:
    obs = pd.DataFrame({"study": ["a", "a", "b", "b", "b"], "donor": ["1", "2", "1", "1", "unknown"]})
    found = donor_numbers(obs).tolist()
    assert found[2] == found[3]
    assert len(set(found)) == 4
    assert found[4] == -1
    assert len(set(donor_numbers(obs[["donor"]]).tolist())) == 3
