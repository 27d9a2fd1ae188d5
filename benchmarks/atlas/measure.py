"""Measurements in fresh processes, in turn and under the same conditions; results as JSON lines and one table."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
PEERS = ROOT / "benchmarks" / ".venv-peers" / "bin" / "python"
PIECE = 2**24  # bytes of one read

Record = dict[str, Any]


def worker(task: str, *, peer: bool = False, cores: str | None = None, **parameters: Any) -> Record:
    """Run a task of worker.py in a process of its own, in our environment or the peers'; returns its record."""
    python = str(PEERS) if peer else sys.executable
    if not Path(python).exists():
        raise FileNotFoundError(f"{python} is missing: see the top of benchmarks/requirements.txt")
    command = [python, "-m", "benchmarks.atlas.worker", json.dumps({"task": task, **parameters})]
    if cores:
        command = ["taskset", "-c", cores, *command]
    # for all alike: how long idle threads of PyTorch occupy a core (see annobench.core.threads.SPIN)
    environment = {"GOMP_SPINCOUNT": "10000", **os.environ, "PYTHONPATH": str(ROOT / "scripts")}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{task} {parameters} ended with {done.returncode}:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def in_turn(jobs: dict[str, Callable[[], Record]], rounds: int, once: Iterable[str] = ()) -> dict[str, list[Record]]:
    """Run every job in every round, one after the other; jobs in `once` in the first round only.

    Prints a line for each. A job that fails is reported, and left out of later rounds.
    """
    records: dict[str, list[Record]] = {name: [] for name in jobs}
    failed: set[str] = set()
    for number in range(rounds):
        for name, job in jobs.items():
            if name in failed or (number and name in once):
                continue
            try:
                records[name].append(job())
            except RuntimeError as error:
                failed.add(name)
                print(error, file=sys.stderr, flush=True)
                print(json.dumps({"name": name, "round": number, "error": str(error).splitlines()[-1]}), flush=True)
            else:
                print(json.dumps({"name": name, "round": number, **records[name][-1]}), flush=True)
    return {name: rows for name, rows in records.items() if rows}


def middle(records: list[Record], key: str) -> float:
    """The median of a value over the rounds."""
    return median(record[key] for record in records)


def table(head: list[str], rows: list[list[Any]]) -> None:
    """Print a table in Markdown."""
    print()
    for row in (head, ["---"] * len(head), *rows):
        print("| " + " | ".join(str(cell) for cell in row) + " |")
    print(flush=True)


def files(path: Path) -> list[Path]:
    """The file itself, or all files of a folder in order."""
    return [path] if path.is_file() else sorted(file for file in path.rglob("*") if file.is_file())


def warm(path: Path) -> int:
    """Read everything once, so that it is in the page cache as far as it fits; returns the bytes."""
    buffer, total = bytearray(PIECE), 0
    for file in files(path):
        with open(file, "rb", buffering=0) as handle:
            while size := handle.readinto(buffer):
                total += size
    return total


def cool(path: Path) -> None:
    """Drop the files from the page cache; the host of a virtual machine may still cache them."""
    os.sync()
    for file in files(path):
        descriptor = os.open(file, os.O_RDONLY)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)
    with suppress(OSError):  # only root may
        Path("/proc/sys/vm/drop_caches").write_text("1\n")


class Memory:
    """Peak resident memory (MB) of this process: `total`, and `anonymous` without the pages of mapped files."""

    def __enter__(self) -> "Memory":
        self.total = self.anonymous = 0.0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        self._thread.join()
        self._look()

    def _watch(self) -> None:
        while not self._stop.wait(0.05):
            self._look()

    def _look(self) -> None:
        status = dict(_status())
        self.total = max(self.total, status["VmRSS"])
        self.anonymous = max(self.anonymous, status["RssAnon"])


def _status() -> Iterator[tuple[str, float]]:
    for line in Path("/proc/self/status").read_text().splitlines():
        key, _, value = line.partition(":")
        if key in ("VmRSS", "RssAnon"):
            yield key, int(value.split()[0]) / 1024
