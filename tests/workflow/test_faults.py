"""What is promised: whatever breaks, the rest goes on, the message helps, and the next run finishes the work."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import psutil
import pytest
import yaml

from helpers import annobench, source_h5ad
from repo import Repo, add_broken, environment

VOLATILE = {"resources"}  # the family whose values are times and memory


@pytest.fixture
def repo(done: Repo) -> Repo:
    """A clone of one's own in which the tiny study has been run: only what a test adds or breaks is to be done."""
    return done


def scores(repo: Repo) -> list[tuple[str, ...]]:
    return [tuple(row.values()) for row in repo.table("scores") if row["family"] not in VOLATILE]


def test_failing_methods_are_rows_and_the_study_is_complete(repo: Repo) -> None:
    broken = ["raises", "killed", "hog", "forever", "nan", "unknown_label", "too_few", "skips"]
    add_broken(repo, *broken)
    repo.study("tiny", methods=["nearest_centroid", *broken])
    printed = repo.run()
    failed = {row["method"]: row for row in repo.table("failed")}
    assert {name: row["status"] for name, row in failed.items()} == {
        "raises": "failed",
        "killed": "killed",
        "hog": "killed",
        "forever": "timeout",
        "nan": "failed",
        "unknown_label": "failed",
        "too_few": "failed",
        "skips": "skipped",
    }
    assert "1 x raises: failed: ValueError: a bad day" in printed
    log = "log: results/logs/fit_method/simulated_small/holdout/raises/seed1.log"
    (line,) = [line for line in printed.splitlines() if "simulated_small holdout raises seed 1: failed: Value" in line]
    assert line.startswith("  fit_method: ")
    assert line.endswith(log)
    assert Path(repo.folder / failed["raises"]["traceback"]).read_text().startswith("Traceback")
    ranked = {row["method"] for row in repo.table("ranking") if row["rank"]}
    assert ranked == {"nearest_centroid"}
    page = (repo.folder / "results" / "report" / "tiny" / "index.html").read_text()
    assert "a bad day" in page
    assert "nothing to be done" in repo.run()  # a recorded failure is a result


@pytest.mark.slow
def test_retry_runs_failed_fits_again_and_nothing_else(repo: Repo) -> None:
    add_broken(repo, "forever")
    repo.study("tiny", methods=["nearest_centroid", "forever"])
    assert "To run them again: make retry STUDY=tiny" in repo.run()
    repo.edit("config/methods/forever.yaml", "minutes: 0.05", "minutes: 0.1")
    assert "fit_method" not in repo.jobs()  # a limit refits nothing by itself
    done = annobench(repo.folder, "retry", "--study", "tiny", timeout=300)
    assert done.returncode == 0, done.stderr
    assert "limit of 0.1 minutes" in repo.table("failed")[0]["reason"]
    made = [path.stat().st_mtime for path in (repo.folder / "results/fits").rglob("run.json")]
    assert max(made) - sorted(made)[-2] > 3  # only one is new


def test_damaged_cells_are_no_failure_of_a_method(repo: Repo) -> None:
    cells = repo.folder / "results" / "data" / "simulated_small" / "cells.h5ad"
    (repo.folder / "results" / ".seals" / "data" / "simulated_small" / "cells.h5ad").unlink()  # as of an older version
    whole, before = cells.read_bytes(), repo.table("ranking")
    cells.write_bytes(whole[: len(whole) // 2])
    printed = repo.run("tiny", "--forcerun", "fit_method", ok=False)
    assert "the inputs of a fit cannot be read" in printed
    assert "macro F1, interval" not in printed  # not the tables of the run before
    assert repo.table("ranking") == before
    cells.unlink()
    repo.run()
    assert repo.table("failed") == []
    assert "nothing to be done" in repo.run()


def test_a_fit_that_is_gone_is_done_again(repo: Repo) -> None:
    (repo.folder / "results/fits/simulated_small/holdout/majority/seed1/run.json").unlink()
    repo.run()
    assert "nothing to be done" in repo.run("tiny")


def test_the_data_alone_and_then_a_partial_study_without_any_finished_fit(tmp_path: Path) -> None:
    fresh = Repo(tmp_path)
    fresh.run("tiny", "data")  # targets may stand among the arguments of make
    assert (fresh.folder / "results/data/simulated_small/cells.h5ad").is_file()
    assert not (fresh.folder / "results/fits").exists()
    printed = fresh.run("tiny", "--config", "partial=true")
    assert "Failed, skipped or missing fits: 3" in printed
    assert fresh.table("ranking") == []
    page = (fresh.folder / "results/report/tiny/index.html").read_text()
    assert "0 of 3 fits finished" in page
    assert (fresh.folder / "results/figures/tiny/confusion.png").stat().st_size > 1000


def test_a_method_that_fails_on_some_fits_has_no_rank(repo: Repo) -> None:
    add_broken(repo, "raises")
    repo.edit(
        "scripts/annobench/methods/raises.py",
        'raise ValueError("a bad day\\nsecond line")',
        "self.maybe(train, context)",
    )
    code = """
    def maybe(self, train, context):
        if context.seed == 2:
            raise ValueError("a bad day")
        super().fit(train, context)
"""
    file = repo.folder / "scripts/annobench/methods/raises.py"
    file.write_text(file.read_text() + code)
    repo.study("tiny", methods=["nearest_centroid", "raises"], seeds=[1, 2])
    repo.run()
    row = next(row for row in repo.table("ranking") if row["method"] == "raises")
    assert (row["rank"], row["n_fits"], row["n_planned"]) == ("", "1", "2")
    assert row["score"]


@pytest.mark.slow
def test_on_failure_raise_stops_and_names_the_log(repo: Repo) -> None:
    add_broken(repo, "raises")
    repo.study("tiny", methods=["nearest_centroid", "raises"], on_failure="raise")
    printed = repo.run(ok=False)
    assert "ValueError: a bad day (on_failure is raise)" in printed
    assert "FAILED: fit simulated_small holdout raises seed 1  (log: results/logs/fit_method/" in printed
    assert "make partial" in printed
    repo.study("tiny", methods=["nearest_centroid", "raises"], on_failure="record")
    assert repo.jobs()["fit_method"] == 1  # what had succeeded stays
    repo.run()


def test_the_profile_for_continuous_integration_raises(repo: Repo) -> None:
    add_broken(repo, "raises")
    repo.study("tiny", methods=["raises"])
    done = annobench(repo.folder, "run", "--study", "tiny", "--profile", "ci", timeout=300)
    assert done.returncode != 0
    assert "ValueError: a bad day (on_failure is raise)" in done.stdout + done.stderr


@pytest.mark.slow
def test_jobs_that_a_cluster_killed_are_missing_in_a_partial_table_and_done_by_the_next_run(repo: Repo) -> None:
    repo.study("tiny", seeds=[1, 2])
    repo.run()
    whole = scores(repo)
    place = "simulated_small/holdout/logistic_regression/seed2"
    # what a killed job leaves: no outputs (Snakemake removes them), and an attempt without an end
    shutil.rmtree(repo.folder / "results" / "fits" / place)
    (repo.folder / "results" / "scores" / f"{place}.parquet").unlink()
    attempt = repo.folder / "results" / "logs" / "fit_method" / f"{place}.attempt.json"
    record = json.loads(attempt.read_text()) | {"ended": None, "host": "node7", "cluster_job": "123"}
    attempt.write_text(json.dumps(record))
    printed = repo.run("tiny", "--config", "partial=true")
    missing = repo.table("failed")
    assert [(row["method"], row["seed"], row["status"]) for row in missing] == [("logistic_regression", "2", "missing")]
    assert missing[0]["reason"].startswith("was begun on node7, cluster job 123 at ")
    assert "1 x logistic_regression: missing: was begun on node7" in printed
    assert not [row for row in repo.table("ranking") if row["method"] == "logistic_regression" and row["rank"]]
    page = (repo.folder / "results" / "report" / "tiny" / "index.html").read_text()
    assert "Built from a partial study" in page
    jobs = repo.jobs()
    assert jobs["fit_method"] == jobs["score_fit"] == 1
    repo.run()
    assert scores(repo) == whole
    assert repo.table("failed") == []


@pytest.mark.slow
def test_kill_nine_in_the_middle_and_again_gives_the_same_scores(tmp_path: Path) -> None:
    repo = Repo(tmp_path / "killed")
    study = {"seeds": [1, 2, 3], "methods": ["nearest_centroid", "logistic_regression", "linear_ce"]}
    repo.study("tiny", **study)
    process = subprocess.Popen(
        [sys.executable, "-m", "annobench", "run", "--study", "tiny"],
        cwd=repo.folder,
        env=environment() | {"PYTHONPATH": str(repo.folder / "scripts")},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    fits = repo.folder / "results" / "fits"
    deadline = time.monotonic() + 120
    while len(list(fits.rglob("run.json"))) < 4 and time.monotonic() < deadline:
        time.sleep(0.05)
    everything = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
    for one in everything:
        with suppress(psutil.NoSuchProcess):  # a short job has ended since
            one.send_signal(signal.SIGKILL)
    psutil.wait_procs(everything, timeout=20)
    process.wait()
    done = len(list(fits.rglob("run.json")))
    assert 4 <= done < 12
    printed = repo.run()
    assert "A run in this folder was killed; its lock is removed" in printed
    undisturbed = Repo(tmp_path / "other")
    undisturbed.study("tiny", **study)
    undisturbed.run()
    assert scores(repo) == scores(undisturbed)
    for name in ("summary", "tests", "confusion", "classes", "splits"):
        assert repo.table(name) == undisturbed.table(name), name


@pytest.mark.slow
def test_two_runs_at_once(repo: Repo) -> None:
    go = repo.folder / "go"
    add_broken(repo, "waits", minutes=10)
    method = repo.folder / "config" / "methods" / "waits.yaml"
    method.write_text(yaml.safe_dump(yaml.safe_load(method.read_text()) | {"parameters": {"until": str(go)}}))
    repo.study("tiny", methods=["waits"])
    variables = environment() | {"PYTHONPATH": str(repo.folder / "scripts")}
    command = [sys.executable, "-m", "annobench", "run", "--study", "tiny"]
    with subprocess.Popen(
        command, cwd=repo.folder, env=variables, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as first:
        try:
            deadline = time.monotonic() + 120
            while not list(repo.folder.glob(".snakemake/locks/*")) and time.monotonic() < deadline:
                time.sleep(0.05)
            second = annobench(repo.folder, "run", "--study", "tiny")
            assert second.returncode == 2
            assert "another run is active in" in second.stderr
            direct = repo.snakemake(ok=False)  # Snakemake itself holds its own lock
            assert "locked" in direct.lower()
        finally:
            go.touch()  # the first run lasts exactly as long as the others need
        output, _ = first.communicate(timeout=300)
        assert first.returncode == 0, output
    assert repo.table("failed") == []


def test_a_wrong_configuration_is_a_message_not_a_traceback(repo: Repo) -> None:
    repo.study("tiny", sedes=[1])
    printed = repo.snakemake("-n", ok=False)
    assert "config/studies/tiny.yaml: top level: unknown key 'sedes'; did you mean 'seeds'?" in printed
    assert "Traceback" not in printed
    by_make = annobench(repo.folder, "run", "--study", "tiny")
    assert by_make.returncode == 2
    assert "unknown key 'sedes'" in by_make.stderr
    assert "there is no study 'tinny'; did you mean 'tiny'?" in annobench(repo.folder, "run", "--study", "tinny").stderr


def local_dataset(repo: Repo, name: str, path: Path) -> None:
    dataset = {
        "label": "d",
        "summary": "s",
        "citation": "c",
        "licence": "l",
        "source": {"kind": "local", "path": str(path)},
        "cells": {"label": "cell_type", "label_id": "cell_type_ontology_term_id"},
    }
    (repo.folder / "config" / "datasets" / f"{name}.yaml").write_text(yaml.safe_dump(dataset))


def test_a_broken_dataset_holds_up_only_itself(repo: Repo, tmp_path: Path) -> None:
    file = source_h5ad(tmp_path / "cut.h5ad", cell_type_ontology_term_id=["CL:0000236", "CL:0000084"] * 3)
    file.write_bytes(file.read_bytes()[:3000])
    local_dataset(repo, "cut", file)
    entries = [{"dataset": "cut", "regime": "holdout"}, {"dataset": "simulated_small", "regime": "holdout"}]
    repo.study("tiny", evaluations=entries)
    shutil.rmtree(repo.folder / "results" / "fits")
    printed = repo.run(ok=False)
    assert "prepare_dataset: cut.h5ad: is not a readable h5ad file: it is cut off: 3000 of" in printed
    assert len(list((repo.folder / "results" / "fits" / "simulated_small").rglob("run.json"))) == 3
    printed = repo.run("tiny", "--config", "partial=true")
    assert "Report: results/report/tiny/index.html" in printed
    assert {row["dataset"] for row in repo.table("failed")} == {"cut"}
    assert {row["reason"] for row in repo.table("failed")} == {"has not been run"}


def test_an_unset_variable_replaces_no_result(repo: Repo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kinds = ["CL:0000236", "CL:0000084"] * 30
    counts = np.random.default_rng(1).integers(0, 5, (60, 20))
    source_h5ad(tmp_path / "mine.h5ad", counts, cell_type_ontology_term_id=kinds)
    local_dataset(repo, "mine", Path("$MY_CELLS/mine.h5ad"))
    repo.study("tiny", methods=["nearest_centroid"], evaluations=[{"dataset": "mine", "regime": "holdout"}])
    monkeypatch.setenv("MY_CELLS", str(tmp_path))
    repo.run()
    folder = repo.folder / "results"
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}
    monkeypatch.delenv("MY_CELLS")
    done = annobench(repo.folder, "run", "--study", "tiny")
    assert done.returncode == 2
    message = "'$MY_CELLS/mine.h5ad' names the variable MY_CELLS, which is not set, but results were made of it: "
    assert message in done.stderr
    assert message in repo.snakemake("-n", ok=False)
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()} == before
    monkeypatch.setenv("MY_CELLS", str(tmp_path))
    assert "nothing to be done" in repo.run()
    (tmp_path / "mine.h5ad").rename(tmp_path / "other.h5ad")
    assert "'$MY_CELLS/mine.h5ad' is not there any more" in annobench(repo.folder, "run", "--study", "tiny").stderr


def test_one_class_only_is_a_message(repo: Repo, tmp_path: Path) -> None:
    file = source_h5ad(tmp_path / "one.h5ad", cell_type_ontology_term_id=["CL:0000236"] * 6)
    local_dataset(repo, "one", file)
    repo.study("tiny", evaluations=[{"dataset": "one", "regime": "holdout"}])
    assert "the training cells have one class only (CL:0000236); a classifier needs two" in repo.run(ok=False)


@pytest.mark.slow
def test_a_full_disk_is_a_message_and_the_next_run_finishes(repo: Repo) -> None:
    small = repo.folder / "results" / "fits"
    shutil.rmtree(small)
    small.mkdir()
    if (
        os.geteuid()
        or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", small], capture_output=True).returncode
    ):
        pytest.skip("this machine does not let a test mount a small file system")
    try:
        printed = repo.run(ok=False)
        assert "the disk is full" in printed.lower()
        assert "make room and run the same command again" in printed
    finally:
        subprocess.run(["umount", small], check=True)
    repo.run()
    assert repo.table("failed") == []


def test_a_limit_on_file_size_is_a_full_disk_too(repo: Repo) -> None:
    """Without the rights to mount: a process may not write files of more than 300 kB."""
    import resource

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

    code = (
        "import numpy as np; from pathlib import Path; from annobench.core.parquet import write_columns\n"
        "from annobench.core.errors import DataError\n"
        "try:\n    write_columns('x.parquet', {'a': np.random.default_rng(0).random(200_000)})\n"
        "except DataError as error:\n    print(error)\n"
        "print(sorted(p.name for p in Path('.').glob('*x.parquet*')))"
    )
    variables = environment() | {"PYTHONPATH": str(repo.folder / "scripts")}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=repo.folder, env=variables, preexec_fn=limit, capture_output=True, text=True
    )
    assert "x.parquet: the disk is full" in done.stdout, done.stderr
    assert done.stdout.endswith("[]\n")  # nothing half written is left


def test_a_changed_source_file_is_noticed(repo: Repo, tmp_path: Path) -> None:
    labels = ["CL:0000236", "CL:0000084"] * 20
    file = source_h5ad(tmp_path / "own.h5ad", np.arange(160).reshape(40, 4) % 7, cell_type_ontology_term_id=labels)
    local_dataset(repo, "own", file)
    repo.study("tiny", evaluations=[{"dataset": "own", "regime": "holdout"}])
    repo.run("tiny", "data")
    card = repo.folder / "results" / "data" / "own" / "card.json"
    before = json.loads(card.read_text())["sha256"]
    source_h5ad(file, np.arange(160).reshape(40, 4) % 5, cell_type_ontology_term_id=labels)
    assert repo.jobs()["fetch_dataset"] == 1
    repo.run("tiny", "data")
    assert json.loads(card.read_text())["sha256"] != before


def test_tables_survive_odd_names(repo: Repo, tmp_path: Path) -> None:
    """Cell ids with commas and quotes, labels with umlauts: read back as they are."""
    import anndata as ad

    rng = np.random.default_rng(0)
    labels = ["CL:0000236", "CL:0000084"] * 20
    file = source_h5ad(tmp_path / "odd.h5ad", rng.poisson(3, (40, 30)), cell_type_ontology_term_id=labels)
    data = ad.read_h5ad(file)
    data.obs_names = [f"cell, {i} 'ü'" for i in range(40)]
    data.obs["cell_type"] = ['B, "naïve"', "NA"] * 20
    data.write_h5ad(file)
    local_dataset(repo, "odd", file)
    repo.study(
        "tiny", evaluations=[{"dataset": "odd", "regime": "holdout"}], methods=["nearest_centroid", "awk_centroid"]
    )
    repo.run()
    assert repo.table("failed") == []
    with open(repo.folder / "results" / "tables" / "tiny" / "ranking.csv", newline="") as handle:
        assert len(list(csv.DictReader(handle))) == 6
