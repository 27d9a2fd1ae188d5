"""A warm process: it imports what jobs of one kind import, once, and forks each job in milliseconds.

    python -m annobench.workflow.warm_server snakemake <descriptor>

The last argument is one end of a socket pair. The modules to import come as JSON on standard input. Then every byte on
the socket brings one end of another pair: the connection of a job. The job reads what it shall do there (a pickled
`Call`), and answers in lines of JSON: `{"began": true}`; `{"code": 0}`, its exit status; and after the byte `LEARN`
also `{"modules": [...]}`, all that is imported at its end. When it has ended, this process adds `{"status": ...,
"peak_rss_mb": ..., "cpu_seconds": ...}`.

Nothing runs here but imports, so a job that dies takes nothing with it; and jobs go on if this process dies. It ends
when the other end of its socket is closed and its last job has ended.
"""

import contextlib
import gc
import importlib
import json
import os
import pickle
import runpy
import selectors
import signal
import socket
import sys
import traceback
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from annobench.core import pages
from annobench.core.processes import fork
from annobench.workflow.call import Call

LEARN, RUN = b"L", b"R"  # whether a job shall say what it imported
_SIZE = 8  # bytes that say how long a call is
THREADS = 3  # exit status of a process in which importing started threads: it cannot be forked safely
_SAFE_THREADS = ("jemalloc_bg_thd",)  # of the allocator of pyarrow, which prepares for forks by itself


def main(descriptor: int) -> None:
    """Import, then serve until Snakemake ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches Snakemake and the jobs, which end; then this does
    modules = json.load(sys.stdin)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    preload(modules)
    if threads := _threads():
        print(f"importing started threads ({', '.join(threads)}): no process can be forked from this one", flush=True)
        sys.exit(THREADS)
    with contextlib.suppress(OSError):  # a sandbox that hides them: peaks of fits are then too small
        pages.remember()
    serve(socket.socket(fileno=descriptor))


def preload(modules: Sequence[str]) -> None:
    """Import modules, in this order; those that cannot be imported by name are left out."""
    gc.disable()
    for name in modules:
        if name not in sys.modules:
            with contextlib.suppress(Exception):
                importlib.import_module(name)
    gc.collect()
    gc.freeze()  # else the first collection in every job would touch, and copy, each page of what was imported
    gc.enable()


def _threads() -> list[str]:
    """Names of the threads of this process that a copy would miss."""
    tasks = Path("/proc/self/task")
    names = [(task / "comm").read_text().strip() for task in tasks.iterdir() if int(task.name) != os.getpid()]
    return [name for name in names if name not in _SAFE_THREADS]


def serve(control: socket.socket) -> None:
    """Fork a job for each connection that comes; returns when there are none to come and none that run."""
    woken, wake = os.pipe()
    for end in (woken, wake):
        os.set_blocking(end, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake)
    jobs: dict[int, socket.socket] = {}
    selector = selectors.DefaultSelector()
    selector.register(control, selectors.EVENT_READ)
    selector.register(woken, selectors.EVENT_READ)
    is_open = True
    while is_open or jobs:
        for key, _ in selector.select():
            if key.fileobj is not control:
                with contextlib.suppress(BlockingIOError):
                    os.read(woken, 4096)
                _report_ended(jobs)
                continue
            data, descriptors, _, _ = socket.recv_fds(control, 1, 1)
            if not data:
                selector.unregister(control)
                is_open = False
                continue
            connection = socket.socket(fileno=descriptors[0])
            mine = [control.fileno(), woken, wake, *(other.fileno() for other in jobs.values())]
            at_end = partial(_end, connection, learn=data == LEARN)
            jobs[fork(partial(_job, connection, mine), at_end)] = connection


def _report_ended(jobs: dict[int, socket.socket]) -> None:
    """Say how jobs ended."""
    unit = 1024 if sys.platform == "linux" else 1
    while jobs:
        ended, status, usage = os.wait4(-1, os.WNOHANG)
        if not ended:
            return
        with jobs.pop(ended) as connection:
            _say(
                connection,
                status=os.waitstatus_to_exitcode(status),
                peak_rss_mb=usage.ru_maxrss * unit / 1e6,
                cpu_seconds=usage.ru_utime + usage.ru_stime,
            )


def _job(connection: socket.socket, others: Sequence[int]) -> int:
    """Run the script of one job, in a process of its own; returns the exit status."""
    for descriptor in others:
        os.close(descriptor)
    _say(connection, began=True)
    call: Call = pickle.loads(_read(connection))  # noqa: S301 - from Snakemake's own process
    try:
        runpy.run_path(call.script, {"snakemake": call}, "__main__")
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:  # noqa: BLE001 - the job ends here, as an interpreter would
        traceback.print_exc()
        code = 1
    _say(connection, code=code)
    return code


def _end(connection: socket.socket, *, learn: bool) -> None:
    """Say what was imported, if that is asked for; a process that the job forked may have said it before."""
    if learn:
        _say(connection, modules=[name for name in sys.modules if name != "__main__"])
    connection.close()


def _say(connection: socket.socket, **message: object) -> None:
    with contextlib.suppress(OSError):  # nobody listens any more
        connection.sendall(json.dumps(message).encode() + b"\n")


def write(connection: socket.socket, call: Call) -> None:
    """Send a call."""
    data = pickle.dumps(call)
    connection.sendall(len(data).to_bytes(_SIZE, "big") + data)


def _read(connection: socket.socket) -> bytes:
    def exactly(size: int) -> bytes:
        data = b""
        while len(data) < size:
            if not (part := connection.recv(size - len(data))):
                raise EOFError
            data += part
        return data

    return exactly(int.from_bytes(exactly(_SIZE), "big"))


if __name__ == "__main__":
    main(int(sys.argv[2]))
