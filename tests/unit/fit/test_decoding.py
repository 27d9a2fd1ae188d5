"""What is promised: decodings go where the rules say, and every fit with probabilities writes them."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from annobench.config.decodings import AT_FIT
from annobench.config.plugins import plugins
from annobench.core.errors import PredictionError
from annobench.core.parquet import column_names
from annobench.fit import decoding, predictions, predictions_file
from annobench.fit.decoding import decode
from annobench.fit.predictions import Predictions
from annobench.fit.writer import PredictionsWriter
from annobench.ontology import Ontology, Term
from helpers import toy_ontology

CLASSES = ["A", "A1", "A2", "A2x", "B"]  # A has A1 and A2 below it; A2 and B have A2x


def labels(p: list[list[float]], classes: list[str] = CLASSES) -> dict[str, list[tuple[str, float]]]:
    found = decode(np.array(p), classes, toy_ontology())
    return {
        name: [(classes[code], round(sure, 9)) for code, sure in zip(codes.tolist(), confidence.tolist(), strict=True)]
        for name, (codes, confidence) in found.items()
    }


def test_by_hand() -> None:
    p = [
        [0.40, 0.20, 0.00, 0.30, 0.10],  # A 0.90; below it A2 0.30 and A1 0.20, less than A's own 0.40
        [0.10, 0.20, 0.15, 0.50, 0.05],  # A 0.95, A2 0.65, A2x 0.50 > 0.15
        [0.05, 0.10, 0.30, 0.15, 0.40],  # A 0.60 > B 0.55; A2 0.45 > 0.05; A2's own 0.30 >= 0.15
        [0.00, 0.10, 0.00, 0.30, 0.60],  # B 0.90 > A 0.40; its own 0.60 >= 0.30
        [0.25, 0.25, 0.00, 0.00, 0.50],  # a tie of A and B goes to A, one of A and A1 stays
    ]
    found = labels(p)
    assert found["top_down"] == [("A", 0.9), ("A2x", 0.5), ("A2", 0.45), ("B", 0.9), ("A", 0.5)]
    assert found["leaf"] == [("A2x", 0.3), ("A2x", 0.5), ("A2x", 0.15), ("A2x", 0.3), ("A1", 0.25)]


def test_relations_through_types_that_are_no_class_are_kept() -> None:
    found = labels([[0.3, 0.7, 0.0], [0.5, 0.2, 0.3]], ["A", "A2x", "B"])
    assert found["top_down"] == [("A2x", 0.7), ("A", 0.7)]
    assert found["leaf"] == [("A2x", 0.7), ("A2x", 0.2)]


def test_without_relations_all_decodings_are_argmax() -> None:
    p = np.random.default_rng(0).dirichlet(np.ones(3), 50)
    found = decode(p, ["A1", "A2x", "not in the release"], toy_ontology())
    for codes, confidence in found.values():
        assert codes.tolist() == p.argmax(axis=1).tolist()
        assert confidence.tolist() == p.max(axis=1).tolist()


def slowly(p: list[float], classes: list[str], ontology: Ontology) -> tuple[int, int]:
    """The rules of the module's first page, for one cell: numbers of the leaf and the top-down class."""
    n = range(len(classes))
    above = {i: {j for j in n if classes[j] in ontology.ancestors(classes[i])} for i in n}
    below = {i: {j for j in n if i in above[j]} for i in n}
    summed = [p[i] + sum(p[j] for j in below[i]) for i in n]

    def best(some: set[int], values: list[float]) -> int:
        return max(sorted(some), key=values.__getitem__)  # max keeps the first of equals

    at = best({i for i in n if not above[i]}, summed)
    while below[at]:
        child = best({i for i in below[at] if not any(k in below[at] for k in above[i])}, summed)
        if p[at] >= summed[child]:
            break
        at = child
    return best({i for i in n if not below[i]}, p), at


@given(st.integers(0, 10_000), st.integers(1, 12))
def test_any_graph_gives_what_the_rules_give(seed: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    names = [f"t{i}" for i in range(n)]
    order = rng.permutation(n)
    parents = {
        int(child): tuple(names[order[j]] for j in range(place) if rng.random() < 1.5 / (place + 1))
        for place, child in enumerate(order)
    }
    ontology = Ontology("2000-01-01", {names[i]: Term(names[i], parents[i]) for i in range(n)})
    classes = [name for name in names if rng.random() < 0.8] or names[:1]
    p = rng.integers(0, 9, (6, len(classes))) / 64  # sums of these are exact, and ties are common
    found = decode(p, classes, ontology)
    expected = [slowly(row, classes, ontology) for row in p.tolist()]
    assert found["leaf"][0].tolist() == [leaf for leaf, _ in expected]
    assert found["top_down"][0].tolist() == [at for _, at in expected]


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_blocks_and_types_do_not_show(dtype: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    p = np.random.default_rng(1).dirichlet(np.ones(5), 100).astype(dtype)
    whole = decode(p, CLASSES, toy_ontology())
    monkeypatch.setattr(decoding, "_BLOCK", 7)
    for name, (codes, confidence) in decode(p, CLASSES, toy_ontology()).items():
        assert codes.tolist() == whole[name][0].tolist()
        assert confidence == pytest.approx(whole[name][1])
        assert confidence.max() <= 1
    assert [len(codes) for codes, _ in decode(p[:0], CLASSES, toy_ontology()).values()] == [0, 0]
    with pytest.raises(PredictionError, match=r"shape \(100, 4\), expected \(cells, 5\)"):
        decode(p[:, :4], CLASSES, toy_ontology())


# --- in predictions.parquet

IDS = [f"c{i}" for i in range(40)]
WRITTEN = plugins(AT_FIT)


def made(p: np.ndarray, ids: list[str]) -> Predictions:
    return Predictions.from_probabilities(ids, p, CLASSES)


def write(folder: Path, sizes: list[int], **more: Any) -> Path:
    p, start = np.random.default_rng(2).dirichlet(np.ones(5), len(IDS)), 0
    folder.mkdir()
    settings: dict[str, Any] = {"top_k": 3, "ontology": toy_ontology()} | more
    with PredictionsWriter(folder, IDS, CLASSES, **settings) as writer:
        for size in sizes:
            rows = slice(start, start + size)
            writer.add(made(p[rows][::-1], IDS[rows][::-1]))  # in any order
            start += size
    return folder / "predictions.parquet"


def test_whole_and_in_parts(tmp_path: Path) -> None:
    whole, parts = write(tmp_path / "whole", [40]), write(tmp_path / "parts", [7, 30, 3])
    pd.testing.assert_frame_equal(pd.read_parquet(whole), pd.read_parquet(parts))
    assert [name for name in column_names(whole) if name in WRITTEN] == ["leaf", "top_down"]
    p = np.random.default_rng(2).dirichlet(np.ones(5), len(IDS))
    for name, (codes, confidence) in decode(p, CLASSES, toy_ontology()).items():
        answers = predictions_file.read_answers(parts, name)
        assert [column.to_text().tolist() for column in answers.labels] == [[CLASSES[code] for code in codes]]
        assert answers.confidence is not None
        assert answers.confidence.tolist() == confidence.tolist()
        assert answers.cell_ids.to_pylist() == IDS
    plain = predictions_file.read_answers(parts)
    assert len(plain.labels) == 3
    assert plain.confidence.tolist() == p.max(axis=1).tolist()
    assert predictions_file.read(parts).labels.shape == (40, 3)


def test_where_there_are_none(tmp_path: Path) -> None:
    for name, more in (("no_ontology", {"ontology": None}), ("no_claim", {"probabilities": False})):
        path = write(tmp_path / name, [40], **more)
        assert not set(WRITTEN) & set(column_names(path))
        with pytest.raises(PredictionError, match="has no column leaf, which only methods with probabilities have"):
            predictions_file.read_answers(path, "leaf")
    predictions_file.write_empty(tmp_path / "failed.parquet")
    empty = predictions_file.read_answers(tmp_path / "failed.parquet", "top_down")
    assert [len(empty.cell_ids), len(empty.labels[0]), empty.confidence] == [0, 0, None]
    with pytest.raises(PredictionError, match="decoding is 'beam', expected argmax, leaf, top_down"):
        predictions_file.read_answers(tmp_path / "failed.parquet", "beam")


def test_rows_and_parts_carry_what_is_decoded() -> None:
    p = np.random.default_rng(3).dirichlet(np.ones(5), 4)
    found = made(p, IDS[:4])
    found.decoded = decode(p, CLASSES, toy_ontology())
    again = predictions.joined([found.rows(slice(0, 1)), found.rows(np.array([1, 2, 3]))])
    assert again.decoded is not None
    for name, (codes, confidence) in found.decoded.items():
        assert again.decoded[name][0].tolist() == codes.tolist()
        assert again.decoded[name][1].tolist() == confidence.tolist()
