"""What is promised: the smoke study runs end to end offline, files keep their contracts, a second run does nothing."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from jsonschema import Draft202012Validator

from annobench.config.schema import schema_folder
from annobench.config.tables import table_facts, tables
from annobench.core.files import sha256_of
from annobench.score.registry import METRICS
from annobench.tables.shared.columns import matches
from repo import Repo

pytestmark = pytest.mark.xdist_group("smoke")
NUMBER, SHARE = {"type": ["number", "null"]}, {"type": "number", "minimum": 0, "maximum": 1}
PREDICTION = Draft202012Validator(
    {
        "required": ["cell_id", "label_1", "confidence"],
        "properties": {
            **{"cell_id": {"type": "string"}, "confidence": NUMBER},
            **{"leaf": {"type": "string"}, "confidence_leaf": SHARE},
            **{"top_down": {"type": "string"}, "confidence_top_down": SHARE},
        },
        "patternProperties": {"^label_[1-9][0-9]?$": {"type": "string"}, "^score_[1-9][0-9]?$": NUMBER},
        "additionalProperties": False,
    }
)
EXPECTED = json.loads((Path(__file__).parent / "expected.json").read_text())


@pytest.fixture(scope="module")
def smoke(tmp_path_factory: pytest.TempPathFactory) -> tuple[Repo, str]:
    """A clone in which the smoke study has been run, and what that printed."""
    repo = Repo(tmp_path_factory.mktemp("smoke"))
    return repo, repo.run("smoke")


def results(smoke: tuple[Repo, str]) -> Path:
    return smoke[0].folder / "results"


def table(smoke: tuple[Repo, str], name: str) -> pd.DataFrame:
    return pd.read_csv(results(smoke) / "tables" / "smoke" / f"{name}.csv")


def schema(name: str) -> Draft202012Validator:
    return Draft202012Validator(yaml.safe_load((schema_folder() / f"{name}.schema.yaml").read_text()))


def test_the_end_of_a_run_says_what_came_out(smoke: tuple[Repo, str]) -> None:
    printed = smoke[1]
    assert ": unseen study: macro F1" in printed
    assert "Mean of all evaluations" in printed
    assert "Failed, skipped or missing fits: none" in printed
    assert "Report: results/report/smoke/index.html" in printed
    assert re.search(r"\d+ of \d+ jobs, 100%", printed)  # progress on the way


def test_expected_values(smoke: tuple[Repo, str]) -> None:
    ranking = table(smoke, "ranking").set_index(["regime", "method"])
    for regime, methods in EXPECTED["macro_f1"].items():
        for method, (low, high) in methods.items():
            assert low <= ranking.loc[(regime, method), "score"] <= high, (regime, method)


def test_every_run_record_and_prediction_keeps_its_schema(smoke: tuple[Repo, str]) -> None:
    runs = sorted((results(smoke) / "fits").rglob("run.json"))
    assert len(runs) == 31
    cards = {}
    for file in runs:
        record = json.loads(file.read_text())
        schema("run").validate(record)
        assert record["status"] == "ok"
        card = cards.setdefault(
            record["dataset"], json.loads((results(smoke) / "data" / record["dataset"] / "card.json").read_text())
        )
        assert (
            record["data_sha256"]
            == card["sha256"]
            == sha256_of(results(smoke) / "data" / record["dataset"] / "cells.h5ad")
        )
    predicted = pd.read_parquet(runs[0].parent / "predictions.parquet")
    for row in predicted.head(5).to_dict("records"):
        PREDICTION.validate({k: None if isinstance(v, float) and np.isnan(v) else v for k, v in row.items()})


def test_every_fit_predicts_exactly_its_test_cells(smoke: tuple[Repo, str]) -> None:
    for file in (results(smoke) / "fits").rglob("predictions.parquet"):
        dataset, split, _, seed = file.relative_to(results(smoke) / "fits").parts[:4]
        roles = pd.read_parquet(results(smoke) / "splits" / dataset / split / f"{seed}.parquet")
        assert list(pd.read_parquet(file)["cell_id"]) == list(roles.loc[roles["role"] == "test", "cell_id"])


def test_the_controls_bound_every_metric(smoke: tuple[Repo, str]) -> None:
    scores = table(smoke, "scores")
    overall = scores[scores["level"] == "overall"]
    for row in overall[overall["method"] == "oracle"].itertuples():
        best = METRICS[row.metric].best
        if best is not None:
            assert row.value == pytest.approx(best, abs=1e-3), row
    majority = overall[(overall["method"] == "majority") & (overall["metric"] == "balanced_accuracy")]
    classes = table(smoke, "splits").set_index(["split", "seed"])["classes_test"]
    for row in majority.itertuples():
        assert row.value == pytest.approx(1 / classes[row.split, row.seed])


def test_all_tables_are_there_and_name_their_columns(smoke: tuple[Repo, str]) -> None:
    for name in tables():
        assert matches(list(table(smoke, name).columns), list(table_facts(name).columns)), name
    scores = table(smoke, "scores")
    assert list(scores.columns) == [
        *(
            "dataset",
            "split",
            "method",
            "seed",
            "status",
            "family",
            "metric",
            "label_set",
            "level",
            "group",
            "value",
            "n",
            "verdict",
        )
    ]
    assert set(scores["metric"]) <= set(METRICS)
    tests = table(smoke, "tests")
    assert (tests["p_holm"] >= tests["p_value"]).all()
    assert tests["family"].str.contains("pairs of methods on macro_f1").all()
    assert len(table(smoke, "failed")) == 0


def test_unknown_labels_are_counted_and_left_out(smoke: tuple[Repo, str]) -> None:
    splits = table(smoke, "splits")
    assert splits["unknown"].sum() > 0
    scores = table(smoke, "scores")
    counted = scores[(scores["metric"] == "unknown_truth") & (scores["method"] == "oracle")]
    assert (
        counted["value"].sum()
        == splits.loc[
            splits.set_index(["split", "seed"]).index.isin(counted.set_index(["split", "seed"]).index), "unknown"
        ].sum()
    )


def test_figures_are_drawn_as_vector_and_pixels(smoke: tuple[Repo, str]) -> None:
    folder = results(smoke) / "figures" / "smoke"
    names = {file.stem for file in folder.iterdir()}
    assert names == {
        *("ranking", "low_label", "cross_study", "pareto", "confusion", "calibration", "class_tree", "effects"),
        *(
            "audit",
            "confidence",
            "risk_coverage",
            "confusion_depths",
            "error_tree",
        ),  # simulated genes mark no type: no figure of markers
    }
    for name in names:
        assert (folder / f"{name}.pdf").read_bytes()[:5] == b"%PDF-"
        assert (folder / f"{name}.png").stat().st_size > 10_000


def test_the_report_is_self_contained(smoke: tuple[Repo, str]) -> None:
    page = (results(smoke) / "report" / "smoke" / "index.html").read_text()
    assert not re.findall(r"<(?:script|link|img|iframe)[^>]+(?:src|href)=[\"']?(?:https?:)?//", page)
    figures = list((results(smoke) / "figures" / "smoke").glob("*.png"))
    assert page.count('<img src="data:image/png;base64,') == len(figures) == 13
    for name in ("ranking", "tests", "classes", "resources", "splits", "data", "methods", "metrics"):
        assert f'id="table-{name}"' in page
    assert "fits finished, none failed" in page


def test_the_provenance_names_everything(smoke: tuple[Repo, str]) -> None:
    found = json.loads((results(smoke) / "provenance" / "smoke.json").read_text())
    assert found["settings"]["study"] == "smoke"
    assert found["packages"]["snakemake"]
    assert found["machine"]["cores"]
    assert set(found["data"]) == {"simulated_small", "simulated_unrelated"}
    assert found["methods"]["linear_hce"]["parameters"]["loss"] == "hce"


def test_every_job_has_a_log_and_a_measurement(smoke: tuple[Repo, str]) -> None:
    for rule in (
        "fetch_dataset",
        "prepare_dataset",
        "split_dataset",
        "balance_train",
        "fit_method",
        "score_fit",
        "aggregate_scores",
    ):
        logs = list((results(smoke) / "logs" / rule).rglob("*.log"))
        assert len(logs) == len(list((results(smoke) / "benchmarks" / rule).rglob("*.tsv"))) > 0, rule


def test_the_second_run_has_nothing_to_do(smoke: tuple[Repo, str]) -> None:
    assert "nothing to be done" in smoke[0].run("smoke")


def test_snakemakes_own_report_has_captions_and_categories(smoke: tuple[Repo, str]) -> None:
    repo = smoke[0]
    repo.snakemake("--report", "report.zip", study="smoke")
    shutil.unpack_archive(repo.folder / "report.zip", repo.folder / "unpacked")
    page = "".join(file.read_text(errors="ignore") for file in (repo.folder / "unpacked").rglob("*.html"))
    script = "".join(file.read_text(errors="ignore") for file in (repo.folder / "unpacked").rglob("*.js"))
    assert "Score of every method in every evaluation" in page + script
    assert "Methods in order, for every evaluation" in page + script


def test_plan_and_data_are_targets(smoke: tuple[Repo, str]) -> None:
    printed = smoke[0].snakemake("plan", study="smoke")
    assert "Left to do: 0 fits" in printed
    assert re.search(r"nearest_centroid +4 +0", printed)
    assert "Nothing to be done" in smoke[0].snakemake("data", study="smoke")


def test_a_run_needs_no_network(example: Path, done: Repo) -> None:
    """The study that other tests begin with was run without one."""
    if (example.parent / "how").read_text() != "offline":
        pytest.skip("this machine does not let a test have a network namespace of its own")
    assert done.table("failed") == []
    assert {row["method"] for row in done.table("ranking") if row["rank"]} >= {
        "nearest_centroid",
        "logistic_regression",
    }
