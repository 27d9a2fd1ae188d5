"""What is promised: a list of types restricts the answers to these and all below them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from annobench.core.errors import PredictionError
from annobench.core.parquet import Categorical
from annobench.fit.decoded import decode_given
from annobench.fit.decodings.given import Given
from annobench.fit.decodings.graph import ClassGraph
from helpers import toy_ontology

CLASSES = ["A", "A1", "A2", "A2x", "B"]  # A has A1 and A2 below it; A2 and B have A2x


def chosen(p: np.ndarray, allowed: list[str]) -> list[tuple[str, float]]:
    first = Categorical.of([CLASSES[i] for i in p.argmax(axis=1)])
    cells = Given(labels=first, graph=ClassGraph(CLASSES, toy_ontology()), probabilities=p, allowed=allowed)
    found = decode_given("allowed", cells)
    return list(zip(found.labels.to_text().tolist(), found.confidence.round(6).tolist(), strict=True))


def test_by_hand() -> None:
    p = np.array([[0.5, 0.2, 0.1, 0.15, 0.05], [0.0, 0.0, 0.0, 0.0, 1.0]])
    assert chosen(p, ["A1"])[0] == ("A1", 1)
    assert chosen(p, ["A2"])[0] == ("A2x", 0.6)  # A2 and, below it, A2x
    assert chosen(p, ["A1", "B"]) == [("A1", 0.5), ("B", 1)]
    assert chosen(p, ["A1"])[1][0] == "unknown"
    assert np.isnan(chosen(p, ["A1"])[1][1])
    assert [label for label, _ in chosen(p, ["elsewhere"])] == ["unknown", "unknown"]
    assert [label for label, _ in chosen(p, ["CL:0000000"])] == ["A", "B"]  # the root allows all
    with pytest.raises(
        PredictionError, match="needs a list of the types .* `allowed_labels` in the file of the dataset"
    ):
        decode_given("allowed", Given(labels=Categorical.of(["A"]), probabilities=p))


@given(st.integers(0, 10_000), st.lists(st.sampled_from([*CLASSES, "CL:0000000"]), min_size=1, unique=True))
def test_answers_are_allowed_and_more_allowed_labels_are_less_sure(seed: int, allowed: list[str]) -> None:
    p, ontology = np.random.default_rng(seed).dirichlet(np.ones(5), 6), toy_ontology()
    for row, (label, sure) in zip(p, chosen(p, allowed), strict=True):
        kept = [bool(set(allowed) & {name, *ontology.ancestors(name)}) for name in CLASSES]
        assert kept[CLASSES.index(label)]
        assert sure == pytest.approx(row[kept].max() / row[kept].sum(), abs=1e-5)
        assert sure >= row[CLASSES.index(label)] - 1e-6
