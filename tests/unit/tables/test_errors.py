"""Promises: relations of predictions to the truth, and confusion at depths, for a small ontology worked by hand."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from annobench.config.results import Results
from annobench.score.evidence import Evidence
from annobench.score.score_tables import ScoredView, group_columns
from annobench.score.units import Units
from annobench.tables.errors import confusion_depths, error_relations
from annobench.tables.groups import groups
from annobench.tables.shared.context import TableContext
from helpers import scored, toy_ontology
from study_files import Context, study, whole_study

# cell -> A -> {A1, A2 -> A2x}; cell -> B; A2x also below B
PAIRS = [
    ("A1", "A1", 5, "exact"),
    ("A1", "A", 2, "above"),
    ("A", "A2x", 3, "below"),
    ("A1", "A2", 1, "sibling"),
    ("A1", "B", 4, "elsewhere"),
    ("B", "unknown", 2, "unknown"),
]


@pytest.fixture
def context() -> Context:
    trained = {"A1": 0, "A": 1, "B": 0}  # of two fits
    rows = [("d", "e", "r", "all", "m", t, predicted, n, n / 2, 2, trained[t]) for t, predicted, n, _ in PAIRS]
    columns = ["dataset", "evaluation", "regime", "split", "method", "true", "predicted", "n", "cells"]
    columns += ["n_fits", "n_trained"]
    return Context(study()).having(confusion=pd.DataFrame(rows, columns=columns))


def test_every_relation(context: Context) -> None:
    table = error_relations(context)
    found = {(row.label_id, row.relation): row.n for row in table.itertuples()}
    assert found == {(true, relation): n for true, _, n, relation in PAIRS}
    assert (table["cells"] == table["n"] / 2).all()
    of_a1 = table[table["label_id"] == "A1"]
    assert of_a1.set_index("relation")["share"].to_dict() == pytest.approx(
        {"exact": 5 / 12, "above": 2 / 12, "sibling": 1 / 12, "elsewhere": 4 / 12}
    )
    assert set(of_a1["label"]) == {"a one"}


def test_depths_merge_what_lies_below_a_node(context: Context) -> None:
    table = confusion_depths(context)
    top = {(row.true, row.predicted): row.n for row in table[table["depth"] == 1].itertuples()}
    assert top == {("A", "A"): 11, ("A", "B"): 4, ("B", "unknown"): 2}
    deepest = table[table["depth"] == table["depth"].max()]
    assert {(row.true, row.predicted): row.n for row in deepest.itertuples()} == {
        (true, predicted): n for true, predicted, n, _ in PAIRS
    }
    assert dict(zip(table["true"], table["true_label"], strict=True))["A"] == "a"


def test_a_node_has_training_cells_where_any_label_below_it_has(context: Context) -> None:
    table = confusion_depths(context)
    assert set(table["n_fits"]) == {2}
    top = table[table["depth"] == 1].groupby("true")["n_trained"].agg(set).to_dict()
    assert top == {"A": {1}, "B": {0}}
    deepest = table[table["depth"] == table["depth"].max()].groupby("true")["n_trained"].agg(set).to_dict()
    assert deepest == {"A": {1}, "A1": {0}, "B": {0}}


def test_no_fits_no_rows() -> None:
    nothing = pd.DataFrame(
        columns=["dataset", "evaluation", "regime", "split", "method", "true", "predicted", "n", "cells"]
    )
    empty = Context(study()).having(confusion=nothing)
    assert len(error_relations(empty)) == len(confusion_depths(empty)) == 0


# groups


def test_counts_of_groups_add_up_and_leave_out_cells_without_a_value() -> None:
    truth, predicted = ["A1", "A1", "B", "B"], ["A1", "B", "B", "B"]
    evidence = Evidence(scored(truth, predicted, groups={"assay": ["v2", "v3", "v2", "unknown"]}))
    evidence.units = Units.one(4)
    found = group_columns(ScoredView("d", "s", "m", 1), evidence, ["assay", "other"])
    table = pd.DataFrame({k: v if isinstance(v, np.ndarray) else v.to_text() for k, v in found.items()})
    rows = table[["level", "group", "true", "predicted", "n"]].itertuples(index=False, name=None)
    assert sorted(rows) == [
        ("assay", "v2", "A1", "A1", 1),
        ("assay", "v2", "B", "B", 1),
        ("assay", "v3", "A1", "B", 1),
    ]


def test_groups_have_the_values_of_their_cells(tmp_path: Path) -> None:
    spec = whole_study(tmp_path)  # where all cells are of one group
    context = TableContext(spec, Results(tmp_path), toy_ontology(), tmp_path)
    table, whole = groups(context), context.table("summary")
    assert set(zip(table["level"], table["group"], strict=True)) == {("assay", "10x")}
    keys = ["dataset", "evaluation", "method", "metric"]
    both = table.merge(whole[whole["split"] == "all"], on=keys)
    assert len(both) == len(table) > 0
    assert both["value_x"].to_numpy() == pytest.approx(both["value_y"].to_numpy())
    assert both["low_x"].to_numpy() == pytest.approx(both["low_y"].to_numpy())
    assert set(table["interval_over"]) == {"donors"}
