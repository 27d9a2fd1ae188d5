"""What is promised: the same study on a cluster; jobs that the cluster or the runner kills are rows with a reason."""

import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from threading import Thread

import pytest
import yaml
from cluster import NODES, NoClusterError, slurm

from helpers import annobench
from repo import Repo, add_broken, environment

pytestmark = [pytest.mark.slurm, pytest.mark.xdist_group("slurm")]


@pytest.fixture(scope="module", autouse=True)
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    try:
        with slurm(tmp_path_factory.mktemp("slurm")):
            yield
    except NoClusterError as error:
        pytest.skip(str(error))


def smoke(repo: Repo, *more_methods: str) -> None:
    """The smoke study with few methods and figures, and in its first evaluation some that fail on purpose."""
    path = repo.folder / "config" / "studies" / "smoke.yaml"
    study = yaml.safe_load(path.read_text())
    study["methods"] = ["nearest_centroid", "awk_centroid", "linear_hce", *more_methods]
    study |= {"controls": ["majority"], "figures": ["ranking", "confusion"]}
    for evaluation in study["evaluations"][1:]:
        evaluation["methods"] = ["nearest_centroid"]
    path.write_text(yaml.safe_dump(study))


def run(repo: Repo, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """The smoke study with the profile that is shipped, and what this cluster needs over it."""
    options = ["--slurm-no-account", "--default-resources", "slurm_partition=smoke", "--latency-wait", "5"]
    options += ["--slurm-status-command", "squeue", "--slurm-init-seconds-before-status-checks", "2", *arguments]
    return annobench(repo.folder, "run", "--study", "smoke", "--profile", "slurm", "--", *options, timeout=900)


def cancel(attempt: Path) -> None:
    """Wait until a fit runs, then `scancel` its job."""
    deadline = time.monotonic() + 600
    while not attempt.is_file() and time.monotonic() < deadline:
        time.sleep(0.2)
    time.sleep(2)
    subprocess.run(["scancel", str(json.loads(attempt.read_text())["cluster_job"])], check=True)


def test_the_smoke_study_runs_on_both_nodes_and_killed_jobs_are_rows(tmp_path: Path) -> None:
    repo = Repo(tmp_path)
    add_broken(repo, "hog", "forever", forever=3)
    smoke(repo, "hog", "forever")
    place = "simulated_small/holdout_donor/forever/seed1"
    attempt = repo.folder / "results" / "logs" / "fit_method" / f"{place}.attempt.json"
    canceller = Thread(target=cancel, args=(attempt,))
    canceller.start()
    done = run(repo, "--retries", "0")
    canceller.join()
    assert done.returncode, done.stdout + done.stderr  # one job is missing
    assert "make partial STUDY=smoke" in done.stdout
    jobs = subprocess.run(["scontrol", "--oneliner", "show", "jobs"], capture_output=True, text=True, check=True).stdout
    assert set(re.findall(r" NodeList=(\w+)", jobs)) >= set(NODES)
    assert "JobState=CANCELLED" in jobs

    # what is there makes tables; the killed job is a row that says by what it was killed
    partial = run(repo, "--config", "partial=true")
    assert partial.returncode == 0, partial.stdout + partial.stderr
    failed = {row["method"]: row for row in repo.table("failed", "smoke")}
    assert set(failed) == {"hog", "forever"}
    assert (failed["hog"]["status"], failed["forever"]["status"]) == ("killed", "missing")
    assert "more than its limit of 700 MB" in failed["hog"]["reason"]
    job = json.loads(attempt.read_text())["cluster_job"]
    assert f"cluster job {job}" in failed["forever"]["reason"]
    assert "killed from outside by SIGTERM" in failed["forever"]["reason"]
    complete = {(row["dataset"], row["regime"]): row for row in repo.table("ranking", "smoke")}
    assert set(complete) >= {("simulated_small", regime) for regime in ("holdout", "low_label", "cross_study")}
    for row in repo.table("ranking", "smoke"):
        assert (row["n_fits"] == row["n_planned"]) == (row["method"] not in failed), row

    # the next full run does just what is missing; this time the runner's own limit ends it
    method = repo.folder / "config" / "methods" / "forever.yaml"
    method.write_text(method.read_text().replace("minutes: 3", "minutes: 0.05"))
    jobs_left = repo.jobs("smoke")
    assert (jobs_left["fit_method"], jobs_left["score_fit"]) == (1, 1)
    again = run(repo)
    assert again.returncode == 0, again.stdout + again.stderr
    failed = {row["method"]: row["status"] for row in repo.table("failed", "smoke")}
    assert failed == {"hog": "killed", "forever": "timeout"}
    assert repo.jobs("smoke") == {}


def test_direct_command_of_the_readme_works_on_a_cluster(tmp_path: Path) -> None:
    """Snakemake itself with a copy of the shipped profile that has the lines which this cluster needs."""
    repo = Repo(tmp_path)
    profile = repo.folder / "workflow" / "profiles" / "slurm" / "profile.yaml"
    text = profile.read_text()
    for key in ("slurm-no-account: true", "slurm-status-command: squeue"):
        assert f"# {key}" in text
        text = text.replace(f"# {key}", key)
    profile.write_text(text + "slurm-init-seconds-before-status-checks: 2\n")
    command = [sys.executable, "-m", "snakemake", "--workflow-profile", "workflow/profiles/slurm"]
    done = subprocess.run(
        [*command, "--configfile", "config/studies/tiny.yaml", "--latency-wait", "5"],
        cwd=repo.folder,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert repo.table("failed") == []
