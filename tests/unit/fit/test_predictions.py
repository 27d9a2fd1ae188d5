"""What is promised: a method's output is a prediction for exactly the test cells, or an error that says why not."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from annobench.core.errors import PredictionError
from annobench.fit import predictions, predictions_file
from annobench.fit.predictions import Predictions

CELLS = ["c1", "c2", "c3"]
CLASSES = ["a", "b"]


def good(**changes: Any) -> Predictions:
    probabilities = np.array([[0.9, 0.1], [0.2, 0.8], [0.5, 0.5]])
    found = Predictions.from_probabilities(CELLS, probabilities, CLASSES)
    for key, value in changes.items():
        setattr(found, key, value)
    return found


def test_best_labels_first_and_ties_to_the_first_class() -> None:
    found = good()
    assert found.labels.tolist() == [["a", "b"], ["b", "a"], ["a", "b"]]
    assert found.confidence.tolist() == [0.9, 0.8, 0.5]
    assert found.cut(1).labels.shape == (3, 1)


def test_rows_are_matched_by_id_never_by_position() -> None:
    found = good(cell_ids=np.array(["c3", "c1", "c2"], dtype=object))
    valid = predictions.validate(found, CELLS, CLASSES)
    assert valid.cell_ids.tolist() == CELLS
    assert valid.labels[:, 0].tolist() == ["b", "a", "a"]
    assert valid.probabilities[0].tolist() == [0.2, 0.8]


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"cell_ids": np.array(["c1", "c2", "c2"], dtype=object)}, "predictions: 1 cells are listed more than once"),
        ({"cell_ids": np.array(["c1", "c2", "c9"], dtype=object)}, r"1 \(c3\) missing, 1 \(c9\) not asked for"),
        ({"labels": np.array([["a"], ["b"], ["x"]], dtype=object), "scores": None}, r"1 \(x\)"),
        ({"labels": np.array([["a"], ["b"], [None]], dtype=object), "scores": None}, "not among the allowed ones"),
        ({"labels": np.array([["a"], ["b"], [np.nan]], dtype=object), "scores": None}, "not among the allowed ones"),
        ({"labels": np.array([["a", "a"], ["b", "a"], ["a", "b"]], dtype=object)}, "a cell has one label twice: a, a"),
        ({"classes": ("a", "a")}, "classes of the probabilities are listed twice"),
        ({"classes": ("a", "z")}, r"not allowed: 1 \(z\)"),
        ({"scores": np.full((3, 2), np.nan)}, "scores hold 6 NaN"),
        ({"scores": np.array([[0.1, 0.9]] * 3)}, "not in falling order"),
        ({"scores": np.ones((3, 1))}, r"scores have shape \(3, 1\)"),
        ({"confidence": np.array([1, 2, np.inf])}, "confidence hold 1 NaN or infinite"),
        ({"probabilities": np.full((3, 2), np.nan)}, "probabilities hold"),
        ({"probabilities": np.array([[0.9, 0.4], [0.2, 0.8], [0.5, 0.5]])}, r"add up to 1 \.\.\. 1\.3, expected 1"),
        ({"probabilities": np.array([[1.2, -0.2], [0.2, 0.8], [0.5, 0.5]])}, "lie between -0.2 and 1.2"),
        ({"probabilities": np.array([[0.1, 0.9], [0.2, 0.8], [0.5, 0.5]])}, "not the one with the largest probability"),
        ({"probabilities": np.ones((3, 3))}, "probabilities have shape"),
        ({"labels": np.array(["a", "b", "a"], dtype=object)}, "labels have shape"),
    ],
)
def test_broken_predictions_are_refused(changes: dict[str, Any], part: str) -> None:
    with pytest.raises(PredictionError, match=part):
        predictions.validate(good(**changes), CELLS, CLASSES)


def test_too_few_rows() -> None:
    with pytest.raises(PredictionError, match="predictions for 2 cells, expected 3"):
        predictions.validate(Predictions.from_labels(CELLS[:2], ["a", "b"]), CELLS, CLASSES)


def test_unknown_is_always_allowed() -> None:
    predictions.validate(Predictions.from_labels(CELLS, ["a", "unknown", "b"]), CELLS, CLASSES)


def test_files_round_trip(tmp_path: Path) -> None:
    predictions_file.write(tmp_path / "p.parquet", good())
    table = pd.read_parquet(tmp_path / "p.parquet")
    assert list(table.columns) == ["cell_id", "label_1", "label_2", "score_1", "score_2", "confidence"]
    again = predictions_file.read(tmp_path / "p.parquet")
    assert again.labels.tolist() == good().labels.tolist()
    assert np.allclose(again.scores, good().scores)
    predictions_file.write_probabilities(tmp_path / "q.npz", good())
    matrix, classes, cells = predictions_file.read_probabilities(tmp_path / "q.npz")
    assert np.allclose(matrix, good().probabilities, atol=1e-3)
    assert classes.tolist() == CLASSES
    assert cells.tolist() == CELLS


def test_labels_alone_and_an_empty_table_round_trip(tmp_path: Path) -> None:
    predictions_file.write(tmp_path / "p.parquet", Predictions.from_labels(CELLS, ["a", "b", "a"]))
    again = predictions_file.read(tmp_path / "p.parquet")
    assert again.scores is None
    assert again.confidence is None
    predictions_file.write_empty(tmp_path / "e.parquet")
    assert len(pd.read_parquet(tmp_path / "e.parquet")) == 0


@pytest.mark.parametrize(
    ("text", "labels", "confidence"),
    [
        ("cell_id,label\nc1,a\nc2,b\n", [["a"], ["b"]], None),
        ("cell_id,label_1,score_1,confidence\n'c1,a,0.5,0.5\n", [["a"]], [0.5]),
        ('cell_id,label_1,confidence\n"c1,with comma",a,\n', [["a"]], None),
        ("\ufeffcell_id,label\r\nc1,a\r\n", [["a"]], None),  # as spreadsheets write it
        ("cell_id;label;confidence\nc1;CL_0000084;0,93\nc2;NA;0,5\n", [["CL:0000084"], ["unknown"]], [0.93, 0.5]),
        ('"cell_id","label"\n"1","c1","a"\n"2","c2","b"\n', [["a"], ["b"]], None),  # write.table of R
    ],
)
def test_csv_of_external_commands(tmp_path: Path, text: str, labels: list, confidence: list | None) -> None:
    (tmp_path / "p.csv").write_text(text)
    found = predictions_file.read(tmp_path / "p.csv")
    assert found.labels.tolist() == labels
    assert (None if found.confidence is None else found.confidence.tolist()) == confidence


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("cell,label\nc1,a\n", "expected the columns cell_id and label_1, found cell, label"),
        ("cell_id,label_1,score_1\nc1,a,high\n", "line 2, column 'score_1': 'high' is not a number"),
        ("cell_id,label_1,label_2,score_1\nc1,a,b,1\n", "2 label columns and 1 score columns"),
        ("", "holds no rows"),
        ("cell_id,label,confidence\nc1,a,0,93\nc2,a,0,5\n", "'0,93' a number with a decimal comma"),
        ("cell_id,label\nc1,a\nc2,a,b\n", "line 3: has 3 fields, expected 2"),
    ],
)
def test_broken_csv(tmp_path: Path, text: str, part: str) -> None:
    (tmp_path / "p.csv").write_text(text)
    with pytest.raises(PredictionError, match=part):
        predictions_file.read(tmp_path / "p.csv")


def test_a_parquet_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "p.parquet").write_text("no parquet")
    with pytest.raises(PredictionError, match="not a readable Parquet file"):
        predictions_file.read(tmp_path / "p.parquet")
