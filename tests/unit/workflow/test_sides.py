"""Promises: only the same splits, seeds and test cells are compared; differences are second minus first."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from annobench.config.results import Results
from annobench.core.errors import DataError
from annobench.core.parquet import write_columns
from annobench.tables.compare import Comparison
from annobench.tables.shared.fits import Fits, planned_fits
from annobench.workflow.sides import COLUMNS, Side, compared
from helpers import toy_ontology
from study_files import whole_study


@pytest.fixture
def two(tmp_path: Path) -> tuple[Side, Side]:
    """The same study twice."""
    spec = whole_study(tmp_path / "one")
    shutil.copytree(tmp_path / "one", tmp_path / "two")
    return Side(Results(tmp_path / "one"), spec), Side(Results(tmp_path / "two"), spec)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()


def test_the_same_results_do_not_differ(two: tuple[Side, Side]) -> None:
    table = compared(*two, toy_ontology())
    assert list(table.columns) == list(COLUMNS)
    assert set(table["method_a"]) == {"old", "new"}  # no control
    assert (table["method_a"] == table["method_b"]).all()
    assert (table["difference"] == 0).all()
    assert (table[["low", "high"]] == 0).all(axis=None)
    assert (table["p_value"] == 1).all()
    assert (table["n_missing"] == 0).all()
    assert set(table["n_fits"]) == {2}
    assert (table["changed_labels"] == 0).all()


def test_two_methods_of_one_run_differ_as_the_table_of_tests_says(two: tuple[Side, Side]) -> None:
    side = two[0]
    table = compared(Side(side.results, side.spec, "old"), Side(side.results, side.spec, "new"), toy_ontology())
    comparison = Comparison(Fits(planned_fits(side.spec, side.results), toy_ontology()), side.spec)
    tests = comparison.tests().set_index("evaluation")
    for row in table.itertuples():
        theirs = tests.loc[row.evaluation]
        assert {theirs["method_a"], theirs["method_b"]} == {"old", "new"}
        sign = 1 if theirs["method_a"] == "new" else -1
        assert row.difference == pytest.approx(sign * theirs["difference"])
        assert row.difference == pytest.approx(row.b - row.a)
        assert row.low < row.difference < row.high
    assert (table["difference"] > 0).all()


def test_fits_on_one_side_only_and_on_other_cells_are_counted(two: tuple[Side, Side]) -> None:
    results, spec = two[1].results, two[1].spec
    first, second = spec.splits[0], spec.splits[1]
    path = Path(results.roles("d", first.split, 1))
    roles = pd.read_parquet(path)
    roles.loc[np.flatnonzero(roles["role"] == "test")[0], "role"] = "unused"
    write_columns(path, {name: roles[name].to_numpy() for name in roles})
    gone = next(fit for fit in planned_fits(spec, results) if fit.method == "old" and fit.seed == 2)
    gone.scores.unlink()  # of both views
    rows = compared(*two, toy_ontology()).set_index(["method_a", "evaluation"])
    counts = rows[["n_fits", "n_other_cells", "n_missing"]]
    assert counts.loc[("old", first.evaluation)].tolist() == [0, 1, 1]
    assert counts.loc[("old", second.evaluation)].tolist() == [1, 0, 1]
    assert counts.loc[("new", first.evaluation)].tolist() == [1, 1, 0]
    assert pd.isna(rows.loc[("old", first.evaluation), "difference"])


def test_labels_that_changed_are_counted(two: tuple[Side, Side]) -> None:
    for side, labels in zip(two, (["A1", "A1", "B", "B"], ["A1", "A2", "B", "A1"]), strict=True):
        for fit in planned_fits(side.spec, side.results):
            columns = {"cell_id": ["c1", "c2", "c3", "c4"], "label_1": labels}
            write_columns(fit.folder / "predictions.parquet", columns)
    assert set(compared(*two, toy_ontology())["changed_labels"]) == {0.5}


def test_nothing_in_common_is_an_error(two: tuple[Side, Side]) -> None:
    with pytest.raises(DataError, match="no fit in common"):
        compared(two[0], Side(Results("nowhere"), two[1].spec), toy_ontology())
