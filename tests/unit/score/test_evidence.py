"""What is promised: a family of metrics runs where the evidence that it names is there, and nowhere else."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from annobench.config.split import ColumnSettings
from annobench.core.errors import DataError
from annobench.core.parquet import read_columns, write_columns
from annobench.fit import predictions_file
from annobench.fit.decisions import write_decisions
from annobench.fit.embedding import Embedding, write_embedding
from annobench.fit.predictions import Predictions
from annobench.fit.run_record import RunRecord
from annobench.ontology import UNKNOWN
from annobench.score import registry
from annobench.score.evidence import Evidence, FitEvidence
from annobench.score.metric import Family, Metric, Row
from annobench.score.registry import FAMILIES, METRICS, rows_of, runnable
from annobench.score.score_fit import FitTables, score_fit
from annobench.score.spec import ScoreSpec, ViewSpec
from annobench.score.truths import read_truths
from helpers import run_record, scored, toy_ontology

LABELS = ["A", "A1", "B"]
N = 40
ALWAYS = {"resources", "status"}
EMBEDDED = {"geometry", "clustering", "silhouette", "integration", "probes"}
LABELLED = {"flat", "per_class", "topk", "hierarchical", "ontology_aware", "unseen_types", "calibration"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A dataset of 40 cells, of which every second is tested and the first is of unknown type; and a fit of it."""
    rng = np.random.default_rng(0)
    ids = np.array([f"c{i}" for i in range(N)], dtype=object)
    truth = rng.choice(LABELS, N).astype(object)
    truth[0] = UNKNOWN
    obs = {"cell_id": ids, "label_id": truth, "study": np.full(N, "s", dtype=object)}
    obs |= {"donor": np.array([f"d{i % 5}" for i in range(N)], dtype=object)}
    obs |= {"plate": np.array([f"p{i % 4 // 2}" for i in range(N)], dtype=object)}
    role = np.array(["test", "train"] * (N // 2), dtype=object)
    write_columns(tmp_path / "obs.parquet", obs)
    write_columns(tmp_path / "roles.parquet", {"cell_id": ids, "role": role})
    write_columns(tmp_path / "train.parquet", {"cell_id": ids[1::2], "label_id": truth[1::2]})
    shares = rng.dirichlet(np.ones(3), N // 2)
    test = Predictions.from_probabilities(ids[::2], shares, LABELS, 3, np.log(shares))
    predictions_file.write(tmp_path / "predictions.parquet", test)
    predictions_file.write_probabilities(tmp_path / "probabilities.npz", test)
    write_decisions(tmp_path / "decisions.npz", {"test": test})
    values = np.column_stack([np.arange(N), np.arange(N) % 2]).astype(float)
    cells = {"train": ids[1::2], "test": ids[::2]}
    parts = [Embedding(ids[1::2], values[1::2]), Embedding(ids[::2], values[::2])]
    write_embedding(tmp_path / "embedding.npz", cells, parts)
    return tmp_path


def evidence(folder: Path, *outputs: str, status: str = "ok", **more: Any) -> FitEvidence:
    run_record(folder / "run.json", status=status, outputs=outputs)
    ontology = toy_ontology()
    truths = read_truths(folder / "obs.parquet", folder / "roles.parquet", folder / "train.parquet", ontology)
    run = RunRecord.read(folder / "run.json")
    return FitEvidence(
        folder, run, truths, ontology, **{"bins": 10, "min_units": 4, "obs": folder / "obs.parquet"} | more
    )


def names(found: Evidence, **more: Any) -> set[str]:
    return {family.name for family in runnable(found, **more)}


def test_families_run_where_their_needs_are_met(folder: Path) -> None:
    everything = ("predictions", "probabilities", "decisions", "embedding")
    assert names(evidence(folder, *everything)) == ALWAYS | LABELLED | {"confidence", "cuts"}
    assert names(evidence(folder, *everything, decoding="leaf")) == ALWAYS | LABELLED  # rules are of the own labels
    # families of embeddings take time: they run where nothing else is to be scored, or where they are named
    assert names(evidence(folder, "embedding")) == ALWAYS | EMBEDDED
    assert names(evidence(folder, *everything), allowed=["flat", "probes"]) == ALWAYS | {"flat", "probes"}
    assert names(evidence(folder, status="failed")) == ALWAYS
    assert names(Evidence(scored(["A"], ["A"]))) == LABELLED
    for family in FAMILIES.values():
        assert family.needs


def test_an_evaluation_may_choose_families(folder: Path) -> None:
    found = evidence(folder, "predictions")
    assert names(found, allowed=["flat"]) == ALWAYS | {"flat"}
    assert {row.family for row in rows_of(found, ["flat"])} == {"flat", "status"}  # the record has no resources


def test_what_is_not_there_is_named(folder: Path) -> None:
    with pytest.raises(ValueError, match="'embedding' is not there, only labels, predictions; name it in `needs`"):
        _ = Evidence(scored(["A"], ["A"])).embedding
    with pytest.raises(ValueError, match="evidence 'order' is not there"):
        evidence(folder, "predictions").column("order")


def test_an_embedding_is_that_of_the_tested_cells_with_a_label(folder: Path) -> None:
    found = evidence(folder, "embedding")
    assert found.embedding[:, 0].tolist() == list(range(2, N, 2))
    assert found.embedding.dtype == np.float32
    assert (found.tested, found.unknown) == (N // 2, 1)
    assert "predictions" not in found.has
    few = np.array(["c2"], dtype=object)
    write_embedding(folder / "embedding.npz", {"test": few}, [Embedding(few, np.ones((1, 2)))])
    with pytest.raises(DataError, match="18 test cells are not embedded; fit again"):
        _ = evidence(folder, "embedding").embedding


def test_columns_of_the_evaluation_are_evidence_where_obs_has_them(folder: Path) -> None:
    assert not {"batch", "order", "organism"} & evidence(folder, "embedding").has
    found = evidence(folder, "embedding", columns=ColumnSettings(batch="plate"))
    assert "batch" in found.has
    assert found.column("batch").to_text().tolist() == [f"p{i % 4 // 2}" for i in range(2, N, 2)]


def closeness(found: Evidence) -> Iterator[Row]:
    """Mean distance of neighbours in the embedding, and how many batches there are."""
    steps = np.linalg.norm(np.diff(found.embedding, axis=0), axis=1)
    yield Row("closeness", "step", "-", "overall", "all", float(steps.mean()), len(steps))
    yield Row("closeness", "batches", "-", "overall", "all", len(found.column("batch").counts()), len(steps))


def test_a_family_of_embeddings_is_a_file_and_scores_fits_without_predictions(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    about = {"low": 0, "high": float("inf"), "best": None}
    metrics = tuple(Metric(name=name, label=name, meaning=name, **about) for name in ("step", "batches"))
    mine = Family("closeness", metrics, needs=("labels", "embedding", "batch"), compute=closeness)
    monkeypatch.setitem(FAMILIES, "closeness", mine)
    predictions_file.write_empty(folder / "predictions.parquet")
    run_record(folder / "run.json", outputs=("embedding",), fit_seconds=2.0)
    view = ViewSpec(split="s", methods={"m": "argmax"}, columns=ColumnSettings(batch="plate"))
    outputs = {name: folder / f"{name}.out" for name in ("scores", "confusion", "groups", "sums", "confidence")}
    tables = FitTables(obs=folder / "obs.parquet", train=folder / "train.parquet", roles=[folder / "roles.parquet"])
    score_fit(ScoreSpec(dataset="d", seed=1, views=(view,)), folder, tables, toy_ontology(), outputs)
    found = pd.DataFrame(read_columns(outputs["scores"])).set_index("metric")["value"]
    assert found[["step", "batches", "completed", "fit_seconds", "unknown_truth"]].tolist() == [2.0, 2, 1, 2.0, 1]
    assert not {"accuracy", "brier"} & set(found.index)
    for name in ("confusion", "groups", "confidence"):
        assert len(read_columns(outputs[name])["split"]) == 0
    assert set(read_columns(outputs["sums"])["metric"]) == {"silhouette_label"}


def test_families_are_the_files_of_the_folder() -> None:
    folder = Path(registry.__file__).parent / "metrics"
    assert set(FAMILIES) == {path.stem for path in folder.glob("*.py")} - {"__init__"}
    for name, family in FAMILIES.items():
        assert family.name == name
        assert {metric.family for metric in family.metrics} == {name}
    assert len(METRICS) == sum(len(family.metrics) for family in FAMILIES.values())
