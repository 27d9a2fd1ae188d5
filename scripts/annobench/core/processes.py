"""Processes that end with their parent."""

import ctypes
import signal
import sys


def die_with_parent() -> None:
    """On Linux, have this process killed when its parent ends, however that happens; elsewhere do nothing."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
