"""Running a study on this machine: one run at a time in a folder, recovered after a kill, summed up at the end."""

import csv
import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from annobench.config import Study, load_study, load_yaml
from annobench.config.study import available
from annobench.errors import AnnobenchError, ConfigError, nearest
from annobench.metrics.names import METRIC_NAMES
from annobench.paths import ROOT, SCRIPTS


class BusyError(AnnobenchError):
    """Another run works in the same folder."""


def study_file(name: str | None) -> Path | None:
    """The file of a study: a name in config/studies, or a path; None for the default study."""
    if name in (None, "", "quickstart"):
        return None
    path = Path(str(name))
    named = ROOT / "config" / "studies" / f"{name}.yaml"
    if named.is_file():
        return named
    if path.is_file():
        return path
    raise ConfigError(f"there is no study '{name}'{nearest(str(name), ['quickstart', *available('studies', ROOT)])}")


def resolve(name: str | None) -> Study:
    """A study as Snakemake will see it: its file merged over config/config.yaml."""
    base = load_yaml(ROOT / "config" / "config.yaml")
    path = study_file(name)
    if path is None:
        return load_study(base, ROOT, "config/config.yaml")
    return load_study(_merged(base, load_yaml(path)), ROOT, str(path))


def _merged(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """Mappings are merged, everything else is replaced: what Snakemake does with --configfile."""
    merged = dict(base)
    for key, value in over.items():
        merged[key] = (
            _merged(merged[key], value) if isinstance(value, dict) and isinstance(merged.get(key), dict) else value
        )
    return merged


def run(name: str | None, arguments: Sequence[str] = (), profile: str = "local") -> int:
    """Run a study and print what came out; returns Snakemake's exit status.

    `profile` is the name of a folder in workflow/profiles, or the path of one.
    """
    study = resolve(name)
    started = time.monotonic()
    with only_run_here():
        status = snakemake(name, *arguments, profile=profile)
    if "-n" in arguments or "--dry-run" in arguments:
        return status
    print(summary(study, Path("results")), flush=True)
    print(f"\nTook {time.monotonic() - started:.0f} s.")
    if status:
        print(
            "\nThe study is not complete: some jobs failed, see the messages above. The next run does only what is "
            "missing.\n"
            "To see the tables of what is there: make partial" + (f" STUDY={name}" if name else "")
        )
    return status


def profile_folder(name: str) -> Path:
    """The folder of a profile: a name in workflow/profiles, or a path. Raises ConfigError."""
    profiles = ROOT / "workflow" / "profiles"
    for folder in (profiles / name, Path(name)):
        if (folder / "profile.yaml").is_file() or (folder / "config.yaml").is_file():
            return folder
    names = [path.parent.name for path in profiles.glob("*/profile.yaml")]
    raise ConfigError(f"there is no profile '{name}'{nearest(name, names)}")


def snakemake(name: str | None, *arguments: str, profile: str = "local") -> int:
    """Call Snakemake on this repository."""
    path = study_file(name)
    folder = profile_folder(profile)
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile")]
    command += ["--workflow-profile", str(folder), "--logger", "annobench"]
    if "executor" not in load_yaml(next(folder.glob("*.yaml"))):  # jobs on this machine share its memory
        command += ["--resources", f"mem_mb={_memory_mb()}"]
    command += ["--configfile", str(path)] if path else []
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(filter(None, [str(SCRIPTS), os.environ.get("PYTHONPATH")]))
    }
    process = subprocess.Popen([*command, *arguments], env=environment)
    with passing_signals_on(process):
        return process.wait()


@contextmanager
def passing_signals_on(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """Let Snakemake end its jobs, on a cluster too, before this process ends.

    Ctrl-C reaches Snakemake by itself, which cancels its jobs; SIGTERM is passed on: it lets running jobs finish.
    """

    def wait(number: int, frame: Any) -> None:
        if number == signal.SIGTERM:
            process.send_signal(number)

    old = {number: signal.signal(number, wait) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)


def _memory_mb() -> int:
    """Nine tenths of the memory of this machine: jobs that ask for more together wait for each other."""
    import psutil

    return int(psutil.virtual_memory().total / 1e6 * 0.9)


@contextmanager
def only_run_here() -> Iterator[None]:
    """Hold the lock of this folder; remove a lock that a killed Snakemake left behind. Raises BusyError."""
    folder = Path(".snakemake")
    folder.mkdir(exist_ok=True)
    with open(folder / "annobench.lock", "w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BusyError(f"another run is at work in {Path.cwd()}; wait until it has ended") from None
        if any((folder / "locks").glob("*")) and not _snakemake_here():
            print(
                "A run in this folder was killed; its lock is removed and its unfinished jobs are done again.",
                flush=True,
            )
            snakemake(None, "--unlock", "--quiet", "all")
        yield


def _snakemake_here() -> bool:
    """Whether a Snakemake that was not started by this command works in this folder."""
    import psutil

    for process in psutil.process_iter(["cmdline"]):
        try:
            words = process.info["cmdline"] or []
            if (
                process.pid != os.getpid()
                and any("snakemake" in word for word in words[:4])
                and process.cwd() == os.getcwd()
            ):
                return True
        except psutil.Error:
            continue
    return False


def summary(study: Study, results: Path) -> str:
    """Ranking table, failures, and where the report is, as text; empty where there are no tables yet."""
    tables = results / "tables" / study.name
    if not (tables / "ranking.csv").is_file():
        return ""
    ranking, failed = (_read(tables / f"{name}.csv") for name in ("ranking", "failed"))
    lines = []
    evaluations = list(dict.fromkeys((row["dataset"], row["regime"]) for row in ranking))
    if len(evaluations) == 2:  # the mean of one evaluation says nothing new
        evaluations = [pair for pair in evaluations if pair[0] != "all"]
    metric = METRIC_NAMES[study.settings["scoring"]["primary"]]
    for dataset, regime in evaluations:
        part = [row for row in ranking if (row["dataset"], row["regime"]) == (dataset, regime)]
        title = "Mean of all evaluations" if dataset == "all" else f"{dataset}, {regime}"
        lines += ["", f"{title}: {metric}, interval over {part[0]['interval_over']}"]
        lines += [f"  {'rank':>4}  {'method':<44}{'score':>6}  {'interval':<15}{'fits':>9}{'s a fit':>9}"]
        for row in part:
            seconds = float(row["fit_seconds"] or 0) + float(row["predict_seconds"] or 0)
            fits = f"{row['n_fits']}/{row['n_planned']}"
            rank = str(int(float(row["rank"]))) if row["rank"] else "-"
            between = f"{float(row['low']):.3f} - {float(row['high']):.3f}"
            lines.append(
                f"  {rank:>4}  {row['label']:<44}{float(row['score']):6.3f}  {between:<15}{fits:>9}{seconds:9.2f}"
            )
    lines += ["", f"Failed, skipped or missing fits: {len(failed) or 'none'}"]
    reasons: dict[tuple[str, str, str], int] = {}
    for row in failed:
        key = (row["method"], row["status"], row["reason"])
        reasons[key] = reasons.get(key, 0) + 1
    lines += [f"  {n:4d} x {method}: {status}: {reason}" for (method, status, reason), n in reasons.items()]
    lines += ["", f"Report: {results / 'report' / study.name / 'index.html'}"]
    return "\n".join(lines)


def _read(path: Path) -> list[dict[str, str]]:
    with open(path, encoding="utf-8", newline="") as handle:
        return list(csv.DictReader(handle))
