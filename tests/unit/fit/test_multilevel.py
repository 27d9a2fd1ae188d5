"""What is promised: answers go down the ontology as far as a wanted confidence holds, by calibrated probabilities."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from annobench.config.decodings import decoding_facts, decodings
from annobench.core.errors import PredictionError
from annobench.core.parquet import Categorical
from annobench.fit.decoded import decode_given
from annobench.fit.decodings.given import Given
from annobench.fit.decodings.graph import ClassGraph
from annobench.fit.decodings.nodes import Nodes
from annobench.fit.temperature import fitted_temperature, tempered
from annobench.ontology import UNKNOWN, Ontology, Term

CLASSES = ["CD4", "CD8", "B", "M"]


def blood() -> Ontology:
    """cell -> leukocyte -> {lymphocyte -> {T -> {CD4, CD8}, B}, M}."""
    above = {"leukocyte": "CL:0000000", "lymphocyte": "leukocyte", "M": "leukocyte", "T": "lymphocyte"}
    above |= {"B": "lymphocyte", "CD4": "T", "CD8": "T"}
    terms = {"CL:0000000": Term("cell")} | {name: Term(name.lower(), (one,)) for name, one in above.items()}
    return Ontology("2000-01-01", terms)


def any_graph(seed: int, n: int) -> tuple[Ontology, list[str]]:
    """A random graph of types below the root, and some of them as classes."""
    rng = np.random.default_rng(seed)
    names = [f"t{i}" for i in range(n)]
    terms = {"CL:0000000": Term("cell")}
    for i in range(n):
        parents = tuple(names[j] for j in range(i) if rng.random() < 1.5 / (i + 1))
        terms[names[i]] = Term(names[i], parents or ("CL:0000000",))
    return Ontology("2000-01-01", terms), [name for name in names if rng.random() < 0.7] or names[:1]


def answers(p: Any, confidence: float, ontology: Ontology, classes: list[str]) -> list[tuple[str, float]]:
    p = np.asarray(p, dtype=float)
    first = Categorical.of([classes[i] for i in p.argmax(axis=1)])
    cells = Given(labels=first, graph=ClassGraph(classes, ontology), probabilities=p, temperature=1.0)
    chosen = decode_given("multilevel", cells, {"confidence": confidence})
    return list(zip(chosen.labels.to_text().tolist(), chosen.confidence.round(6).tolist(), strict=True))


def test_by_hand() -> None:
    p = [
        [0.95, 0.03, 0.01, 0.01],  # sure of the class
        [0.50, 0.45, 0.03, 0.02],  # T 0.95, lymphocyte 0.98
        [0.30, 0.20, 0.45, 0.05],  # T 0.50, lymphocyte 0.95
        [0.30, 0.20, 0.10, 0.40],  # lymphocyte 0.60; a leukocyte they all are, which says nothing
    ]
    found = [label for label, _ in answers(p, 0.9, blood(), CLASSES)]
    assert found == ["CD4", "T", "lymphocyte", UNKNOWN]
    assert answers(p, 0.94, blood(), CLASSES)[1:3] == [("T", 0.95), ("lymphocyte", 0.95)]
    assert [label for label, _ in answers(p, 0.97, blood(), CLASSES)] == ["T", "lymphocyte", UNKNOWN, UNKNOWN]
    assert [label for label, _ in answers(p, 0.6, blood(), CLASSES)] == ["CD4", "T", "lymphocyte", "lymphocyte"]
    assert np.isnan(answers(p, 0.9, blood(), CLASSES)[3][1])


def test_nodes_are_the_most_specific_types_above_some_of_the_classes() -> None:
    assert Nodes(ClassGraph(CLASSES, blood())).names == ["CD4", "CD8", "B", "T", "M", "lymphocyte"]
    assert Nodes(ClassGraph(["CD4", "B", "M"], blood())).names == ["CD4", "B", "M", "lymphocyte"]  # T is CD4 here
    # a class above another one is a node of both; `unknown` and ids that the release lacks are below nothing
    nodes = Nodes(ClassGraph(["T", "CD4", "M", "new", UNKNOWN], blood()))
    assert set(nodes.names) == {"T", "CD4", "M", "new", "leukocyte"}
    assert nodes.above[:, nodes.names.index("T")].tolist() == [1, 1, 0, 0, 0]
    assert Nodes(ClassGraph(["CD4"], blood())).names == ["CD4"]  # the only class is still an answer


@given(st.integers(0, 10_000), st.integers(1, 14))
def test_any_graph(seed: int, n: int) -> None:
    ontology, classes = any_graph(seed, n)
    rng = np.random.default_rng(seed)
    p = rng.dirichlet(np.full(len(classes), 0.4), 12)
    before = np.full(len(p), np.inf)
    for confidence in (0.51, 0.7, 0.9, 0.99, 1.0):
        depths = []
        for row, (label, sure) in zip(p, answers(p, confidence, ontology, classes), strict=True):
            depths.append(0 if label == UNKNOWN else ontology.depth(label))
            if label != UNKNOWN:
                held = sum(
                    v for v, name in zip(row, classes, strict=True) if label in {name, *ontology.ancestors(name)}
                )
                assert held >= confidence - 1e-6
                assert sure == pytest.approx(held, abs=2e-5)
                deeper = [one for one in Nodes(ClassGraph(classes, ontology)).names if label in ontology.ancestors(one)]
                for one in deeper:  # no more specific type holds the confidence
                    below = [name == one or one in ontology.ancestors(name) for name in classes]
                    assert row[below].sum() < confidence
        assert (np.array(depths) <= before).all()  # a higher confidence never gives a deeper answer
        before = np.array(depths)


@given(st.integers(0, 10_000), st.integers(2, 14), st.floats(0.1, 10))
def test_disjoint_nodes_share_one(seed: int, n: int, temperature: float) -> None:
    ontology, classes = any_graph(seed, n)
    nodes = Nodes(ClassGraph(classes, ontology))
    p = tempered(np.random.default_rng(seed).dirichlet(np.ones(len(classes)), 5), temperature)
    summed = p @ nodes.above
    for i in range(len(nodes.names)):
        apart = [i]
        for j in range(len(nodes.names)):
            if all(not (nodes.above[:, j] * nodes.above[:, k]).any() for k in apart):
                apart.append(j)
        assert (summed[:, apart].sum(axis=1) <= 1 + 1e-9).all()


def test_the_temperature_is_found() -> None:
    rng = np.random.default_rng(0)
    honest = rng.dirichlet(np.full(5, 0.5), 4000)
    truth = np.array([rng.choice(5, p=row) for row in honest])
    assert fitted_temperature(honest, truth) == pytest.approx(1, abs=0.08)
    for temperature in (0.5, 2.0):  # what is too sure, or not sure enough, is set right
        wrong = honest**temperature / (honest**temperature).sum(axis=1, keepdims=True)
        found = fitted_temperature(wrong, truth)
        assert found == pytest.approx(temperature, rel=0.1)
        assert found is not None
        assert np.abs(tempered(wrong, found) - honest).max() < 0.08


def test_the_temperature_of_little() -> None:
    certain = np.eye(3)[[0, 1, 2, 0]]
    found = fitted_temperature(certain, np.array([0, 1, 2, 0]))
    assert found is not None  # all right: finite, and not surer than four cells allow
    assert tempered(certain, found).max() < 0.95
    wrong = fitted_temperature(certain, np.array([1, 2, 0, 1]))
    assert wrong is not None
    assert tempered(certain, wrong).max() < 0.5
    assert fitted_temperature(certain, np.full(4, -1)) is None  # no cell of a class of the model
    assert fitted_temperature(np.ones((3, 1)), np.zeros(3, dtype=int)) is None
    uniform = np.full((10, 4), 0.25)
    assert np.allclose(tempered(uniform, fitted_temperature(uniform, np.zeros(10, dtype=int)) or 0), 0.25)


def test_what_is_missing_is_named() -> None:
    cells = Given(labels=Categorical.of(["B"]), graph=ClassGraph(CLASSES, blood()), probabilities=np.eye(4)[:1])
    with pytest.raises(PredictionError, match="multilevel needs the temperature that calibrates probabilities"):
        decode_given("multilevel", cells)
    with pytest.raises(PredictionError, match="multilevel needs the probabilities of all classes"):
        decode_given("multilevel", Given(labels=Categorical.of(["B"])))
    with pytest.raises(PredictionError, match="wanted confidence is 0.4, expected more than 0.5 and at most 1"):
        answers([[1, 0, 0, 0]], 0.4, blood(), CLASSES)


def test_every_file_is_a_decoding() -> None:
    assert {"leaf", "top_down", "multilevel"} <= set(decodings())
    assert decoding_facts("leaf").at_fit
    facts = decoding_facts("multilevel")
    assert (facts.at_fit, facts.needs) == (False, ("probabilities", "temperature"))
    assert facts.options == {"confidence": 0.9}
