"""Runs the jobs of Snakemake in processes that are forked from warm ones.

The first job of a kind runs in a copy of a process that holds what every fit imports, and says what else it imported.
Kinds that import the same packages share one warm process from then on. Nothing is declared, so a new method, table or
figure is warm like any other; and a job has in memory what it would have alone.
"""

import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Hashable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from typing import Any

from annobench.core.errors import AnnobenchError
from annobench.core.paths import SCRIPTS
from annobench.core.processes import THREAD_VARIABLES
from annobench.core.threads import SPIN
from annobench.workflow import warm_server
from annobench.workflow.call import Call

COMMON = (  # what every fit imports
    "annobench.fit.parent",
    "annobench.fit.child",
    "annobench.fit.inputs",
    "annobench.fit.writer",
    "anndata",
    "pyarrow.parquet",
)
MOST = 8  # warm processes at a time; each holds 60 to 250 MB


class NotWarmError(AnnobenchError):
    """A job did not begin: no warm process can run it."""


@dataclass(frozen=True)
class Ending:
    """How a job ended: exit status (negative for a signal; None where only its death is known), time and memory."""

    status: int | None
    seconds: float
    peak_rss_mb: float | None = None
    cpu_seconds: float | None = None


class Warm:
    """The warm processes of one run."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._servers: dict[frozenset[str], _Server] = {}  # packages -> process; the last one was used last
        self._modules: dict[Hashable, tuple[str, ...]] = {}  # kind of job -> what it imports
        self._learning: set[Hashable] = set()
        self._cold: set[Hashable] = set()

    def run(self, call: Call, kind: Hashable) -> Ending:
        """Run a job and wait for its end.

        Parameters
        ----------
        call
            The job.
        kind
            Jobs of one kind import the same.

        Raises
        ------
        NotWarmError
            Where the job did not begin.
        """
        while kind not in self._cold:
            learn, server = self._server(kind)
            outcome = server.run(call, learn=learn)
            with self._lock:
                if learn:
                    self._learning.discard(kind)
                if outcome.ending:
                    if outcome.modules and outcome.ending.status == 0:
                        self._modules[kind] = tuple(outcome.modules)
                    return outcome.ending
                self._servers = {key: other for key, other in self._servers.items() if other is not server}
                server.close()
                if not server.worked:  # it cannot be had, so it would not help to start it again
                    if self._modules.get(kind, COMMON) == COMMON:
                        self._cold.add(kind)
                    self._modules[kind] = COMMON
        raise NotWarmError(f"no warm process can run {kind}")

    def close(self) -> None:
        """Have all warm processes end."""
        with self._lock:
            for server in self._servers.values():
                server.close()
            self._servers.clear()

    def _server(self, kind: Hashable) -> "tuple[bool, _Server]":
        """Whether the next job of a kind shall say what it imports, and the process that forks it."""
        with self._lock:
            modules = self._modules.get(kind, COMMON)
            learn = kind not in self._modules and kind not in self._learning
            if learn:
                self._learning.add(kind)
            packages = _packages(modules)
            server = self._servers.pop(packages, None) or _Server(modules)
            self._servers[packages] = server
            if len(self._servers) > MOST:
                self._servers.pop(next(iter(self._servers))).close()
            return learn, server


@cache
def _packages(modules: tuple[str, ...]) -> frozenset[str]:
    """The packages that make the size of a process; asked for before every job."""
    return frozenset(name.partition(".")[0] for name in modules) - sys.stdlib_module_names - {"annobench"}


@dataclass(frozen=True)
class _Outcome:
    """How a job ended, None where it did not begin; and what it imported, where it was to say so."""

    ending: Ending | None
    modules: Sequence[str]


class _Server:
    """One warm process."""

    worked = False  # whether a job began in it

    def __init__(self, modules: Sequence[str]) -> None:
        ours, theirs = socket.socketpair()
        environment = os.environ | dict.fromkeys(THREAD_VARIABLES, "1") | SPIN
        environment |= {"PYTHONPATH": str(SCRIPTS), "PYTHONHASHSEED": "0"}
        command = [sys.executable, "-m", "annobench.workflow.warm_server", "snakemake", str(theirs.fileno())]
        with theirs:
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, env=environment, pass_fds=[theirs.fileno()], text=True
            )
        assert self._process.stdin is not None
        with suppress(BrokenPipeError), self._process.stdin as stdin:
            json.dump(list(modules), stdin)
        self._control, self._lock = ours, threading.Lock()

    def run(self, call: Call, *, learn: bool) -> _Outcome:
        """Run a job and wait for its end."""
        ours, theirs = socket.socketpair()
        start = time.monotonic()
        said: dict[str, Any] = {}
        with ours:
            with theirs, suppress(OSError), self._lock:
                socket.send_fds(self._control, [warm_server.LEARN if learn else warm_server.RUN], [theirs.fileno()])
            with suppress(OSError):
                warm_server.write(ours, call)
            with suppress(OSError), ours.makefile("r", encoding="utf-8") as lines:
                for line in lines:
                    message = json.loads(line)
                    if "modules" in message and len(message["modules"]) < len(said.get("modules", ())):
                        continue  # a fit has imported more than the job around it
                    said |= message
                    if "status" in message:
                        break
        if "began" not in said:
            return _Outcome(None, ())
        self.worked = True
        status = said.get("status", said.get("code"))
        seconds = time.monotonic() - start
        ending = Ending(status, seconds, said.get("peak_rss_mb"), said.get("cpu_seconds"))
        return _Outcome(ending, said.get("modules", ()))

    def close(self) -> None:
        """Have it end once its jobs have."""
        self._control.close()
        threading.Thread(target=self._process.wait, daemon=True).start()  # no zombie stays, and nothing waits
