"""The watching side of a fit: starts the child, enforces its limits, and writes the run record.

Only the standard library and psutil are imported: every fit starts this, and the memory of the child is exact because
little comes from here. The record is written last; whatever the child did, predictions.parquet and run.json exist
afterwards, unless the job itself is killed from outside.
"""

import hashlib
import json
import os
import platform
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from annobench.core.errors import AnnobenchError, DataError
from annobench.core.files import disk_full, is_disk_full, read_json, sha256_of, write_json
from annobench.core.paths import SCRIPTS
from annobench.core.threads import SPIN

_THEN = "; if that is too little, raise it in the method's file and `make retry`"
_POLL = 0.1  # seconds between looks at memory and time
_THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "NUMBA_NUM_THREADS",
)


class FitFailedError(AnnobenchError):
    """A fit failed and the study asks to stop on failure."""


def run_fit(job: dict[str, Any], folder: Path, attempt_record: Path) -> None:
    """Run one fit and leave predictions.parquet and run.json in `folder`.

    `job` is what the child needs (see runner.child) plus `limits` (memory_mb, seconds), `identity` (dataset, split,
    method, seed), `facts` (values that go into the record as they are) and `on_failure`. `attempt_record` is a small
    file beside the log: it says that an attempt began, and so remains when the job is killed from outside.
    """
    checkpoint = _checkpoint_folder(job, folder)
    _clear(folder, checkpoint)
    work = folder / ".work"
    work.mkdir(parents=True)
    started = datetime.now(UTC).isoformat(timespec="seconds")
    attempt = {
        "started": started,
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "cluster_job": os.environ.get("SLURM_JOB_ID"),
    }
    attempt_record.parent.mkdir(parents=True, exist_ok=True)
    write_json(attempt_record, {**attempt, "ended": None})
    try:
        places = {"work": str(work.resolve()), "checkpoint": str(checkpoint.resolve())}
        (work / "job.json").write_text(json.dumps({**job, **places}), encoding="utf-8")
        outcome = _watch(work, job["limits"], job["threads"])
        result = _result(work)
        if result.get("status") == "broken_input":
            raise DataError(f"{result['reason']}; delete the file, and the next run makes it again")
        record = _record(job, outcome, result, attempt)
        _settle(folder, work, record)
        if record["status"] in ("ok", "skipped"):  # whatever else ended it: the next attempt goes on from there
            shutil.rmtree(checkpoint.parent, ignore_errors=True)
    except SystemExit as error:  # a signal from outside, see _watch
        write_json(
            attempt_record, {**attempt, "ended": None, "signal": signal.Signals(int(error.code or 0) - 128).name}
        )
        raise
    except OSError as error:
        raise (disk_full(folder / "run.json") if is_disk_full(error) else error) from error
    finally:
        shutil.rmtree(work, ignore_errors=True)
    write_json(
        attempt_record,
        {
            **attempt,
            "ended": datetime.now(UTC).isoformat(timespec="seconds"),
            "status": record["status"],
            "reason": record["reason"],
        },
    )
    if record["status"] in ("failed", "killed", "timeout") and job["on_failure"] == "raise":
        raise FitFailedError(f"{record['status']}: {record['reason']} (on_failure is raise)")


def _checkpoint_folder(job: Mapping[str, Any], folder: Path) -> Path:
    """Where this very job keeps its checkpoints: of another code, dataset, split, seed or parameter it is another."""
    facts = {key: job["facts"].get(key) for key in ("code", "data_sha256")}
    key = {"facts": facts, **{name: job.get(name) for name in ("implementation", "parameters", "seed", "training")}}
    files = {name: sha256_of(job[name]) for name in ("split", "train", "panel") if job.get(name)}
    digest = hashlib.sha256(json.dumps(key | files, sort_keys=True).encode()).hexdigest()
    return folder / ".checkpoint" / digest[:16]


def _clear(folder: Path, checkpoint: Path) -> None:
    """Remove what an earlier attempt left, but for the checkpoints of the same job."""
    if not checkpoint.is_dir():
        shutil.rmtree(checkpoint.parent, ignore_errors=True)
    for path in folder.iterdir() if folder.is_dir() else ():
        if path != checkpoint.parent:
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def _watch(work: Path, limits: Mapping[str, float], threads: int) -> dict[str, Any]:
    """Start the child and wait for it; returns how it ended, its seconds and its peak memory."""
    import psutil

    environment = os.environ | dict.fromkeys(_THREAD_VARIABLES, str(threads)) | SPIN
    environment |= {"PYTHONPATH": str(SCRIPTS), "PYTHONHASHSEED": "0", "CUBLAS_WORKSPACE_CONFIG": ":4096:8"}
    scratch = TemporaryDirectory(prefix="annobench-", ignore_cleanup_errors=True)  # a killed child cleans up nothing
    environment["TMPDIR"] = scratch.name
    begin = time.monotonic()
    child = subprocess.Popen(
        [sys.executable, "-m", "annobench.fit.child", str(work / "job.json")],
        env=environment,
        stdin=subprocess.DEVNULL,
        start_new_session=True,
    )
    finished = threading.Event()
    ended: dict[str, Any] = {}

    def reap() -> None:
        # wait4 gives the exact peak of the child and of every process that it waited for
        _, status, usage = os.wait4(child.pid, 0)
        ended["code"], ended["usage"] = os.waitstatus_to_exitcode(status), usage
        child.returncode = ended["code"]  # else Popen takes it for running still
        finished.set()

    threading.Thread(target=reap, daemon=True).start()
    stop = None

    def interrupted(number: int, frame: Any) -> None:
        _kill_group(child.pid)
        raise SystemExit(128 + number)

    old = {number: signal.signal(number, interrupted) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        watched = psutil.Process(child.pid)
        while not finished.wait(_POLL):
            if time.monotonic() - begin > limits["seconds"]:
                stop = (
                    "timeout",
                    f"took longer than its limit of {limits['seconds'] / 60:g} minutes (resources.minutes){_THEN}",
                )
            elif (used := _tree_rss(watched)) > limits["memory_mb"]:
                stop = (
                    "killed",
                    f"used {used:.0f} MB, more than its limit of {limits['memory_mb']:g} MB (resources.memory_mb)"
                    f"{_THEN}",
                )
            if stop:
                _kill_group(child.pid)
                finished.wait()
                break
    except psutil.NoSuchProcess:
        finished.wait()
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)
        _kill_group(child.pid)  # whatever the child itself left running
        scratch.cleanup()
    unit = 1 if platform.system() == "Darwin" else 1024  # ru_maxrss is in bytes there, in KiB on Linux
    return {
        "stop": stop,
        "code": ended["code"],
        "total_seconds": time.monotonic() - begin,
        "peak_rss_mb": ended["usage"].ru_maxrss * unit / 1e6,
        "cpu_seconds": ended["usage"].ru_utime + ended["usage"].ru_stime,
    }


def _tree_rss(process: Any) -> float:
    """Resident memory (MB) of a process and everything that it started."""
    import psutil

    total = 0
    for member in [process, *process.children(recursive=True)]:
        try:
            total += member.memory_info().rss
        except psutil.NoSuchProcess:
            continue
    return total / 1e6


def _kill_group(group: int) -> None:
    with suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)


def _result(work: Path) -> dict[str, Any]:
    """What the child reported; empty where it died before."""
    path = work / "result.json"
    return read_json(path) if path.is_file() else {}


def _record(
    job: Mapping[str, Any], outcome: Mapping[str, Any], result: Mapping[str, Any], attempt: Mapping[str, Any]
) -> dict[str, Any]:
    """The run record; see workflow/schemas/run.schema.yaml."""
    status, reason = _status(outcome, result)
    empty = dict.fromkeys(
        (
            "fit_seconds",
            "predict_seconds",
            "startup_seconds",
            "peak_gpu_mb",
            "trainable_parameters",
            "model_mb",
            "device",
            "genes",
        )
    )
    return {
        **job["identity"],
        "status": status,
        "reason": reason,
        "traceback": None,
        **empty,
        "probabilities": False,
        "decisions": False,
        "confidence_is_probability": False,
        "versions": {},
        **{key: value for key, value in result.items() if key not in ("status", "reason", "traceback")},
        "total_seconds": round(outcome["total_seconds"], 4),
        "cpu_seconds": round(outcome["cpu_seconds"], 4),
        "peak_rss_mb": round(outcome["peak_rss_mb"], 1),
        "limits": job["limits"],
        "threads": job["threads"],
        "parameters": job["parameters"],
        "host": attempt["host"],
        "cluster_job": attempt["cluster_job"],
        "started": attempt["started"],
        **job["facts"],
    }


def _status(outcome: Mapping[str, Any], result: Mapping[str, Any]) -> tuple[str, str | None]:
    if outcome["stop"]:
        return outcome["stop"]
    code = outcome["code"]
    if code < 0:
        name = signal.Signals(-code).name
        hint = "; often the kernel's answer to a machine out of memory" if name == "SIGKILL" else ""
        return "killed", f"died of {name}, sent from outside or by a crash{hint}"
    if "status" not in result:
        return "failed", f"ended with status {code} before it could report"
    return result["status"], result["reason"]


def _settle(folder: Path, work: Path, record: dict[str, Any]) -> None:
    """Move what the child wrote into place; the record comes last."""
    if record["status"] == "ok":
        for name in ("predictions.parquet", "probabilities.npz", "decisions.npz", "embedding.npz", "model"):
            if (work / name).exists():
                os.replace(work / name, folder / name)
    else:
        from annobench.fit.predictions import write_empty

        write_empty(folder / "predictions.parquet")
        record["probabilities"] = record["decisions"] = False
    if (work / "traceback.txt").is_file():
        os.replace(work / "traceback.txt", folder / "traceback.txt")
        record["traceback"] = "traceback.txt"
    write_json(folder / "run.json", record)
