"""What is promised: tables of predictions are scored like methods, and nothing but ids and labels is read for them."""

import json
import os

import h5py
import pandas as pd
import pytest

from annobench.core.files import sha256_of
from repo import Repo

pytestmark = pytest.mark.xdist_group("imported")
METHODS = ["imported_logistic_regression", "imported_nearest_centroid"]
RUN = "results/fits/pbmc68k/zero_shot/{}/seed1/run.json"


def predicted(repo: Repo, method: str) -> pd.DataFrame:
    """Predictions of all cells, each by a model that had not seen it."""
    fits = sorted((repo.folder / "results/fits/pbmc68k").glob(f"kfold_*/{method}/seed1/predictions.parquet"))
    return pd.concat([pd.read_parquet(file) for file in fits])


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory) -> Repo:
    """A clone in which the study `imported` has been run, on tables that real fits have written."""
    repo = Repo(tmp_path_factory.mktemp("imported"))
    methods = [method.removeprefix("imported_") for method in METHODS]
    kfold = {"dataset": "pbmc68k", "regime": "kfold", "folds": 2}
    repo.study("made", methods=methods, controls=[], evaluations=[kfold])
    folds = [f"results/fits/pbmc68k/kfold_folds2_{i}" for i in (1, 2)]
    repo.snakemake(*(f"{fold}/{method}/seed1/run.json" for fold in folds for method in methods), study="made")
    folder = repo.folder / "results" / "imported"
    folder.mkdir()
    predicted(repo, "logistic_regression").to_csv(folder / "logistic_regression.csv", index=False)
    table = predicted(repo, "nearest_centroid").set_index("cell_id")[["label_1"]].iloc[5:]
    table = table.rename(index={table.index[0]: "of-nobody"})
    table.to_csv(folder / "nearest_centroid.tsv", sep="\t", index_label=False)
    repo.run("imported")
    return repo


def record(repo: Repo, method: str) -> dict[str, object]:
    found: dict[str, object] = json.loads((repo.folder / RUN.format(method)).read_text())
    return found


def test_tables_are_ranked_tested_and_audited(imported: Repo) -> None:
    ranking = {row["method"]: row for row in imported.table("ranking", "imported")}
    assert {ranking[method]["rank"] for method in METHODS} == {"1", "2"}
    for row in (ranking[method] for method in METHODS):
        assert float(row["low"]) < float(row["score"]) < float(row["high"])
        assert row["verdict"] == "informative"
    truth = pd.read_parquet(imported.folder / "results/data/pbmc68k/obs.parquet").set_index("cell_id")["label_id"]
    found = predicted(imported, "logistic_regression").set_index("cell_id")["label_1"]
    scores = pd.DataFrame(imported.table("scores", "imported"))
    own = scores[(scores["method"] == METHODS[0]) & (scores["metric"] == "accuracy") & (scores["level"] == "overall")]
    assert float(own["value"].iloc[0]) == pytest.approx((found == truth.loc[found.index]).mean())
    pairs = {frozenset((row["method_a"], row["method_b"])) for row in imported.table("tests", "imported")}
    assert frozenset(METHODS) in pairs
    assert imported.table("failed", "imported") == []
    assert {row["metric"] for row in imported.table("audit", "imported")} >= {"macro_f1", "accuracy"}
    page = (imported.folder / "results/report/imported/index.html").read_text()
    assert "Logistic regression, imported" in page


def test_the_record_counts_what_did_not_match(imported: Repo) -> None:
    notes = record(imported, "imported_nearest_centroid")["notes"]
    path = imported.folder / "results/imported/nearest_centroid.tsv"
    assert isinstance(notes, dict)
    assert notes["sha256"] == {"results/imported/nearest_centroid.tsv": sha256_of(path)}
    assert (notes["cells_joined"], notes["cells_missing"], notes["cells_surplus"]) == (694, 6, 1)
    assert notes["surplus"] == ["of-nobody"]
    assert len(notes["missing"]) == 6
    log = imported.folder / "results/logs/fit_method/pbmc68k/zero_shot/imported_nearest_centroid/seed1.log"
    assert "cells_missing: 6" in log.read_text()


def test_a_changed_table_refits_its_method_only_and_a_missing_one_is_skipped(imported: Repo) -> None:
    assert imported.jobs("imported") == {}
    path = imported.folder / "results/imported/nearest_centroid.tsv"
    text = path.read_text()
    path.write_text(text.replace("of-nobody", "of-somebody"))
    assert imported.jobs("imported")["fit_method"] == 1
    path.unlink()
    run = imported.folder / RUN.format("imported_nearest_centroid")
    refused = imported.snakemake(RUN.format("imported_nearest_centroid"), study="imported", ok=False)
    assert "nearest_centroid.tsv' is not there any more, but results were made of it: " in refused
    assert run.is_file()
    run.unlink()
    imported.snakemake(RUN.format("imported_nearest_centroid"), study="imported")
    skipped = record(imported, "imported_nearest_centroid")
    assert skipped["status"] == "skipped"
    assert "there is no file 'results/imported/nearest_centroid.tsv'" in str(skipped["reason"])
    path.write_text(text)


def test_no_matrix_is_read(imported: Repo) -> None:
    """The fits succeed again where there is no matrix any more."""
    cells = imported.folder / "results/data/pbmc68k/cells.h5ad"
    kept, times = cells.read_bytes(), cells.stat()
    with h5py.File(cells, "r+") as file:
        del file["X"]
    os.utime(cells, ns=(times.st_atime_ns, times.st_mtime_ns))
    seal = imported.folder / "results/.seals/data/pbmc68k/cells.h5ad"
    seal.unlink()
    runs = [RUN.format(method) for method in METHODS]
    for run in runs:
        (imported.folder / run).unlink()
    try:
        imported.snakemake(*runs, study="imported")
        assert [record(imported, method)["status"] for method in METHODS] == ["ok", "ok"]
    finally:
        cells.write_bytes(kept)
        os.utime(cells, ns=(times.st_atime_ns, times.st_mtime_ns))
