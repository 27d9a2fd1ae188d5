"""Run time of the default study, and how the processors spent it.

Command: `.venv/bin/python benchmarks/quickstart.py [--study smoke] [--commit 2f89dc3] [--executor local]`

Runs a study in a copy of the repository without results, of the working tree or of an earlier commit, and counts the
processor time of every process: of Snakemake itself, of the fits, of all that either of them started.
"""

import argparse
import csv
import ctypes
import json
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

import psutil
from repository import copy_repository, machine

PR_SET_CHILD_SUBREAPER = 36
EVERY = 0.5  # seconds between two looks at Snakemake


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--study", default="quickstart")
    parser.add_argument("--commit", help="an earlier commit instead of the working tree")
    parser.add_argument("--executor", help="local: without warm processes")
    arguments = parser.parse_args()
    # a process whose parent has ended becomes a child of this one, so that its processor time is counted
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)
    with tempfile.TemporaryDirectory() as folder:
        repository = copy_repository(Path(folder), arguments.commit)
        environment = {**os.environ, "PYTHONPATH": str(repository / "scripts")}
        before, begin = processor_seconds(), time.perf_counter()
        command = [sys.executable, "-m", "annobench", "run", "--study", arguments.study]
        command += ["--", "--executor", arguments.executor] if arguments.executor else []
        with open(repository / "run.log", "wb") as log:
            run = subprocess.Popen(command, cwd=repository, env=environment, stdout=log, stderr=subprocess.STDOUT)
            snakemake = SnakemakeTimes(run.pid)
            status = run.wait()
        wall = time.perf_counter() - begin
        reap()
        if status:
            sys.exit((repository / "run.log").read_text())
        print(machine())
        account(repository / "results", wall, processor_seconds() - before, snakemake.finish())


def processor_seconds() -> float:
    """Processor time (s) of all processes that this one has waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def reap() -> None:
    """Wait for processes that outlived their parents."""
    with suppress(ChildProcessError):
        while True:
            os.wait()


class SnakemakeTimes(threading.Thread):
    """Watches the processor time of Snakemake's own process, by the minute."""

    def __init__(self, run: int) -> None:
        super().__init__(daemon=True)
        self.run_process, self.seen, self.ended = psutil.Process(run), [(0.0, 0.0)], threading.Event()
        self.start()

    def run(self) -> None:
        """Look until the end."""
        begin, watched = time.monotonic(), None
        while not self.ended.wait(EVERY):
            with suppress(psutil.Error):
                if watched is None or not watched.is_running():
                    watched = next((p for p in self.run_process.children() if "snakemake" in p.cmdline()), None)
                if watched:
                    times = watched.cpu_times()
                    self.seen.append((time.monotonic() - begin, times.user + times.system))

    def finish(self) -> list[float]:
        """Stop; returns the processor time (s) of each minute."""
        self.ended.set()
        self.join()
        ends = [
            max(used for at, used in self.seen if at <= 60 * minute)
            for minute in range(int(self.seen[-1][0] // 60) + 1)
        ]
        ends.append(self.seen[-1][1])
        return [b - a for a, b in pairwise(ends)]


def account(results: Path, wall: float, processors: float, snakemake: list[float]) -> None:
    """Print how the time was spent."""
    jobs: dict[str, list[float]] = {}
    for file in (results / "benchmarks").rglob("*.tsv"):
        with open(file, newline="") as handle:
            seconds = float(next(csv.DictReader(handle, delimiter="\t"))["s"])
        jobs.setdefault(file.relative_to(results / "benchmarks").parts[0], []).append(seconds)
    records = [json.loads(file.read_text()) for file in (results / "fits").rglob("run.json")]
    work = sum((r["fit_seconds"] or 0) + (r["predict_seconds"] or 0) for r in records)
    cores = len(os.sched_getaffinity(0))
    print(f"{len(records)} fits, {sum(map(len, jobs.values()))} jobs: {wall:.0f} s")
    print(f"{processors:8.0f} s of processor time, {processors / wall / cores:.0%} of {cores} cores, of which")
    print(f"{sum(snakemake):8.1f} s  {sum(snakemake) / processors:6.1%}  Snakemake itself; by the minute: ", end="")
    print(" ".join(f"{seconds:.1f}" for seconds in snakemake))
    print("wall time of jobs, two or more of which run side by side:")
    rows = {
        "fitting and predicting": work,
        "the rest of the fits: interpreter, imports, reading, writing": sum(jobs.pop("fit_method")) - work,
    } | {f"{rule} ({len(seconds)} jobs)": sum(seconds) for rule, seconds in sorted(jobs.items())}
    total = sum(rows.values())
    for name, seconds in rows.items():
        print(f"{seconds:8.1f} s  {seconds / total:6.1%}  {name}")


if __name__ == "__main__":
    main()
