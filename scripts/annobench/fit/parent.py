"""Parent process of a fit: starts the child, enforces its limits, and writes the run record.

Only the standard library and psutil are imported: every fit starts this, and the memory of the child is exact because
little comes from here. In a process that was forked from a warm one (annobench.core.processes) the child is forked too.
The record is written last; whatever the child did, predictions.parquet and run.json exist afterwards, unless the job
itself is killed from outside.
"""

import hashlib
import json
import os
import platform
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from annobench.core import pages
from annobench.core.errors import AnnobenchError, DataError
from annobench.core.files import disk_full, is_disk_full, read_json, sha256_of, write_json
from annobench.core.paths import SCRIPTS
from annobench.core.processes import THREAD_VARIABLES, Descendants, fork, is_warm
from annobench.core.scratch import scratch_folder
from annobench.core.spec import Spec
from annobench.core.threads import SPIN
from annobench.fit.job import FitJob, Limits
from annobench.fit.run_record import OUTPUTS, FitResult, RunRecord

if TYPE_CHECKING:
    import resource

_THEN = "; if that is too little, raise it in the method's file and `make retry`"
_ERROR = re.compile(r"^[\w.]+: ")  # what a traceback puts before the text of an error
_POLL = 0.1  # seconds between checks of memory and time


@dataclass(frozen=True, kw_only=True)
class Attempt(Spec):
    """An attempt at a fit, beside its log: what is left of it where the job was killed from outside."""

    started: str
    host: str
    pid: int
    cluster_job: str | None
    ended: str | None = None
    signal: str | None = None
    status: str | None = None
    reason: str | None = None


@dataclass(frozen=True, kw_only=True)
class _Ending:
    """How the child process ended.

    stop: status and reason, where a limit stopped it. code: exit status, negative for a signal.
    """

    stop: tuple[str, str] | None
    code: int
    total_seconds: float
    peak_rss_mb: float
    cpu_seconds: float


class FitFailedError(AnnobenchError):
    """A fit failed and the study asks to stop on failure."""


def run_fit(job: FitJob, folder: Path, attempt_record: Path) -> RunRecord:
    """Run one fit in a child process and leave predictions.parquet and run.json.

    Parameters
    ----------
    job
        What to fit, and its limits.
    folder
        Folder of the fit; what an earlier attempt left there is removed, but for its checkpoints.
    attempt_record
        Small file beside the log, written first: it remains when the job is killed from outside.

    Returns
    -------
    RunRecord
        As it was written.

    Raises
    ------
    DataError
        Where the inputs of the fit cannot be read, or the disk is full.
    FitFailedError
        Where the fit did not succeed and `job.on_failure` is `raise`; the record is written all the same.
    """
    checkpoint = _checkpoint_folder(job, folder)
    _clear(folder, checkpoint)
    work = folder / ".work"
    work.mkdir(parents=True)
    attempt = Attempt(
        started=datetime.now(UTC).isoformat(timespec="seconds"),
        host=socket.gethostname(),
        pid=os.getpid(),
        cluster_job=os.environ.get("SLURM_JOB_ID"),
    )
    attempt_record.parent.mkdir(parents=True, exist_ok=True)
    write_json(attempt_record, attempt.to_params())
    try:
        whole = replace(job, checkpoint=str(checkpoint.resolve()))
        (work / "job.json").write_text(json.dumps(whole.to_params()), encoding="utf-8")
        ending = _watch(work, job.limits, job.threads)
        result = _result(work)
        if result is not None and result.status == "broken_input":
            raise DataError(f"{result.reason}; delete the file, and the next run makes it again")
        record = _settle(folder, work, _record(job, ending, result, attempt))
        record.write(folder / "run.json")  # last: where it is, everything else is
        if record.status in ("ok", "skipped"):  # whatever else ended it: the next attempt goes on from there
            shutil.rmtree(checkpoint.parent, ignore_errors=True)
    except SystemExit as error:  # a signal from outside, see _watch
        name = signal.Signals(int(error.code or 0) - 128).name
        write_json(attempt_record, replace(attempt, signal=name).to_params())
        raise
    except OSError as error:
        raise (disk_full(folder / "run.json") if is_disk_full(error) else error) from error
    finally:
        shutil.rmtree(work, ignore_errors=True)
    ended = datetime.now(UTC).isoformat(timespec="seconds")
    write_json(attempt_record, replace(attempt, ended=ended, status=record.status, reason=record.reason).to_params())
    if record.status in ("failed", "killed", "timeout") and job.on_failure == "raise":
        raise FitFailedError(f"{record.status}: {record.reason} (on_failure is raise)")
    return record


def failure(record: RunRecord, log: Path) -> str | None:
    """A line on a fit that did not succeed, for the terminal; None where it did, or was skipped.

    Parameters
    ----------
    record
        Of the fit.
    log
        Its log; the last line that the method wrote there is named.
    """
    if record.status not in ("failed", "killed", "timeout"):
        return None
    lines = [line.strip() for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    said = _ERROR.sub("", lines[-1]) if lines else ""  # of our own errors the text is the reason
    last = f"; it ended with '{lines[-1][:200]}'" if said not in (record.reason or "") else ""
    fit = f"{record.dataset} {record.split} {record.method} seed {record.seed}"
    return f"{fit}: {record.status}: {record.reason}{last}; log: {log}"


def _checkpoint_folder(job: FitJob, folder: Path) -> Path:
    """Where this very job keeps its checkpoints; other code, data, split, seed or parameters mean another folder."""
    key = {
        "facts": {"code": job.facts.code, "data_sha256": job.facts.data_sha256},
        "implementation": job.method.implementation,
        "parameters": job.method.parameters,
        "seed": job.seed,
        "training": job.settings.training,
    }
    files = {"split": job.files.split, "train": job.files.train, "panel": job.files.panel}
    files["tokens"] = job.files.tokens and f"{job.files.tokens}/card.json"
    files |= {f"uses {method}": f"{used}/run.json" for method, used in job.files.uses.items()}
    hashes = {name: sha256_of(path) for name, path in files.items() if path}
    digest = hashlib.sha256(json.dumps(key | hashes, sort_keys=True).encode()).hexdigest()
    return folder / ".checkpoint" / digest[:16]


def _clear(folder: Path, checkpoint: Path) -> None:
    """Remove what an earlier attempt left, but for the checkpoints of the same job."""
    if not checkpoint.is_dir():
        shutil.rmtree(checkpoint.parent, ignore_errors=True)
    for path in folder.iterdir() if folder.is_dir() else ():
        if path != checkpoint.parent:
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def _watch(work: Path, limits: Limits, threads: int) -> _Ending:
    """Start the child and wait for it, no longer than its limits allow."""
    with scratch_folder() as scratch:  # here: a killed child cleans up nothing
        return _watch_in(scratch, work, limits, threads)


def _watch_in(scratch: Path, work: Path, limits: Limits, threads: int) -> _Ending:
    begin = time.monotonic()
    started = Descendants()
    child, process = _start(work, threads, str(scratch))
    finished = threading.Event()
    ended: list[tuple[int, resource.struct_rusage]] = []

    def reap() -> None:
        # wait4 gives the exact peak of the child and of every process that it waited for
        _, status, usage = os.wait4(child, 0)
        code = os.waitstatus_to_exitcode(status)
        if process:
            process.returncode = code  # else Popen takes it for running still
        ended.append((code, usage))
        finished.set()

    threading.Thread(target=reap, daemon=True).start()

    def interrupted(number: int, frame: object) -> None:
        _kill_group(child)
        raise SystemExit(128 + number)

    old = {number: signal.signal(number, interrupted) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        stop = _wait(child, started, finished, limits)
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)
        _kill_group(child)
        more_seconds, more_peak = started.end(child)  # whatever the child left running
    ((code, usage),) = ended
    unit = 1 if platform.system() == "Darwin" else 1024  # ru_maxrss is in bytes there, in KiB on Linux
    return _Ending(
        stop=stop,
        code=code,
        total_seconds=time.monotonic() - begin,
        peak_rss_mb=max(usage.ru_maxrss, more_peak) * unit / 1e6,
        cpu_seconds=usage.ru_utime + usage.ru_stime + more_seconds,
    )


def _start(work: Path, threads: int, scratch: str) -> "tuple[int, subprocess.Popen[bytes] | None]":
    """Start the child process, in a group of its own; returns its process id, and its object where there is one."""
    own = {"PYTHONPATH": str(SCRIPTS), "TMPDIR": scratch, "CUBLAS_WORKSPACE_CONFIG": ":4096:8"}
    job_file = work / "job.json"
    if is_warm():
        child = fork(lambda: _child(job_file, own))
        with suppress(OSError):
            os.setpgid(child, child)  # it does so too: whoever comes first, no signal to its group is lost
        return child, None
    environment = os.environ | dict.fromkeys(THREAD_VARIABLES, str(threads)) | SPIN | {"PYTHONHASHSEED": "0"} | own
    process = subprocess.Popen(
        [sys.executable, "-m", "annobench.fit.child", str(job_file)],
        env=environment,
        stdin=subprocess.DEVNULL,
        start_new_session=True,
    )
    return process.pid, process


def _child(job_file: Path, environment: dict[str, str]) -> int:
    """The child process of a fit, forked from this one; a warm process has set what libraries read at import."""
    import tempfile

    from annobench.fit import child

    os.setpgid(0, 0)
    pages.read_again()
    os.environ.update(environment)
    tempfile.tempdir = None  # else the folder that was found before
    return child.main(job_file)


def _wait(child: int, started: Descendants, finished: threading.Event, limits: Limits) -> tuple[str, str] | None:
    """Wait for the child, and kill it where it goes beyond a limit; returns status and reason of that."""
    begin = time.monotonic()
    stop = None
    while stop is None and not finished.wait(_POLL):
        if time.monotonic() - begin > limits.seconds:
            stop = (
                "timeout",
                f"took longer than its limit of {limits.seconds / 60:g} minutes (resources.minutes){_THEN}",
            )
        elif (used := _rss(started)) > limits.memory_mb:
            stop = (
                "killed",
                f"used {used:.0f} MB, more than its limit of {limits.memory_mb:g} MB (resources.memory_mb){_THEN}",
            )
    if stop:
        _kill_group(child)
    finished.wait()
    return stop


def _rss(started: Descendants) -> float:
    """Resident memory (MB) of all processes of a fit."""
    import psutil

    total = 0
    for member in started.running():
        with suppress(psutil.NoSuchProcess):
            total += member.memory_info().rss
    return total / 1e6


def _kill_group(group: int) -> None:
    with suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)


def _result(work: Path) -> FitResult | None:
    """What the child reported; None where it died before."""
    path = work / "result.json"
    return FitResult.from_params(read_json(path)) if path.is_file() else None


def _record(job: FitJob, ending: _Ending, result: FitResult | None, attempt: Attempt) -> RunRecord:
    """The run record, but for its traceback."""
    status, reason = _status(ending, result)
    reported = vars(result or FitResult()) | {"status": status, "reason": reason}
    peak = min(ending.peak_rss_mb, reported["peak_rss_mb"] or ending.peak_rss_mb)
    reported["peak_rss_mb"] = round(peak, 1)
    return RunRecord(
        **reported,
        **vars(job.identity),
        **vars(job.facts),
        sees_test_cells=job.needs.query
        or bool(reported["tokens"].get("sees_cells"))
        or any(used.sees_test_cells for used in reported["uses"].values()),
        total_seconds=round(ending.total_seconds, 4),
        cpu_seconds=round(ending.cpu_seconds, 4),
        limits=job.limits,
        threads=job.threads,
        parameters=job.method.parameters,
        host=attempt.host,
        cluster_job=attempt.cluster_job,
        started=attempt.started,
    )


def _status(ending: _Ending, result: FitResult | None) -> tuple[str, str | None]:
    if ending.stop:
        return ending.stop
    if ending.code < 0:
        name = signal.Signals(-ending.code).name
        hint = "; often the kernel's answer to a machine out of memory" if name == "SIGKILL" else ""
        return "killed", f"died of {name}, sent from outside or by a crash{hint}"
    if result is None:
        return "failed", f"ended with status {ending.code} before it could report"
    return result.status, result.reason


def _settle(folder: Path, work: Path, record: RunRecord) -> RunRecord:
    """Move what the child wrote into place; returns the record with what there is."""
    from annobench.fit.predictions_file import write_empty

    if record.ok:
        for name in record.outputs:
            os.replace(work / OUTPUTS[name], folder / OUTPUTS[name])
    else:
        record = replace(record, outputs=())
    if not record.has("predictions"):  # the file that the rule promises
        write_empty(folder / OUTPUTS["predictions"])
    if (work / "traceback.txt").is_file():
        os.replace(work / "traceback.txt", folder / "traceback.txt")
        record = replace(record, traceback="traceback.txt")
    return record
