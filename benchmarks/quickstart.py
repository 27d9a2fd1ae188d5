"""Run time of the default study, and how much of it is start-up.

Command: `.venv/bin/python benchmarks/quickstart.py [--study smoke]`

Runs the study in a copy of the repository without results and prints how the time of all cores was spent: fitting and
predicting, the rest of the fit jobs (interpreter, imports, reading cells, writing), all other jobs, and Snakemake.
"""

import argparse
import csv
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def main() -> None:
    """Measure and print."""
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--study", default="quickstart")
    study = arguments.parse_args().study
    with tempfile.TemporaryDirectory() as folder:
        repository = copy_repository(Path(folder))
        environment = {**os.environ, "PYTHONPATH": str(repository / "scripts")}
        begin = time.perf_counter()
        command = [sys.executable, "-m", "annobench", "run", "--study", study]
        with open(repository / "run.log", "wb") as log:
            done = subprocess.run(command, cwd=repository, env=environment, stdout=log, stderr=subprocess.STDOUT)
        wall = time.perf_counter() - begin
        if done.returncode:
            sys.exit((repository / "run.log").read_text())
        account(repository / "results", wall)


def copy_repository(folder: Path) -> Path:
    """Copy the files of the working tree that git tracks, or would track."""
    names = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    for name in names:
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    return folder


def account(results: Path, wall: float) -> None:
    """Print how the time of all cores was spent."""
    jobs: dict[str, list[float]] = {}
    for file in (results / "benchmarks").rglob("*.tsv"):
        with open(file, newline="") as handle:
            seconds = float(next(csv.DictReader(handle, delimiter="\t"))["s"])
        jobs.setdefault(file.relative_to(results / "benchmarks").parts[0], []).append(seconds)
    records = [json.loads(file.read_text()) for file in (results / "fits").rglob("run.json")]
    work = sum((r["fit_seconds"] or 0) + (r["predict_seconds"] or 0) for r in records)
    fits, rest = sum(jobs["fit_method"]), sum(sum(s) for rule, s in jobs.items() if rule != "fit_method")
    total = wall * len(os.sched_getaffinity(0))
    print(f"{len(records)} fits in {wall:.0f} s on {len(os.sched_getaffinity(0))} cores")
    rows = {
        "fitting and predicting": work,
        "rest of the fit jobs: interpreter, imports, reading, writing": fits - work,
        f"other jobs ({sum(len(s) for rule, s in jobs.items() if rule != 'fit_method')})": rest,
        "Snakemake, and cores without a job": total - fits - rest,
    }
    for name, seconds in rows.items():
        print(f"{seconds:8.0f} core s  {seconds / total:6.1%}  {name}")


if __name__ == "__main__":
    main()
