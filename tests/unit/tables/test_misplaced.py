"""Promises: predicted types are means over fits, shares sum to one, and labels come by name, most cells first."""

import numpy as np
import pandas as pd
import pytest

from annobench.tables.misplaced import misplaced, predicted_types
from study_files import Context, study

PLACE = {"dataset": "d", "evaluation": "e", "regime": "pair"}


def context(**audits: pd.DataFrame) -> Context:
    one = Context(study())
    one.__dict__["audits"] = audits  # a cached property
    return one


def test_predicted_types_are_means_over_fits_with_the_confidence_of_the_cells() -> None:
    rows = [
        ("s", 1, "m", "A1", 30, 0.8),
        ("s", 1, "m", "unknown", 10, 0.2),
        ("s", 2, "m", "A1", 10, 0.4),
        ("s", 2, "m", "B", 30, 0.6),
        ("s", 1, "mute", "A2", 40, np.nan),
    ]
    columns = ["split", "seed", "method", "label_id", "cells", "confidence"]
    table = predicted_types(context(predicted=pd.DataFrame(rows, columns=columns).assign(**PLACE)))
    assert table["method"].tolist() == ["m", "m", "m", "mute"]
    assert table["label_id"].tolist() == ["A1", "B", "unknown", "A2"]
    assert table["label"].tolist() == ["a one", "b", "unknown", "a two"]
    assert table["cells"].tolist() == [20, 15, 5, 40]
    assert table["share"].tolist() == pytest.approx([0.5, 0.375, 0.125, 1])
    assert table["confidence"].tolist() == pytest.approx([(30 * 0.8 + 10 * 0.4) / 40, 0.6, 0.2, np.nan], nan_ok=True)
    assert table["n_fits"].tolist() == [2, 2, 2, 1]


def test_misplaced_cells_are_named() -> None:
    columns = ["method", "cell_id", "label_id", "predicted", "confidence", "n_wrong", "n_fits", "study", "donor"]
    rows = pd.DataFrame([("m", "c", "A1", "unknown", 0.5, 1, 2, "s", "d")], columns=columns).assign(**PLACE)
    (row,) = misplaced(context(misplaced=rows)).itertuples()
    assert (row.label, row.predicted_label) == ("a one", "unknown")


def test_without_rows_the_columns_stay() -> None:
    empty = context(misplaced=pd.DataFrame(), predicted=pd.DataFrame())
    assert len(misplaced(empty)) == len(predicted_types(empty)) == 0
    assert "confidence" in misplaced(empty)
