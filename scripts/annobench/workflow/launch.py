"""Runs a study from the command line: one run at a time in a folder, recovered after a kill, summed up at the end."""

import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

from annobench.config.entities import available, own_folder
from annobench.config.results import Results
from annobench.config.schema import Document, load_yaml
from annobench.config.study import Study, load_study, named_study
from annobench.core.errors import AnnobenchError, ConfigError, nearest
from annobench.core.files import read_json
from annobench.core.paths import ROOT, SCRIPTS
from annobench.core.place import problem
from annobench.workflow.absent import check_nothing_went_away
from annobench.workflow.resources import HEADROOM_MB, TABLE_MB_A_MILLION
from annobench.workflow.summary import summary
from annobench.workflow.targets import Targets


class BusyError(AnnobenchError):
    """Another run is active in the same folder."""


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


def entered(name: str | None) -> str | None:
    """Change into the folder of a study that has a config/ of its own: its results lie there; returns its new name."""
    path = study_file(name)
    folder = path and own_folder(path, ROOT)
    if path is None or folder is None:
        return name
    os.chdir(folder)
    return str(folder / path.name)


def resolve(name: str | None) -> Study:
    """A study as Snakemake sees it: its file merged over config/config.yaml."""
    base = load_yaml(ROOT / "config" / "config.yaml")
    path = study_file(name)
    if path is None:
        return load_study(base, ROOT, "config/config.yaml")
    return load_study(_merged(base, named_study(path)), ROOT, str(path))


def _merged(base: Document, over: Document) -> Document:
    """Merge mappings and replace everything else, as Snakemake does with --configfile."""
    merged = dict(base)
    for key, value in over.items():
        merged[key] = (
            _merged(merged[key], value) if isinstance(value, dict) and isinstance(merged.get(key), dict) else value
        )
    return merged


def run(name: str | None, arguments: Sequence[str] = (), profile: str = "local") -> int:
    """Run a study and print what came out; returns Snakemake's exit status.

    `profile` is the name of a folder in workflow/profiles, or the path of one. A study with a config/ of its own is run
    in its folder.
    """
    name = entered(name)
    study, results = resolve(name), Results()
    check_nothing_went_away(study)
    started, began = time.monotonic(), time.time()
    with only_run_here():
        status = snakemake(name, *arguments, profile=profile, largest_mb=_largest_job_mb(study))
    if {"-n", "--dry-run", "--report"} & set(arguments):
        return status
    ranking = Path(results.table(study.name, "ranking"))
    if status == 0 or (ranking.is_file() and ranking.stat().st_mtime >= began):  # never the tables of an earlier run
        print(summary(study, results, name), flush=True)
    print(f"\nTook {time.monotonic() - started:.0f} s.")
    if status:
        print(
            "\nThe study is incomplete: some jobs failed; see the messages above. The next run does only what is "
            "missing.\n"
            "For tables of the fits that exist: make partial" + (f" STUDY={name}" if name else "")
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


def failed_records(name: str | None) -> list[str]:
    """Run records of the fits of a study that failed, were killed, ran out of time or were skipped.

    A recorded failure is a result, which no run repeats by itself. Records of files that could not be fetched are
    included, and folders of checkpoints and tokens that could not be made.
    """
    study, results = resolve(name), Results()
    targets = Targets(study, results)
    records = {path: path for path in (*targets.downloads(), *map(results.run, study.fits()))}
    records |= {f"{path}/checkpoint.json": path for path in targets.checkpoints()}
    records |= {f"{path}/card.json": path for path in targets.tokens()}
    again = ("failed", "killed", "timeout", "skipped")
    return [made for path, made in records.items() if Path(path).is_file() and read_json(path)["status"] in again]


def snakemake(name: str | None, *arguments: str, profile: str = "local", largest_mb: int = 0) -> int:
    """Call Snakemake on this repository and return its exit status. Jobs on this machine share its memory and GPUs.

    Parameters
    ----------
    name
        The study; None for the default one.
    *arguments
        For Snakemake.
    profile
        Name of a folder in workflow/profiles, or the path of one.
    largest_mb
        Memory that the largest job asks for; where the machine has less, it runs alone.
    """
    path = study_file(name)
    folder = profile_folder(profile)
    # arguments come first: the options after them take as many words as they can, and would take a target
    command = [sys.executable, "-m", "snakemake", *arguments, "--snakefile", str(ROOT / "Snakefile")]
    command += ["--workflow-profile", str(folder), "--logger", "annobench"]
    if "executor" not in load_yaml(next(folder.glob("*.yaml"))):
        if sys.platform == "linux" and not any(word == "-e" or word.startswith("--executor") for word in arguments):
            command += ["--executor", "annobench"]  # elsewhere a process that has loaded libraries cannot be forked
        available_mb = memory_mb()
        if largest_mb > available_mb:
            print(
                f"The largest job asks for {largest_mb} MB, more than the {available_mb} MB of this machine: it may "
                "run out of memory.",
                flush=True,
            )
        command += ["--resources", f"mem_mb={max(available_mb, largest_mb)}"]
        command += [f"cuda_jobs={gpus}"] if (gpus := count_gpus()) else []
    command += ["--configfile", str(path)] if path else []
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(filter(None, [str(SCRIPTS), os.environ.get("PYTHONPATH")]))
    }
    process = subprocess.Popen(command, env=environment)
    with passing_signals_on(process):
        return process.wait()


@contextmanager
def passing_signals_on(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """Wait for Snakemake to end its jobs, on a cluster too, before this process ends.

    Ctrl-C reaches Snakemake directly, which then cancels its jobs. SIGTERM is passed on: running jobs then finish.
    """

    def wait(number: int, frame: FrameType | None) -> None:
        if number == signal.SIGTERM:
            process.send_signal(number)

    old = {number: signal.signal(number, wait) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)


def memory_mb() -> int:
    """Nine tenths of the memory of this machine or container, which jobs share."""
    import psutil

    total = psutil.virtual_memory().total
    for limit in (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes")):
        with suppress(OSError, ValueError):  # `max` where there is no limit
            total = min(total, int(limit.read_text()))
    return int(total / 1e6 * 0.9)


def count_gpus() -> int:
    """NVIDIA GPUs of this machine; 0 without their driver."""
    try:
        done = subprocess.run(["nvidia-smi", "--list-gpus"], capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return 0
    return len(done.stdout.splitlines()) if done.returncode == 0 else 0


def _largest_job_mb(study: Study) -> int:
    """Memory that the largest job of a study asks for."""
    table = TABLE_MB_A_MILLION * max(dataset["resources"]["cells"] for dataset in study.datasets.values()) / 1e6
    fits = [method["resources"]["memory_mb"] + table + HEADROOM_MB for method in study.methods.values()]
    return int(max([*fits, *(dataset["resources"]["memory_mb"] for dataset in study.datasets.values())]))


@contextmanager
def only_run_here() -> Iterator[None]:
    """Hold the lock of this folder, and remove the lock of a Snakemake that was killed. Raises BusyError."""
    if found := problem(Path.cwd()):
        raise ConfigError(found)
    folder = Path(".snakemake")
    try:
        folder.mkdir(exist_ok=True)
        lock = open(folder / "annobench.lock", "w")  # noqa: SIM115 - closed below
    except OSError as error:
        raise ConfigError(
            f"{Path.cwd()} cannot be written to ({error.strerror}); copy the repository to a folder that can, "
            "or run a study in a folder of your own (the path of its YAML file, with a folder config beside it)"
        ) from error
    with lock as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BusyError(f"another run is active in {Path.cwd()}; wait until it has ended") from None
        except OSError as error:  # some network file systems
            print(
                f"This file system has no locks ({error.strerror}): never start two runs in this folder at a time.",
                flush=True,
            )
        if any((folder / "locks").glob("*")):
            if others := _snakemake_here():
                raise BusyError(
                    f"Snakemake or one of its jobs is active in {Path.cwd()} (process {', '.join(map(str, others))}); "
                    "wait until it has ended, or end it"
                )
            print(
                "A run in this folder was killed; its lock is removed and its unfinished jobs are run again.",
                flush=True,
            )
            snakemake(None, "--unlock", "--quiet", "all")
        yield


def _snakemake_here() -> list[int]:
    """Processes of a Snakemake in this folder that this command did not start."""
    import psutil

    others = []
    for process in psutil.process_iter(["cmdline"]):
        try:
            words = process.info["cmdline"] or []
            if (
                process.pid != os.getpid()
                and any("snakemake" in word for word in words[:4])
                and process.cwd() == os.getcwd()
            ):
                others.append(process.pid)
        except psutil.Error:
            continue
    return others
