"""What is promised: types lie where the graph has them, unseen types get their share of probability, and no more."""

from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from annobench.core.errors import ConfigError, DataError
from annobench.fit.method import Context
from annobench.fit.predictions import joined, validate
from annobench.methods.onclass import OnClass, softmax, spread, weight_of
from annobench.methods.shared.type_graph import _whole_groups, near, read_texts, read_types, type_graph
from annobench.ontology import ROOT, Ontology, Term
from helpers import cells, toy_ontology

SHORT: dict[str, Any] = {"recipe": {"epochs": 8, "min_steps": 80}, "width": 32, "dimensions": 20}


def twins() -> Ontology:
    """cell -> A -> {A1, A2, A3}, cell -> B -> B1: A2 and A3 have the same place for every other type."""
    parents = {"A": ROOT, "B": ROOT, "A1": "A", "A2": "A", "A3": "A", "B1": "B"}
    return Ontology("2000-01-01", {ROOT: Term("cell"), **{k: Term(k, (p,)) for k, p in parents.items()}})


# --- the graph


def test_walks_with_restart_by_hand() -> None:
    """Three types in a row: the similarities follow from the visits, which are written down here as a series."""
    row = Ontology("2000-01-01", {ROOT: Term("cell"), "A": Term("a", (ROOT,)), "B": Term("b", ("A",))})
    steps = np.array([[0, 1, 0], [0.5, 0, 0.5], [0, 1, 0]])  # cell, A, B
    visits = sum(0.5 * 0.5**k * np.linalg.matrix_power(steps, k) for k in range(60))
    logs = np.log(visits + 1 / 3) - np.log(1 / 3)
    values, vectors = np.linalg.eigh(logs @ logs.T)
    places = vectors * np.sqrt(np.sqrt(np.maximum(values, 0)))
    places -= places.mean(axis=0)
    places /= np.linalg.norm(places, axis=1, keepdims=True)
    found = type_graph(row, [ROOT, "A", "B"], dimensions=3, restart=0.5)
    names = [ROOT, "A", "B"]
    assert np.allclose(found.similarity(names, names), places @ places.T, atol=1e-6)


@pytest.mark.parametrize("dimensions", [1, 2, 3, 4, 5, 50])
def test_types_of_the_same_place_are_alike_to_all_others_whatever_is_cut(dimensions: int) -> None:
    graph = type_graph(twins(), ["A1", "A2", "A3", "B", "B1"], dimensions=dimensions, restart=0.4)
    others = ["A1", "B", "B1"]
    assert np.array_equal(graph.similarity(others, ["A2"]), graph.similarity(others, ["A3"]))
    assert graph.places.shape[1] <= dimensions


def test_near_types_are_alike() -> None:
    graph = type_graph(twins(), ["A1", "A2", "A", "B", "B1"], dimensions=50, restart=0.5)
    ((sibling, parent, far),) = graph.similarity(["A1"], ["A2", "A", "B1"])
    assert min(sibling, parent) > far


@given(st.permutations(["A", "B", "A1", "A2", "A2x"]), st.integers(1, 6))
@settings(max_examples=30, deadline=None)
def test_the_order_of_the_types_changes_nothing(order: list[str], dimensions: int) -> None:
    names = ["A", "B", "A1", "A2", "A2x"]
    first, second = (type_graph(toy_ontology(), one, dimensions=dimensions, restart=0.5) for one in (names, order))
    assert np.allclose(first.similarity(names, names), second.similarity(names, names), atol=1e-6)


def test_no_group_of_equal_singular_values_is_cut() -> None:
    values = np.array([5.0, 3, 3, 3, 1, 1e-9])
    assert [_whole_groups(values, most) for most in (1, 2, 3, 4, 5, 9)] == [1, 1, 1, 4, 5, 5]


def test_a_type_that_the_release_lacks_is_a_place_of_its_own() -> None:
    graph = type_graph(twins(), ["A1", "A2", "other"], dimensions=9, restart=0.5)
    ((alike, other),) = graph.similarity(["A1"], ["A2", "other"])
    assert alike > other


def test_texts_weigh_relations() -> None:
    """A1 is described as A is, A2 as the opposite: A1 comes nearer to A, A2 goes."""
    texts = {"A": np.array([1.0, 0]), "A1": np.array([1.0, 0]), "A2": np.array([-1.0, 0.1])}
    names = ["A", "A1", "A2", "A3", "B", "B1"]
    plain, told = (type_graph(twins(), names, dimensions=9, restart=0.3, texts=t) for t in (None, texts))
    before, after = (graph.similarity(["A"], ["A1", "A2"])[0] for graph in (plain, told))
    assert before[0] == before[1]
    assert after[0] > before[0]
    assert after[1] < before[1]
    with pytest.raises(DataError, match="none of the 6 relations of the ontology has texts at both ends"):
        type_graph(twins(), names, dimensions=9, restart=0.3, texts={"T cell": np.ones(2)})


def test_types_near_others() -> None:
    assert near(toy_ontology(), ["A1"], 1) == ["A"]
    assert near(toy_ontology(), ["A1"], 2) == ["A", "A2"]  # neither the root nor obsolete terms
    assert near(toy_ontology(), ["A1"], 9) == ["A", "A2", "A2x", "B"]


def test_files_of_types_and_texts(tmp_path: Path) -> None:
    (tmp_path / "t.tsv").write_text("# of the lung\nA1\ta one\nOLD\nB\n")
    assert read_types(tmp_path / "t.tsv", toy_ontology()) == ["A1", "B"]  # an obsolete id is its successor
    (tmp_path / "t.tsv").write_text("A1\nx\n")
    with pytest.raises(DataError, match="line 2: 'x' is no term"):
        read_types(tmp_path / "t.tsv", toy_ontology())
    np.savez(tmp_path / "v.npz", ids=["A1"], vectors=np.ones((2, 3)))
    with pytest.raises(DataError, match="ids have shape"):
        read_texts(tmp_path / "v.npz")
    np.savez(tmp_path / "v.npz", ids=["A1", "B"], vectors=np.ones((2, 3)))
    assert list(read_texts(tmp_path / "v.npz")) == ["A1", "B"]
    with pytest.raises(DataError, match="no file"):
        read_texts(tmp_path / "none.npz")


# --- the spread


def test_a_spread_by_hand() -> None:
    """Seen A1, A2, B with 0.5, 0.3, 0.2; an unseen type as A1 (1), half as A2 (0.5), not as B."""
    probabilities, confidence = spread(np.array([[0.5, 0.3, 0.2]]), np.array([[1.0], [0.5], [0.0]]), 1.0)
    assert np.allclose(probabilities, np.array([[0.5, 0.3, 0.2, 0.65]]) / 1.65)
    assert confidence == pytest.approx([0.65 / 1.65])
    assert np.array_equal(spread(np.array([[0.5, 0.5]]), np.ones((2, 3)), 0.0)[0], [[0.5, 0.5, 0, 0, 0]])


numbers = st.integers(0, 2**32 - 1)


def drawn(seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    n, seen, unseen = rng.integers(1, 40), rng.integers(1, 6), rng.integers(1, 8)
    return rng.dirichlet(np.full(seen, 0.3), size=n), rng.random((seen, unseen)) ** 2


@given(numbers, st.floats(0, 5))
@settings(max_examples=60, deadline=None)
def test_scores_are_a_distribution_and_keep_the_order_of_the_seen_types(seed: int, weight: float) -> None:
    seen, alike = drawn(seed)
    probabilities, confidence = spread(seen, alike, weight)
    assert np.allclose(probabilities.sum(axis=1), 1)
    assert (probabilities >= 0).all()
    assert ((confidence > 0) & (confidence <= 1 + 1e-12)).all()
    own = probabilities[:, : seen.shape[1]]
    assert np.allclose(own / own.sum(axis=1, keepdims=True), seen)


@given(numbers, st.floats(0, 5))
@settings(max_examples=60, deadline=None)
def test_permuted_types_and_types_of_one_place(seed: int, weight: float) -> None:
    seen, alike = drawn(seed)
    order = np.random.default_rng(seed + 1).permutation(seen.shape[1])
    plain, turned = spread(seen, alike, weight), spread(seen[:, order], alike[order], weight)
    k = seen.shape[1]
    assert np.allclose(plain[0][:, :k][:, order], turned[0][:, :k])
    assert np.allclose(plain[0][:, k:], turned[0][:, k:])
    assert np.allclose(plain[1], turned[1])
    twice, sure = spread(seen, np.hstack([alike, alike[:, :1]]), weight)
    assert np.allclose(twice[:, k], twice[:, -1])
    assert np.allclose(sure, plain[1])  # a second type of the same place takes nothing from the confidence


@given(numbers, st.sampled_from([0.0, 0.02, 0.1, 0.5]))
@settings(max_examples=100, deadline=None)
def test_no_more_cells_of_seen_types_are_lost_than_allowed(seed: int, lost: float) -> None:
    seen, alike = drawn(seed)
    probabilities, _ = spread(seen, alike, weight_of(seen, alike, lost))
    assert (probabilities.argmax(axis=1) >= seen.shape[1]).sum() <= lost * len(seen)


def test_the_weight_is_as_large_as_allowed() -> None:
    seen = np.array([[0.9, 0.1], [0.6, 0.4], [0.5, 0.5], [0.99, 0.01]])
    alike = np.array([[0.5], [0.5]])  # the unseen type gets 0.5 of every cell: ratios 1.8, 1.2, 1 and 1.98
    assert weight_of(seen, alike, 0.0) == pytest.approx(1.0)
    assert weight_of(seen, alike, 0.25) == pytest.approx(1.2)
    assert weight_of(seen, alike, 0.5) == pytest.approx(1.8)


def test_softmax_of_large_values() -> None:
    assert np.allclose(softmax(np.array([[1000.0, 1000.0, -1000.0]])), [[0.5, 0.5, 0]])


# --- the method


@pytest.fixture(scope="module")
def data(ontology: Ontology) -> ad.AnnData:
    return cells(ontology, cells=300, genes=100, seed=3)


def fitted(data: ad.AnnData, ontology: Ontology, *, without: str = "", validation: bool = True, **more: Any) -> OnClass:
    train, val = (part[part.obs["label_id"] != without].copy() for part in (data[:200], data[200:240]))
    method = OnClass(**SHORT | more)
    classes = sorted(set(train.obs["label_id"]))
    method.fit(train, Context(seed=1, classes=classes, ontology=ontology, validation=val if validation else None))
    return method


def test_an_unseen_type_is_predicted_and_lies_ahead_of_far_ones(
    data: ad.AnnData, ontology: Ontology, tmp_path: Path
) -> None:
    """CD8 T cells (CL:0000625) are unseen; T cell and CD4 T cell are seen. Of two candidates, the near one leads."""
    near_type, far_type = "CL:0000625", "CL:0000540"  # a neuron
    (tmp_path / "types.txt").write_text(f"{near_type}\n{far_type}\nCL:0000084\n")
    method = fitted(data, ontology, candidates="file", types=str(tmp_path / "types.txt"), lost=1.0)
    query = data[240:].copy()
    found = validate(joined(method.predict(query)), query.obs_names, ontology.terms)
    assert found.classes == (*sorted(set(data.obs["label_id"])), far_type, near_type)
    t_cells = query.obs["label_id"].isin(["CL:0000084", "CL:0000624"]).to_numpy()
    assert (found.probabilities[t_cells, -1] > found.probabilities[t_cells, -2]).mean() > 0.9
    assert near_type in set(found.labels[:, 0])
    assert far_type not in set(found.labels[t_cells, 0])


def test_a_held_out_type_gets_nearer_answers_than_chance(data: ad.AnnData, ontology: Ontology) -> None:
    """Of all types near the seen ones, the held-out one is among the more probable for its own cells."""
    out = "CL:0000624"  # CD4 T cell; T cell is seen
    method = fitted(data, ontology, without=out, reach=4)
    query = data[240:][data[240:].obs["label_id"] == out].copy()
    found = joined(method.predict(query))
    unseen = found.probabilities[:, len(method._classes) :]
    own = found.probabilities[:, found.classes.index(out)]
    assert unseen.shape[1] > 30
    assert ((unseen < own[:, None]).mean(axis=1)).mean() > 0.65  # 0.5 is chance


@pytest.mark.parametrize("validation", [True, False])
def test_seen_types_keep_their_cells(data: ad.AnnData, ontology: Ontology, validation: bool) -> None:
    method = fitted(data, ontology, lost=0.0, validation=validation)
    assert str(method.notes["unseen_weight_from"]).startswith("40 validation" if validation else "17 training")
    if validation:
        judged = data[200:240].copy()
        assert not set(joined(method.predict(judged)).labels[:, 0]) - set(method._classes)


def test_no_candidates_leave_a_classifier_of_the_seen_types(data: ad.AnnData, ontology: Ontology) -> None:
    found = joined(fitted(data, ontology, candidates="none").predict(data[240:].copy()))
    assert found.classes == tuple(sorted(set(data.obs["label_id"])))
    assert np.allclose(found.confidence, found.probabilities.max(axis=1))


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"candidates": "file"}, "give both or neither"),
        ({"types": "x.txt"}, "give both or neither"),
        ({"lost": 1.5}, "lost"),
        ({"restart": 0.0}, "restart"),
    ],
)
def test_settings_that_mean_nothing_are_refused(parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        OnClass(**parameters)


def test_parts_of_a_large_query_are_the_whole(
    data: ad.AnnData, ontology: Ontology, monkeypatch: pytest.MonkeyPatch
) -> None:
    method, query = fitted(data, ontology), data[240:].copy()
    whole = joined(method.predict(query))
    monkeypatch.setattr("annobench.methods.onclass._PART", 25)
    parts = list(method.predict(query))
    assert len(parts) == 3
    assert np.allclose(joined(parts).probabilities, whole.probabilities, atol=1e-6)
