"""What is promised: controls are made as stated, and a metric that one of them wins is not evidence."""

from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
import pytest

from annobench.core.parquet import write_columns
from annobench.score.audit.controls import CONTROLS, PERTURBATIONS, made_for
from annobench.score.audit.perturbations import (
    FAMILIES,
    TrainingCells,
    controls,
    perturbed_profile,
    record_perturbations,
)
from annobench.score.audit.tables import Recorder, Tables
from annobench.score.audit.verdict import INFORMATIVE, NOT_EVIDENCE, UNTESTED, judge
from annobench.score.metric import Metric
from annobench.score.metrics import perturbation
from annobench.score.perturbation.compared import Compared, Condition
from annobench.score.registry import METRICS
from annobench.tables.audit import audited

NONE = np.array([], dtype=int)
BLIND = ("control_mean", "perturbed_mean", "shuffled_conditions", "sign_flipped")


def screen(conditions: int = 4, cells: int = 20, seed: int = 0) -> tuple[Compared, Any]:
    """Strong effects of their own beside one that is shared; predictions are other cells with half of the effect."""
    rng = np.random.default_rng(seed)
    shared = rng.normal(0, 0.5, 40)
    effects = shared + rng.normal(0, 1, (conditions, 40))
    control = rng.normal(5, 0.3, (50, 40))
    made = [
        Condition(f"p{i}", rng.normal(5 + e, 0.3, (cells, 40)), rng.normal(5 + e / 2, 0.3, (9, 40)), NONE)
        for i, e in enumerate(effects)
    ]
    return Compared(np.arange(40).astype(object), control, made), 5 + shared


def test_controls_are_what_they_are_called() -> None:
    one, mean = screen()
    half, others = one.halved(3)
    made = controls(half, others, mean, 3)
    assert set(made) == {"oracle", *BLIND} == set(made_for("perturbation"))
    control = half.control.mean(axis=0)
    for i, condition in enumerate(one):
        both = np.vstack([half.conditions[i].truth, others[condition.name]])
        assert sorted(map(tuple, both)) == sorted(map(tuple, condition.truth))  # no cell is in both halves
        assert made["oracle"][condition.name] is others[condition.name]
        assert made["control_mean"][condition.name].tolist() == [control.tolist()]
        assert made["perturbed_mean"][condition.name].tolist() == [mean.tolist()]
        flipped = made["sign_flipped"][condition.name].mean(axis=0) - control
        assert flipped == pytest.approx(-(others[condition.name].mean(axis=0) - control))
        assert made["shuffled_conditions"][condition.name] is not others[condition.name]
    got = {id(cells) for cells in made["shuffled_conditions"].values()}
    assert got == {id(cells) for cells in others.values()}  # each of them once


def test_what_cannot_be_made_is_left_out() -> None:
    one, mean = screen(conditions=1, cells=1)
    half, others = one.halved(1)
    assert half.conditions == []
    half, others = screen(conditions=1)[0].halved(1)
    assert set(controls(half, others, None, 1)) == {"oracle", "control_mean", "sign_flipped"}
    assert mean.shape == (40,)


@pytest.mark.parametrize("family", PERTURBATIONS)
def test_every_metric_prefers_the_truth_to_every_control_where_effects_are_strong(family: str) -> None:
    one, mean = screen()
    half, others = one.halved(0)
    values = {
        name: {
            row.metric: row.value
            for row in FAMILIES[family].rows(half.with_predictions(made))
            if row.level == "overall"
        }
        for name, made in controls(half, others, mean, 0).items()
    }
    for name in values["oracle"]:
        if (metric := METRICS[name]).best is not None and not name.startswith("published_spearman"):
            losses = {control: metric.loss(found[name]) for control, found in values.items()}
            assert min(losses, key=losses.__getitem__) == "oracle", name


def test_the_mean_wins_where_conditions_do_the_same() -> None:
    """Nothing but a shared effect, and few noisy cells: the mean of many is nearer to the truth than others are."""
    rng = np.random.default_rng(0)
    shared = 5 + rng.normal(0, 1, 40)
    made = [Condition(f"p{i}", rng.normal(shared, 2, (6, 40)), shared[None], NONE) for i in range(4)]
    one = Compared(np.arange(40).astype(object), rng.normal(5, 2, (400, 40)), made)
    half, others = one.halved(0)
    rows = []
    for name, predicted in controls(half, others, shared, 0).items():
        for row in perturbation.rows(half.with_predictions(predicted)):
            rows.append(table_row("control", name, row.metric, row.value, row.level))
    for row in perturbation.rows(half):
        rows.append(table_row("method", "m", row.metric, row.value, row.level))
    table = pd.DataFrame([row for row in rows if row.pop("level") == "overall"])
    found = audited(table, pd.DataFrame({"status": [], "dataset": [], "evaluation": [], "regime": []}))
    verdict = found.set_index("metric").loc["pearson_delta"]
    assert (verdict["verdict"], verdict["because"]) == (NOT_EVIDENCE, "mean effect")
    assert verdict["reason"].startswith("perturbed mean 0.")
    assert found["methods_best"].notna().any()


def table_row(kind: str, name: str, metric: str, value: float, level: str = "overall") -> dict[str, Any]:
    place = {
        "dataset": "d",
        "evaluation": "e",
        "regime": "conditions",
        "split": "s",
        "seed": 1,
        "shares_of": "training",
    }
    about = {"kind": kind, "name": name, "family": "perturbation", "metric": metric, "variant": "-", "rule": "-"}
    return {**place, **about, "value": value, "level": level}


HIGH = Metric(name="h", label="h", meaning="", low=-1, high=1, best=1, family="perturbation")


@pytest.mark.parametrize(
    ("control", "rule"),
    [
        ("control_mean", "no effect"),
        ("perturbed_mean", "mean effect"),
        ("shuffled_conditions", "wrong condition"),
        ("sign_flipped", "wrong direction"),
    ],
)
def test_a_metric_that_a_control_wins_is_not_evidence(control: str, rule: str) -> None:
    values = {"oracle": 0.9, **dict.fromkeys(BLIND, 0.1)}
    found = judge(HIGH, values, [0.5])
    assert (found.verdict, found.reason) == (INFORMATIVE, "")
    found = judge(HIGH, values | {control: 0.5}, [0.5])
    assert (found.verdict, found.rule) == (NOT_EVIDENCE, rule)
    # where no method tells conditions apart, it says something of the methods, unless it beats the truth as well
    assert judge(HIGH, values | {control: 0.5}, [0.5], informed=False).verdict == INFORMATIVE
    assert judge(HIGH, values | {control: 0.9}, [0.5], informed=False).rule == rule


def test_controls_of_one_kind_are_not_missed_by_metrics_of_another() -> None:
    labelled = Metric(name="l", label="l", meaning="", low=0, high=1, best=1, family="flat")
    found = judge(labelled, {"oracle": 1.0, "majority": 0.2}, [0.8])
    assert "no effect" not in found.reason
    assert judge(HIGH, {"majority": 1.0}, [0.5]).verdict == UNTESTED
    assert {name for name, control in CONTROLS.items() if control.families} == set(BLIND)


def test_methods_are_informed_where_one_tells_conditions_apart() -> None:
    def verdict(best: float) -> Any:
        rows = [table_row("control", name, "discrimination", 0.5) for name in BLIND]
        rows += [table_row("control", name, "pearson_delta", 0.6) for name in BLIND]
        rows += [table_row("control", "oracle", metric, 0.9) for metric in ("discrimination", "pearson_delta")]
        rows += [table_row("method", "m", "discrimination", best), table_row("method", "m", "pearson_delta", 0.6)]
        table = pd.DataFrame(rows).drop(columns="level")
        found = audited(table, pd.DataFrame({"status": [], "dataset": [], "evaluation": [], "regime": []}))
        return found.set_index("metric").loc["pearson_delta"]

    assert verdict(0.7)["because"] == "no effect"
    assert verdict(0.5)["verdict"] == INFORMATIVE
    assert verdict(0.5)["reason"] == "no method does better than chance here"


def test_the_mean_of_the_perturbed_is_that_of_the_training_conditions(tmp_path: Path) -> None:
    conditions = np.array(["none", "a", "a", "b", "c", "unknown"], dtype=object)
    values = np.log1p(np.array([[9, 1], [8, 2], [6, 4], [5, 5], [1, 9], [9, 1]]) * 1000).astype(np.float32)
    ids = [f"c{i}" for i in range(6)]
    cells = ad.AnnData(values, obs=pd.DataFrame(index=ids), var=pd.DataFrame(index=["x", "y"]))
    cells.uns["annobench"] = {"matrix": "log1p_cp10k", "control": "none"}
    cells.write_h5ad(tmp_path / "cells.h5ad")
    role = np.array(["train", "train", "train", "train", "test", "unused"], dtype=object)
    write_columns(tmp_path / "obs.parquet", {"cell_id": ids, "condition": conditions})
    write_columns(tmp_path / "roles.parquet", {"cell_id": ids, "role": role})
    training = TrainingCells(tmp_path / "cells.h5ad", tmp_path / "obs.parquet", tmp_path / "roles.parquet")
    found = perturbed_profile(training, np.array(["y", "x"], dtype=object))
    expected = np.mean([values[1:3].mean(axis=0), values[3]], axis=0)[::-1]
    assert found == pytest.approx(expected)  # of the two conditions, not of the three cells
    write_columns(tmp_path / "roles.parquet", {"cell_id": ids, "role": np.full(6, "test", dtype=object)})
    assert perturbed_profile(training, np.array(["x"], dtype=object)) is None


def test_nothing_is_recorded_where_no_method_predicts_expression(tmp_path: Path) -> None:
    tables = Tables()
    training = TrainingCells(tmp_path / "a", tmp_path / "b", tmp_path / "c")
    record_perturbations(Recorder(tables, "s", 1, "training"), {}, training, 1)
    assert not tables.rows["metrics"]
