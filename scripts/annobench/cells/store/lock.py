"""A lock that lets one writer at a time work on a store."""

import fcntl
import os
from contextlib import suppress
from pathlib import Path

from annobench.cells.store.manifest import LOCK, SOURCE
from annobench.core.errors import DataError
from annobench.core.files import read_json


def locked(folder: Path) -> int:
    """Lock a folder, creating it where it is missing; returns a file descriptor that releases the lock when closed.

    The system releases the lock when the process ends, in whatever way. Raises DataError where another writer has it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        owner = "another process"
        with suppress(DataError, OSError, KeyError):
            owner = read_json(folder / SOURCE)["writer"]
        raise DataError(f"{folder}: is being written by {owner}; wait for it, or stop it first") from None
    return lock
