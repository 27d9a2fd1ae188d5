"""What is promised: a metric is called evidence only where nothing that knows nothing, or less, can win it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from annobench.config.controls import CONTROLS as WORDS
from annobench.config.results import Fit, Results
from annobench.config.split import ColumnSettings
from annobench.core.parquet import read_columns, write_columns
from annobench.fit import predictions_file
from annobench.fit.decisions import sample, write_decisions
from annobench.fit.embedding import Embedding, write_embedding
from annobench.fit.predictions import Predictions
from annobench.ontology import Ontology
from annobench.score.audit.controls import (
    CONTROLS,
    NO_INFORMATION,
    Basis,
    Control,
    made,
    made_for,
    merged_labels,
    noise_rules,
    tissue_rules,
)
from annobench.score.audit.evaluate import audit_evaluation
from annobench.score.audit.tables import TABLES
from annobench.score.audit.tissue import train_on
from annobench.score.audit.verdict import COST, DESCRIPTIVE, INFORMATIVE, NOT_EVIDENCE, UNTESTED, judge
from annobench.score.metric import INFINITE, Metric
from annobench.score.registry import METRICS
from annobench.score.scored import Scored
from annobench.score.spec import AuditedSplit, AuditSpec, RollupRule
from annobench.tables.audit import audited
from annobench.tables.markers import degs, markers_of
from annobench.tables.shared.verdicts import Verdicts
from annobench.tables.spatial import spatial as spatial_table
from helpers import cells, rows_of_family, run_record, scored, toy_ontology, values
from study_files import Context, study

ABOUT = {"name": "m", "label": "m", "meaning": "s"}
HIGH = Metric(**ABOUT, family="flat", low=0, high=1, best=1)
LOW = Metric(**ABOUT, family="markers", low=0, high=INFINITE, best=0)
OPEN = Metric(**ABOUT, family="markers", low=-20, high=INFINITE, best=INFINITE)
GOOD = {"oracle": 1.0, "majority": 0.4, "shuffled": 0.3, "merged": 0.8, "marker_argmax": 0.6, "unrelated_tissue": 0.1}


# metrics that are built to be good or bad, on labellings made for it


def labellings() -> tuple[dict[str, np.ndarray], list[np.ndarray], np.ndarray]:
    """Controls, methods (80 %, 70 %, 60 % right), and one marker value of each type for every cell."""
    rng = np.random.default_rng(0)
    truth = np.repeat(["a1", "a2", "b", "c"], [90, 60, 100, 50]).astype(object)
    types = sorted(set(truth))
    marker = rng.normal(size=(300, 4)) + 1.2 * (truth[:, None] == np.array(types)[None, :])
    methods = []
    for share in (0.8, 0.7, 0.6):
        wrong = rng.random(300) > share
        methods.append(np.where(wrong, rng.permutation(truth), truth))
    controls = {
        "oracle": truth,
        "majority": np.full(300, "b", dtype=object),
        "random_stratified": rng.permutation(truth),
        "shuffled": rng.permutation(truth),
        "merged": merged_labels(truth, {"a1": "a", "a2": "a"}),
        "marker_argmax": np.array(types, dtype=object)[marker.argmax(axis=1)],
        "unrelated_tissue": np.where(rng.random(300) < 0.5, "x", "b").astype(object),
    }
    return controls, methods, marker


def accuracy(labels: np.ndarray, truth: np.ndarray, marker: np.ndarray) -> float:
    return float((labels == truth).mean())


def share_called(labels: np.ndarray, truth: np.ndarray, marker: np.ndarray) -> float:
    """Share of cells that are called anything."""
    return float((labels != "unknown").mean())


def marker_score(labels: np.ndarray, truth: np.ndarray, marker: np.ndarray) -> float:
    """Mean marker value of the type that a cell is called."""
    place = {"a1": [0], "a2": [1], "b": [2], "c": [3], "a": [0, 1], "x": [0, 1, 2, 3]}
    return float(np.mean([marker[i, place[label]].mean() for i, label in enumerate(labels)]))


def few_classes(labels: np.ndarray, truth: np.ndarray, marker: np.ndarray) -> float:
    """1 over the number of classes in use, for labellings that use more than the majority does."""
    used = len(set(labels))
    return 1 / used if used > 2 else 0.0


CASES: list[tuple[Callable[..., float], Metric, str, str, tuple[str, ...]]] = [
    (accuracy, HIGH, INFORMATIVE, "", ()),
    (share_called, HIGH, NOT_EVIDENCE, "no information", ()),
    (marker_score, OPEN, NOT_EVIDENCE, "circular", ()),
    # controls that know nothing draw from all classes and so tie; without them the merging shows
    (few_classes, HIGH, NOT_EVIDENCE, "no information", ()),
    (few_classes, HIGH, NOT_EVIDENCE, "merging", ("random_stratified", "shuffled")),
]


@pytest.mark.parametrize(("metric", "described", "verdict", "rule", "without"), CASES)
def test_metrics_that_are_built_to_be_good_or_bad(
    metric: Callable[..., float], described: Metric, verdict: str, rule: str, without: tuple[str, ...]
) -> None:
    controls, methods, marker = labellings()
    truth = controls["oracle"]
    of_controls = {name: metric(labels, truth, marker) for name, labels in controls.items() if name not in without}
    found = judge(described, of_controls, [metric(labels, truth, marker) for labels in methods])
    assert (found.verdict, found.rule) == (verdict, rule), (found, of_controls)


def test_a_share_of_confident_cells_that_another_tissue_passes() -> None:
    """Nine of ten cells above the cut for methods, all of them for a model of another tissue."""
    found = judge(METRICS["unknown_rate"], {"unrelated_tissue": 0.0, "noise": 0.9}, [0.1, 0.05, 0.2])
    assert (found.verdict, found.rule) == (NOT_EVIDENCE, "unrelated tissue")
    assert found.reason == "unrelated tissue 0, the best method 0.05"
    assert (
        judge(METRICS["unknown_rate"], {"unrelated_tissue": 0.8, "noise": 0.9}, [0.1, 0.05, 0.2]).verdict == INFORMATIVE
    )


# the rules


def test_the_reason_names_the_control_and_the_numbers() -> None:
    found = judge(HIGH, GOOD | {"majority": 0.95}, [0.7, 0.9])
    assert found.reason == "majority 0.95, the best method 0.9"
    found = judge(LOW, {"oracle": 1.227, "marker_argmax": 0.94}, [1.5])
    assert (found.rule, found.reason) == ("circular", "marker argmax 0.94, the truth 1.23")
    found = judge(OPEN, {"oracle": 2.285, "merged": 2.601}, [2.0])
    assert (found.rule, found.reason) == ("merging", "merged 2.6, the truth 2.29")


def test_the_order_of_the_rules() -> None:
    bad = {"oracle": 0.5, "majority": 0.9, "merged": 0.9, "marker_argmax": 0.9, "unrelated_tissue": 0.9}
    for control, rule in (
        ("majority", "no information"),
        ("merged", "merging"),
        ("marker_argmax", "circular"),
        ("unrelated_tissue", "unrelated tissue"),
    ):
        assert judge(HIGH, bad, [0.6]).rule == rule
        bad[control] = 0.1
    assert judge(HIGH, bad, [0.6]).verdict == INFORMATIVE
    assert judge(HIGH, {"oracle": 0.9}, [0.6]).verdict == UNTESTED  # the truth alone bounds nothing


@pytest.mark.parametrize("control", NO_INFORMATION)
def test_a_tie_with_a_control_that_knows_nothing_is_lost(control: str) -> None:
    assert judge(HIGH, {"oracle": 1.0, control: 0.9}, [0.9, 0.5]).rule == "no information"
    assert judge(HIGH, {"oracle": 1.0, control: 0.9 - 1e-6}, [0.9, 0.5]).verdict == INFORMATIVE
    assert judge(HIGH, {"oracle": 0.9, control: 0.9}, [0.95]).rule == "no information"  # a tie with the truth


@pytest.mark.parametrize("control", ["merged", "marker_argmax"])
def test_a_tie_with_the_truth_is_no_preference(control: str) -> None:
    assert judge(HIGH, {"oracle": 0.9, control: 0.9}, [0.5]).verdict == INFORMATIVE
    assert judge(HIGH, {"oracle": 0.9, control: 0.9 + 1e-12}, [0.5]).verdict == INFORMATIVE
    assert judge(HIGH, {"oracle": 0.9, control: 0.901}, [0.5]).verdict == NOT_EVIDENCE


def test_another_tissue_is_compared_with_the_best_method_and_with_the_truth() -> None:
    controls = {"oracle": 1.0, "unrelated_tissue": 0.5}
    assert judge(HIGH, controls, [0.4, 0.6, 0.3]).verdict == INFORMATIVE  # a poor method changes no verdict
    assert judge(HIGH, controls, [0.4, 0.5]).rule == "unrelated tissue"
    assert judge(HIGH, controls, [0.4, 0.5], informed=False).verdict == INFORMATIVE
    assert judge(HIGH, {"oracle": 0.5, "unrelated_tissue": 0.5}, [0.9]).rule == "unrelated tissue"


def test_an_informative_metric_says_what_was_not_tested() -> None:
    assert judge(HIGH, GOOD, [0.9]).reason == ""
    without = {name: value for name, value in GOOD.items() if name != "merged"}
    assert judge(HIGH, without, [0.9]).reason == "not tested: merging"


def test_smaller_is_better_where_the_best_is_nothing_and_larger_where_it_is_infinite() -> None:
    assert judge(LOW, {"oracle": 0.5, "shuffled": 2.0}, [0.8]).verdict == INFORMATIVE
    assert judge(LOW, {"oracle": 0.5, "shuffled": 0.7}, [0.8]).rule == "no information"
    assert judge(OPEN, {"oracle": 3.0, "shuffled": -1.0}, [2.0]).verdict == INFORMATIVE
    assert judge(OPEN, {"oracle": 3.0, "shuffled": 2.5}, [2.0]).rule == "no information"


def test_a_share_of_unknown_cells_whose_rule_accepts_foreign_cells() -> None:
    rate, controls = METRICS["unknown_rate"], {"noise": 0.5, "unrelated_tissue": 0.9}
    found = judge(rate, controls, [0.1], {"noise": 0.49, "shuffled": 0.5})
    assert (found.verdict, found.rule, found.reason) == (NOT_EVIDENCE, "unrelated cells", "50% of shuffled accepted")
    assert judge(rate, controls, [0.1], {"noise": 0.49, "unrelated_tissue": float("nan")}).verdict == INFORMATIVE
    assert judge(rate, {}, [0.1], {"noise": 0.49}).verdict == UNTESTED


def test_what_the_median_method_accepts_decides_for_its_own_rule_and_cut() -> None:
    rows = [
        ("method", m, "unknown_rate", v, r, 0.1) for m in "abc" for v in ("published", "fair") for r in ("raw", "z")
    ]
    rows += [("control", "noise", "unknown_rate", v, r, 0.9) for v in ("published", "fair") for r in ("raw", "z")]
    rows += [("method", m, "accepted_noise", "published", "z", x) for m, x in zip("abc", (0.0, 0.6, 0.9), strict=True)]
    rows += [
        ("method", m, "accepted_noise", "published", "raw", x) for m, x in zip("abc", (0.0, 0.4, 0.9), strict=True)
    ]
    rows += [("control", "noise", "accepted_noise", "fair", "z", 0.95)]  # of a control: says nothing of methods
    columns = ["kind", "name", "metric", "variant", "rule", "value"]
    fixed = {
        "family": "confidence",
        "split": "s",
        "seed": 1,
        "shares_of": "training",
        "dataset": "d",
        "evaluation": "e",
        "regime": "pair",
    }
    table = audited(pd.DataFrame(rows, columns=columns).assign(**fixed), NOTHING)
    rates = table[table["metric"] == "unknown_rate"].set_index(["variant", "rule"])
    assert rates["because"].to_dict() == {
        ("published", "z"): "unrelated cells",
        ("published", "raw"): "",
        ("fair", "z"): "",
        ("fair", "raw"): "",
    }
    assert rates.loc[("published", "z"), "reason"] == "60% of noise accepted"


def test_costs_descriptions_and_what_nothing_was_compared_with() -> None:
    assert judge(METRICS["fit_seconds"], GOOD, [1.0]).verdict == COST
    assert judge(METRICS["completed"], {}, []).verdict == COST
    assert judge(METRICS["bin_accuracy"], GOOD, [1.0]).verdict == DESCRIPTIVE
    assert judge(HIGH, {}, [0.5]).verdict == UNTESTED
    assert judge(HIGH, {}, []).verdict == UNTESTED
    assert judge(HIGH, {"majority": 0.5}, []).verdict == UNTESTED
    assert judge(HIGH, {"majority": 0.5}, [0.6]).verdict == INFORMATIVE


def test_values_that_are_no_numbers_decide_nothing() -> None:
    nan = float("nan")
    assert judge(HIGH, GOOD | {"majority": nan}, [0.7, nan]).verdict == INFORMATIVE
    assert judge(HIGH, dict.fromkeys(CONTROLS, nan), [0.7]).verdict == UNTESTED
    assert judge(HIGH, {"oracle": 1.0, "majority": 0.5}, [nan]).verdict == INFORMATIVE
    assert judge(HIGH, {"oracle": nan, "merged": 2.0}, [0.7]).verdict == INFORMATIVE


# controls


@pytest.fixture
def basis() -> Basis:
    truth = ["A1"] * 60 + ["A2"] * 30 + ["B"] * 10
    return Basis(
        scored(truth, truth, training=["A1", "A2", "B"]), {"A1": 0.5, "A2": 0.25, "B": 0.25}, fine_classes=3, seed=3
    )


def test_controls_that_know_nothing(basis: Basis) -> None:
    from annobench.score.metrics import flat

    found = {name: scored for name, scored in made(basis).items() if name in NO_INFORMATION}
    assert tuple(found) == NO_INFORMATION
    assert set(found["majority"].labels[:, 0]) == {"A1"}
    assert found["majority"].confidence.tolist() == [0.5] * 100
    assert sorted(found["shuffled"].labels[:, 0]) == sorted(basis.scored.truth)
    for name, one in found.items():
        assert one.probabilities.matrix().sum(axis=1) == pytest.approx(np.ones(100)), name
        assert values(rows_of_family(flat, one))["mcc", "-", "all"] == pytest.approx(0, abs=0.25), name
    many = Basis(scored(["A1", "B"] * 5000, ["A1", "B"] * 5000), {"A1": 0.7, "B": 0.3}, 2, 1)
    many = made(many)
    assert (many["random_stratified"].labels[:, 0] == "A1").mean() == pytest.approx(0.7, abs=0.02)
    assert set(many["random_stratified"].confidence) == {0.7, 0.3}


def test_controls_are_the_same_for_the_same_seed(basis: Basis) -> None:
    again = made(Basis(basis.scored, basis.shares, 3, 3))
    other = made(Basis(basis.scored, basis.shares, 3, 4))
    for name, one in made(basis).items():
        assert (again[name].labels == one.labels).all()
        if name in NO_INFORMATION:
            assert name == "majority" or (other[name].labels != one.labels).any()


def test_noise_accepts_noise_and_tells_nothing_apart(basis: Basis) -> None:
    truth = ["A1"] * 600
    many = Basis(scored(truth, truth, training=["A1"]), basis.shares, 3, 3)
    rules = {one.rule: one for one in noise_rules(many, made(many)["noise"])}
    assert set(rules) == {"raw", "softmax", "zscore", "calibrated"}
    for rule, one in rules.items():
        found = one.values(10)
        assert found["unknown_rate", "fair"] == pytest.approx(0.05, abs=0.05), rule
        assert found["accepted_unrelated_tissue", "fair"] == pytest.approx(0.95, abs=0.05), rule
        assert found["unrelated_tissue_auroc", "-"] == pytest.approx(0.5, abs=0.08), rule
    assert rules["zscore"].values(10)["unknown_rate", "published"] > 0.75  # three classes: the ceiling is 0.804


def test_a_model_of_another_tissue(ontology: Ontology, tmp_path: Path) -> None:
    query = cells(ontology, cells=60, seed=1, genes=80)
    other = cells(ontology, types=["CL:0000066", "CL:0000057", "CL:0000540"], cells=200, seed=4, genes=80)
    other[:, ::-1].copy().write_h5ad(tmp_path / "o.h5ad")
    model = train_on(tmp_path / "o.h5ad", query, 1)
    assert model is not None
    assert model.classes == ["CL:0000057", "CL:0000066", "CL:0000540"]
    assert model.decisions.shape == (60, 3)
    assert model.validation.shape == (40, 3)
    assert model.right.mean() > 0.9  # it knows its own tissue
    found = {one.rule: one for one in tissue_rules(model, scored(["A"] * 60, ["B"] * 60))}
    assert set(found) == {"raw", "softmax", "zscore", "calibrated"}
    query.var["feature_id"] = [f"ENSG8{i:010d}" for i in range(80)]
    assert train_on(tmp_path / "o.h5ad", query, 1) is None  # no shared genes


def test_two_classes_have_two_decision_values(ontology: Ontology, tmp_path: Path) -> None:
    cells(ontology, types=["CL:0000066", "CL:0000057"], cells=80, seed=4).write_h5ad(tmp_path / "o.h5ad")
    model = train_on(tmp_path / "o.h5ad", cells(ontology, cells=20), 1)
    assert model is not None
    assert model.decisions[:, 0] == pytest.approx(-model.decisions[:, 1])
    cells(ontology, types=["CL:0000066"], cells=80, seed=4).write_h5ad(tmp_path / "o.h5ad")
    assert train_on(tmp_path / "o.h5ad", cells(ontology, cells=20), 1) is None


# an evaluation, end to end


@pytest.fixture
def evaluation(ontology: Ontology, tmp_path: Path) -> Callable[..., dict[str, pd.DataFrame]]:
    """Audit two made-up methods on simulated cells; returns the tables."""

    def audited(
        labelled: bool = True, markers: bool = True, trains: bool = True, **changes: Any
    ) -> dict[str, pd.DataFrame]:
        data = cells(ontology, cells=300, genes=80, seed=1)
        data.obsm["spatial"] = np.arange(600.0).reshape(300, 2)
        truth = data.obs["label_id"].astype(str).to_numpy().astype(object)
        role = np.array(["train", "test", "test", "val"] * 75 if trains else ["test"] * 300, dtype=object)
        types = sorted(set(truth))
        table = tmp_path / "markers.tsv"
        rows = []
        for i, label in enumerate(types):  # eight genes that are highest in each type
            inside = truth == label
            higher = np.asarray(data.X[inside].mean(axis=0) - data.X[~inside].mean(axis=0)).ravel()
            rows += [f"{label}\t{data.var['feature_name'].iloc[g]}\tx" for g in np.argsort(-higher)[:8]]
            assert i < 5
        table.write_text("label_id\tgene\tcomment\n" + "\n".join(rows) + "\n")
        seen = truth if labelled else np.full(300, "unknown", dtype=object)
        data.obs["label_id"] = seen
        data.write_h5ad(tmp_path / "cells.h5ad")
        cells(ontology, types=["CL:0000066", "CL:0000057"], cells=120, genes=80, seed=9).write_h5ad(tmp_path / "f.h5ad")
        ids = np.array(data.obs_names, dtype=object)
        obs = {"cell_id": ids, "label_id": seen, "study": data.obs["study"], "donor": data.obs["donor"]}
        obs |= {"place": np.array([str(i % 7) for i in range(300)], dtype=object)}
        write_columns(tmp_path / "obs.parquet", obs)
        results = Results(tmp_path / "results")
        for path, columns in (
            (results.roles("d", "s", 1), {"cell_id": ids, "role": role}),
            (results.train("d", "s", 1), {"cell_id": ids[role == "train"], "label_id": truth[role == "train"]}),
        ):
            Path(path).parent.mkdir(parents=True)
            write_columns(path, columns)
        for name, share in METHODS.items():
            _fit(Path(results.fit(Fit("d", "s", name, 1))), ids, truth, role, types, share)
        failed = Path(results.fit(Fit("d", "s", "failed", 1)))
        failed.mkdir(parents=True)
        run_record(failed / "run.json", status="failed", outputs=())
        spec = {
            "dataset": "d",
            "splits": (AuditedSplit(split="s", fitted="s", seeds=(1, 2), methods=(*METHODS, "failed", "missing")),),
            "bins": 10,
            "unrelated": str(tmp_path / "f.h5ad"),
            "markers": str(table) if markers else None,
        }
        folder = tmp_path / "audit" / "d" / "e"
        folder.mkdir(parents=True)
        outputs = {name: folder / f"{name}.parquet" for name in TABLES}
        dataset = {"cells": tmp_path / "cells.h5ad", "obs": tmp_path / "obs.parquet"}
        audit_evaluation(AuditSpec(**spec | changes), dataset, results, ontology, outputs)
        place = {"dataset": "d", "evaluation": "e", "regime": "holdout"}
        return {name: pd.DataFrame(read_columns(path)).assign(**place) for name, path in outputs.items()}

    return audited


METHODS = {"good": 0.9, "fair": 0.6}
NOTHING = pd.DataFrame(columns=["dataset", "evaluation", "regime", "method", "status"])  # took nothing


def _fit(folder: Path, ids: Any, truth: Any, role: Any, types: list[str], share: float) -> Path:
    """A fit whose answers are right for a share of the cells, with decision values."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(int(share * 10))
    at = np.array([types.index(label) for label in truth])
    at = np.where(rng.random(len(at)) < share, at, rng.integers(0, len(types), len(at)))
    decisions = rng.normal(size=(len(at), len(types)))
    decisions[np.arange(len(at)), at] += 4

    def part(which: Any, values: Any) -> Predictions:
        exponents = np.exp(values)
        shares = exponents / exponents.sum(axis=1, keepdims=True)
        return Predictions.from_probabilities(which, shares, types, 5, values)

    test = part(ids[role == "test"], decisions[role == "test"])
    noise = part([f"noise:{i}" for i in range(30)], rng.normal(size=(30, len(types))))
    predictions_file.write(folder / "predictions.parquet", test)
    predictions_file.write_probabilities(folder / "probabilities.npz", test)
    parts = {"test": test, "validation": part(ids[role == "val"], decisions[role == "val"]), "noise": noise}
    write_decisions(folder / "decisions.npz", parts | {"unrelated_tissue": noise})
    tested = ids[role == "test"]
    write_embedding(folder / "embedding.npz", {"test": tested}, [Embedding(tested, decisions[role == "test"])])
    run_record(
        folder / "run.json",
        outputs=("predictions", "probabilities", "decisions", "embedding"),
        confidence_is_probability=True,
        genes={"train": 80, "test": 80},
    )
    return folder


def test_an_evaluation_end_to_end(evaluation: Callable[..., dict[str, pd.DataFrame]], ontology: Ontology) -> None:
    found = evaluation()
    metrics = found["metrics"]
    assert set(metrics.loc[metrics["kind"] == "control", "name"]) == set(made_for("flat"))
    assert set(metrics.loc[metrics["kind"] == "method", "name"]) == set(METHODS)
    assert not metrics.duplicated(["name", "family", "metric", "variant", "rule"]).any()
    assert metrics["value"].notna().all()

    def value(name: str, metric: str, variant: str = "-", rule: str = "-") -> float:
        row = metrics.query("name == @name and metric == @metric and variant == @variant and rule == @rule")
        assert len(row) == 1, (name, metric, variant, rule)
        return float(row["value"].iloc[0])

    assert set(metrics["shares_of"]) == {"training"}
    assert value("oracle", "accuracy") == 1
    assert value("oracle", "macro_f1", "truth") == 1
    assert value("good", "accuracy") > value("fair", "accuracy") > 0.5
    assert value("merged", "accuracy") < 1
    assert value("marker_argmax", "accuracy") > 0.5
    assert value("good", "unknown_rate", "fair", "zscore") == pytest.approx(0.05, abs=0.06)
    assert value("good", "gene_overlap", "published") == 1
    for reading in ("published", "fair"):
        assert value("oracle", "marker_log2fc", reading) > value("shuffled", "marker_log2fc", reading)

    table = audited(metrics, NOTHING)
    assert not table["reason"].str.contains("tested labels").any()
    verdicts = table.set_index(["metric", "variant", "rule"])
    assert verdicts.loc[("accuracy", "-", "-"), "verdict"] == INFORMATIVE
    assert verdicts.loc[("macro_f1", "truth", "-"), "verdict"] == INFORMATIVE
    assert verdicts.loc[("gene_overlap", "published", "-"), ["verdict", "because"]].tolist() == [
        NOT_EVIDENCE,
        "no information",
    ]
    assert verdicts.loc[("unknown_rate", "fair", "calibrated"), "verdict"] in (INFORMATIVE, NOT_EVIDENCE)
    row = verdicts.loc[("accuracy", "-", "-")]
    assert row["n_methods"] == 2
    assert row["methods_best"] == pytest.approx(value("good", "accuracy"))
    assert row["oracle"] == 1
    assert not {"failed"} & set(metrics["name"])

    spatial = found["spatial"]
    assert set(spatial["name"]) == set(METHODS)
    assert len(spatial) == 2 * 150
    assert ((spatial["y"] - spatial["x"]) == 1).all()
    assert set(found["types"]["reading"]) == {"published", "fair"}
    context = Context(study())
    context.ontology, context.audits = ontology, found
    assert spatial_table(context)["true"].iloc[0] == ontology.label(spatial["true"].iloc[0])
    assert set(degs(context)["name"]) == {"oracle", *METHODS}
    shown = markers_of(metrics, found["types"], table, 0.95)
    named = shown.set_index(["name", "metric", "reading"])
    assert (named["low"].dropna() <= named["value"][named["low"].notna()] + 1e-9).all()
    assert named.loc[("good", "gene_overlap", "published"), "verdict"] == NOT_EVIDENCE
    assert named.loc[("oracle", "marker_cv", "fair"), "n_types"] >= 2


def test_an_audit_of_many_cells_looks_at_those_with_decision_values(
    evaluation: Callable[..., dict[str, pd.DataFrame]], monkeypatch: pytest.MonkeyPatch
) -> None:
    for place in ("annobench.fit.decisions.SAMPLE", "annobench.score.audit.evaluate.SAMPLE"):
        monkeypatch.setattr(place, 60)
    spatial = evaluation()["spatial"]
    assert len(spatial) == 2 * 60
    test = [i for i in range(300) if i % 4 in (1, 2)]
    assert set(spatial["x"] / 2) == {test[i] for i in sample(150, 1)}
    assert spatial["confidence"].notna().all()


def test_an_evaluation_without_labels_has_markers_but_no_truth(
    evaluation: Callable[..., dict[str, pd.DataFrame]],
) -> None:
    metrics = evaluation(labelled=False)["metrics"]
    assert set(metrics["family"]) == {"markers"}
    assert {"good", "fair"} <= set(metrics["name"])
    assert "oracle" not in set(metrics["name"])


def test_an_evaluation_without_markers_and_without_another_tissue(
    evaluation: Callable[..., dict[str, pd.DataFrame]],
) -> None:
    found = evaluation(markers=False, unrelated=None)
    metrics = found["metrics"]
    assert set(metrics.loc[metrics["family"] == "markers", "metric"]) == {"gene_overlap", "panel_use"}
    assert not {"unrelated_tissue", "marker_argmax"} & set(metrics["name"])
    assert found["types"].empty
    table = audited(metrics, NOTHING)
    assert set(markers_of(metrics, found["types"], table, 0.95)["metric"]) == {"gene_overlap", "panel_use"}


def test_embeddings_meet_their_controls(evaluation: Callable[..., dict[str, pd.DataFrame]]) -> None:
    families = ("silhouette", "integration", "probes")
    metrics = evaluation(families=families, columns=ColumnSettings(batch="study"), markers=False)["metrics"]
    of_embeddings = {"oracle", "shuffled", "noise", "batch_alone", "depth_alone"}
    assert set(metrics["family"]) == set(families)
    found = metrics.pivot_table(index="metric", columns="name", values="value")
    assert set(found.columns) == of_embeddings | set(METHODS)
    assert (found.loc["silhouette_label", ["shuffled", "noise", "batch_alone"]] < 0.52).all()
    assert found.loc["silhouette_label", "oracle"] > 0.9
    assert found.loc["probe_f1", "good"] > 0.8
    assert found.loc["probe_f1", "noise"] < 0.5
    assert found.loc["ilisi", "batch_alone"] < found.loc["ilisi", "noise"]

    verdicts = audited(metrics, NOTHING).set_index(["metric", "variant"])
    assert verdicts.loc[("silhouette_label", "-"), ["verdict", "reason"]].tolist() == [INFORMATIVE, ""]
    assert verdicts.loc[("probe_f1", "cells"), "verdict"] == INFORMATIVE
    # noise mixes batches better than any embedding that knows cells
    assert verdicts.loc[("ilisi", "-"), ["verdict", "because"]].tolist() == [NOT_EVIDENCE, "no information"]


def test_the_truth_of_an_order_is_the_order(evaluation: Callable[..., dict[str, pd.DataFrame]]) -> None:
    found = evaluation(families=("ordering",), columns=ColumnSettings(order="place"), markers=False)["metrics"]
    values = found[found["metric"] == "sequential_alignment"].set_index("name")["value"]
    assert values["oracle"] > 0.9
    assert values[["shuffled", "noise"]].max() < 0.3
    verdicts = audited(found, NOTHING).set_index("metric")
    assert verdicts.loc["sequential_alignment", "oracle"] == values["oracle"]


def test_families_of_embeddings_that_are_not_asked_for_are_not_audited(
    evaluation: Callable[..., dict[str, pd.DataFrame]],
) -> None:
    assert "silhouette" not in set(evaluation(markers=False)["metrics"]["family"])


def test_where_nothing_trains_the_controls_follow_the_tested_labels(
    evaluation: Callable[..., dict[str, pd.DataFrame]], tmp_path: Path
) -> None:
    metrics = evaluation(trains=False)["metrics"]
    assert set(metrics["shares_of"]) == {"tested"}
    assert set(metrics.loc[metrics["kind"] == "control", "name"]) == set(made_for("flat"))
    truth = read_columns(tmp_path / "obs.parquet")["label_id"]
    shares = np.array([(truth == label).mean() for label in sorted(set(truth))])
    value = metrics[(metrics["metric"] == "accuracy") & (metrics["variant"] == "-")].set_index("name")["value"]
    assert value["majority"] == pytest.approx(shares.max())
    assert value["random_stratified"] == pytest.approx((shares**2).sum(), abs=0.08)
    unseen = metrics[metrics["metric"] == "unseen_share"].set_index("name")["value"]
    assert (unseen.loc[list(METHODS)] == 0).all()  # every tested class counts as known
    macro = metrics[(metrics["metric"] == "macro_f1") & (metrics["name"] == "good")].set_index("variant")["value"]
    assert macro["shared"] == macro["truth"]
    rules = metrics[(metrics["rule"] != "-") & (metrics["name"] == "good")]
    assert "calibrated" not in set(rules["rule"])  # there are no validation cells
    assert "zscore" in set(rules["rule"])
    verdicts = audited(metrics, NOTHING).set_index(["metric", "variant", "rule"])
    assert verdicts.loc[("accuracy", "-", "-"), "reason"].endswith("controls follow the shares of the tested labels")


def test_an_evaluation_rolled_up_compares_coarse_labels(
    evaluation: Callable[..., dict[str, pd.DataFrame]],
) -> None:
    rollup = {"targets": {"CL:0000542": ["CL:0000542"], "CL:0000766": ["CL:0000766"]}, "others": "unknown"}
    metrics = evaluation(rollup=RollupRule.from_params(rollup))["metrics"]
    one = metrics[(metrics["metric"] == "accuracy") & (metrics["variant"] == "-")].set_index("name")["value"]
    assert one["oracle"] == 1
    assert one["unrelated_tissue"] == 0  # its types belong to neither
    assert one["good"] > 0.9


# verdicts to look up


def audit_table(rows: list[tuple[str, str, str, str, str, str]]) -> Verdicts:
    table = pd.DataFrame(rows, columns=["dataset", "evaluation", "metric", "variant", "rule", "verdict"])
    return Verdicts(table)


def test_the_worst_verdict_speaks_for_a_metric_and_for_the_study() -> None:
    found = audit_table(
        [
            ("d", "e", "macro_f1", "truth", "-", INFORMATIVE),
            ("d", "e", "macro_f1", "either", "-", NOT_EVIDENCE),
            ("d", "e", "macro_f1", "shared", "-", INFORMATIVE),
            ("d", "f", "macro_f1", "truth", "-", INFORMATIVE),
            ("d", "e", "accuracy", "-", "-", INFORMATIVE),
            ("d", "e", "ece", "-", "zscore", NOT_EVIDENCE),
        ]
    )
    assert found.of("d", "e", "macro_f1") == NOT_EVIDENCE
    assert found.of("d", "f", "macro_f1") == INFORMATIVE
    assert found.of("all", "all", "macro_f1") == NOT_EVIDENCE
    assert found.of("all", "all", "accuracy") == INFORMATIVE
    assert found.of("d", "e", "ece") == ""  # a verdict on a rule is none on the metric of the method's own confidence
    assert found.of("d", "other", "accuracy") == found.of("all", "all", "nothing") == ""
    table = pd.DataFrame({"dataset": ["d", "all"], "evaluation": ["f", "all"], "metric": ["accuracy", "macro_f1"]})
    assert found.added_to(table)["verdict"].tolist() == ["", NOT_EVIDENCE]
    assert found.added_to(table, "macro_f1")["verdict"].tolist() == [INFORMATIVE, NOT_EVIDENCE]


def test_a_score_gets_the_verdict_on_its_own_label_set_and_rule() -> None:
    found = audit_table(
        [
            ("d", "e", "macro_f1", "truth", "-", INFORMATIVE),
            ("d", "e", "macro_f1", "either", "-", NOT_EVIDENCE),
            ("d", "e", "unknown_rate", "published", "zscore", NOT_EVIDENCE),
        ]
    )

    def of(metric: str, label_set: str, level: str = "overall", group: str = "all") -> str:
        row = pd.Series({"metric": metric, "label_set": label_set, "level": level, "group": group})
        return found.of_score("d", "e", row)

    assert of("macro_f1", "truth") == INFORMATIVE
    assert of("macro_f1", "either") == NOT_EVIDENCE
    assert of("unknown_rate", "published", "rule", "zscore") == NOT_EVIDENCE
    assert of("unknown_rate", "published", "rule", "raw") == ""
    assert of("fit_seconds", "-", "fit") == COST


def test_costs_stand_in_the_audit_without_controls() -> None:
    metrics = pd.DataFrame(
        [("s", 1, "training", kind, name, "flat", "accuracy", "-", "-", v, "d", "e", "holdout") for kind, name, v in (
            ("control", "oracle", 1.0), ("control", "majority", 0.4), ("method", "good", 0.8), ("method", "good", 0.9),
        )],
        columns=[*TABLES["metrics"], "dataset", "evaluation", "regime"],
    )  # fmt: skip
    resources = pd.DataFrame(
        {"dataset": "d", "evaluation": "e", "regime": "holdout", "status": ["ok", "ok", "failed"],
         "method": ["good", "slow", "good"], "fit_seconds": [1.0, 3.0, 99.0]}
    )  # fmt: skip
    found = audited(metrics, resources).set_index("metric")
    assert found.loc["accuracy", ["oracle", "majority", "methods_best"]].tolist() == pytest.approx([1, 0.4, 0.85])
    assert found.loc["fit_seconds", "verdict"] == COST
    assert found.loc["fit_seconds", ["methods_best", "methods_median"]].tolist() == [1, 2]
    assert audited(pd.DataFrame(), resources).empty


def test_every_control_has_words_and_a_rule() -> None:
    assert set(CONTROLS) == set(WORDS)
    streams = [control.stream for control in CONTROLS.values()]
    assert len(set(streams)) == len(streams)
    assert {name for name, control in CONTROLS.items() if control.rule is None} == {"oracle"}


def test_a_control_is_one_entry_here_and_its_words(monkeypatch: pytest.MonkeyPatch, basis: Basis) -> None:
    """A labelling that calls every cell by the rarest training class."""

    def rarest(basis: Basis) -> Scored:
        return basis.certain(np.full(basis.scored.n, basis.classes[basis.class_shares.argmin()], dtype=object))

    monkeypatch.setitem(CONTROLS, "rarest", Control(99, "no information", blind=True, make=rarest))
    assert set(made(basis)["rarest"].labels[:, 0]) == {"A2"}
    found = judge(HIGH, {"oracle": 1.0, "rarest": 0.9}, [0.8])
    assert (found.rule, found.reason) == ("no information", "rarest 0.9, the best method 0.8")


def test_controls_are_scored_as_methods_are() -> None:
    one = Basis(scored(["A1", "B"], ["A1", "B"], toy_ontology(), training=["A1"]), {"A1": 1.0}, 1, 0).certain(
        np.array(["A1", "unknown"], dtype=object)
    )
    assert isinstance(one, Scored)
    assert one.correct.tolist() == [True, False]
    assert one.probabilities.matrix().tolist() == [[1.0], [0.0]]
