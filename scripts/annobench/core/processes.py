"""Processes that end with their parent, and processes that are forked from one that is warm.

A warm process has imported what jobs import, and does nothing but fork them (see annobench.workflow.warm_server). What
it forks may fork in turn: a fit forks its child, which then needs no second interpreter.
"""

import ctypes
import os
import signal
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import psutil

# Of a process with one thread: libraries read these when they are loaded.
THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "NUMBA_NUM_THREADS",
)

_at_end: Callable[[], None] | None = None  # of a process that was forked from a warm one


def die_with_parent() -> None:
    """On Linux, have this process killed when its parent ends, however that happens; elsewhere do nothing."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


class Descendants:
    """All processes that a process of ours starts, also those that leave its group and session to outlive it.

    On Linux this process becomes the parent of orphans among its descendants; elsewhere they are not found.
    """

    def __init__(self) -> None:
        import psutil

        self._before = {child.pid for child in psutil.Process().children()}
        self._cpu_seconds, self._peak = 0.0, 0
        if sys.platform == "linux":
            ctypes.CDLL(None).prctl(36, 1)  # PR_SET_CHILD_SUBREAPER

    def running(self) -> "list[psutil.Process]":
        """Those that run now, children before their own children."""
        import psutil

        first = [child for child in psutil.Process().children() if child.pid not in self._before]
        found = list(first)
        for child in first:
            with suppress(psutil.NoSuchProcess):
                found += child.children(recursive=True)
        return found

    def end(self, waited_for: int) -> "tuple[float, int]":
        """Kill all of them.

        Parameters
        ----------
        waited_for
            The process that somebody else waits for.

        Returns
        -------
        cpu_seconds, peak
            Processor time of those that outlived their parents, and the largest peak of resident memory among them, in
            the unit of `ru_maxrss`.
        """
        import psutil

        while found := [one for one in self.running() if one.pid != waited_for]:
            for one in found:
                with suppress(psutil.NoSuchProcess):
                    one.kill()
            for one in found:
                with suppress(ChildProcessError):  # a child of a child, until that has ended
                    _, _, usage = os.wait4(one.pid, 0)
                    self._cpu_seconds += usage.ru_utime + usage.ru_stime
                    self._peak = max(self._peak, usage.ru_maxrss)
        return self._cpu_seconds, self._peak


def is_warm() -> bool:
    """Whether this process was forked from a warm one, and may fork."""
    return _at_end is not None


def fork(work: Callable[[], int], at_end: Callable[[], None] | None = None) -> int:
    """Do work in a forked copy of this process.

    Threads do not survive a fork, and locks that they hold stay locked: call it in processes with one thread only.

    Parameters
    ----------
    work
        Returns the exit status. What it raises is printed, and the status is 1.
    at_end
        Called in the copy, and in those that it forks in turn, when their work is done. By default that of this
        process.

    Returns
    -------
    int
        Process id of the copy.
    """
    global _at_end
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child:
        return child
    status = 1
    try:
        _at_end = at_end or _at_end
        _as_if_started_anew()
        status = work()
    except BaseException:  # noqa: BLE001 - nothing may return into the code that forked
        traceback.print_exc()
    finally:
        try:
            if _at_end:
                _at_end()
            sys.stdout.flush()
            sys.stderr.flush()
        finally:
            os._exit(status)


def _as_if_started_anew() -> None:
    """Undo what a copy has of the process that forked it and a new one would not have."""
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in (signal.SIGTERM, signal.SIGCHLD):
        signal.signal(number, signal.SIG_DFL)
    if numpy := sys.modules.get("numpy"):
        numpy.random.seed()  # its global generator: copies would draw the same numbers
