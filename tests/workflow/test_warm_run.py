"""What is promised: a run with warm processes gives what one without them gives, whatever happens to them."""

import csv
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress

import psutil
import pytest

from annobench.fit import predictions_file
from repo import Repo, environment

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="there are warm processes on Linux only"),
]


def forks(repo: Repo) -> list[psutil.Process]:
    """Warm processes of a run in the folder of a clone, and their jobs and fits."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if "annobench.workflow.warm_server" in process.cmdline() and process.cwd() == str(repo.folder.resolve()):
                found.append(process)
    return found


def warm_processes(repo: Repo) -> list[psutil.Process]:
    """Only those that were not forked themselves."""
    all_of_them = forks(repo)
    forked = {child.pid for process in all_of_them for child in children(process)}
    return [process for process in all_of_them if process.pid not in forked]


def children(process: psutil.Process) -> list[psutil.Process]:
    """Those of a process that may have ended meanwhile."""
    try:
        return process.children()
    except psutil.NoSuchProcess:
        return []


def nobody_is_left(repo: Repo) -> bool:
    deadline = time.monotonic() + 60
    while forks(repo):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True


def test_results_are_those_of_jobs_that_are_started_anew(done: Repo) -> None:
    fits = sorted((done.folder / "results" / "fits").rglob("predictions.parquet"))
    warm = [predictions_file.read(file) for file in fits]
    names = ("scores", "ranking", "tests", "audit", "confusion")
    before = {name: without_times(done.table(name)) for name in names}
    done.run("tiny", "--executor", "local", "--forcerun", "fit_method", "score_fit")
    for file, old in zip(fits, warm, strict=True):
        new = predictions_file.read(file)
        for name in ("cell_ids", "labels", "scores", "confidence"):
            assert getattr(new, name).tolist() == getattr(old, name).tolist()
    for name in names:
        assert without_times(done.table(name)) == before[name]


def without_times(rows: list[dict[str, str]]) -> list[dict[str, str]]:
    """Rows of a table without what is measured anew in every run."""
    timed = {"fit_seconds", "predict_seconds", "seconds", "peak_rss_mb"}
    rows = [row for row in rows if row.get("family") != "resources"]
    return [{name: value for name, value in row.items() if name not in timed} for row in rows]


def test_benchmarks_say_what_a_job_took(done: Repo) -> None:
    (file,) = (done.folder / "results" / "benchmarks" / "score_fit").rglob("logistic_regression/seed1.tsv")
    with open(file, newline="") as handle:
        (row,) = csv.DictReader(handle, delimiter="\t")
    assert 0 < float(row["s"]) < 100
    assert 0 < float(row["cpu_time"]) < 100
    assert 50 < float(row["max_rss"]) < 2000


def start(repo: Repo) -> "subprocess.Popen[bytes]":
    """Begin a run, and wait until fits go on in it."""
    command = [sys.executable, "-m", "annobench", "run", "--study", "tiny", "--", "--forcerun", "fit_method"]
    environment = os.environ | {"PYTHONPATH": str(repo.folder / "scripts")}
    run = subprocess.Popen(command, cwd=repo.folder, env=environment, start_new_session=True)
    deadline = time.monotonic() + 120
    while not any(children(process) for process in warm_processes(repo)):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return run


def test_a_run_survives_the_death_of_its_warm_processes(done: Repo) -> None:
    before = done.table("ranking")
    run = start(done)
    for process in warm_processes(done):
        with suppress(psutil.NoSuchProcess):
            process.kill()
    assert run.wait(timeout=300) == 0
    assert [row["method"] for row in done.table("ranking")] == [row["method"] for row in before]
    assert done.table("failed") == []
    assert nobody_is_left(done)


@pytest.mark.parametrize(("arguments", "timers"), [([], False), (["--max-jobs-per-timespan", "50/1s"], True)])
def test_only_a_limit_that_the_user_gives_leaves_timers_behind(done: Repo, arguments: list[str], timers: int) -> None:
    """Snakemake's default limit would start one with every job, and each goes on until the end of the run."""
    command = ["--workflow-profile", "workflow/profiles/local", "--forcerun", "score_fit", *arguments]
    command += ["--configfile", "config/studies/tiny.yaml"]
    text = (
        "import atexit\nfrom snakemake.cli import main\nfrom snakemake.scheduling.job_scheduler import JobScheduler\n"
        "real, calls = JobScheduler._schedule_reevalutation, []\n"
        "def counted(self, delay):\n    calls.append(delay)\n    real(self, delay)\n"
        "JobScheduler._schedule_reevalutation = counted\natexit.register(lambda: print('timers:', len(calls)))\n"
        f"main({command})"
    )
    run = subprocess.run(
        [sys.executable, "-c", text], cwd=done.folder, env=environment(), capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr
    counted = int(run.stdout.partition("timers: ")[2])
    assert (counted > 0) == timers


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_warm_processes_end_with_the_run(done: Repo, number: int) -> None:
    run = start(done)
    if number == signal.SIGINT:  # as a terminal sends it: to everybody
        os.killpg(run.pid, number)
    else:
        snakemake = psutil.Process(run.pid).children()
        run.kill()
        for process in snakemake:
            with suppress(psutil.NoSuchProcess):
                process.kill()
    run.wait(timeout=120)
    assert nobody_is_left(done)
    done.run()
    assert done.table("failed") == []
