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
