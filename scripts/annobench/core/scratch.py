"""Temporary folders that are gone after the run, also after one that was killed.

The name of a folder holds the machine and the process that it belongs to. Whoever makes the next one removes those of
processes of this machine that run no more.
"""

import os
import platform
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_NAME = re.compile(r"annobench-(?P<host>.+)-(?P<pid>\d+)-[^-]+")


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """A temporary folder that belongs to this process, in the usual place ($TMPDIR)."""
    place = Path(tempfile.gettempdir())
    remove_abandoned(place)
    folder = Path(tempfile.mkdtemp(prefix=f"annobench-{_host()}-{os.getpid()}-", dir=place))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def remove_abandoned(place: Path) -> int:
    """Remove the folders of processes that ended without doing so; returns how many.

    Parameters
    ----------
    place
        Folder of temporary folders.
    """
    removed = 0
    with suppress(OSError):
        for entry in os.scandir(place):
            found = _NAME.fullmatch(entry.name)
            if not found or found["host"] != _host() or _runs(int(found["pid"])):
                continue
            with suppress(OSError):
                if entry.is_dir(follow_symlinks=False) and entry.stat(follow_symlinks=False).st_uid == os.getuid():
                    shutil.rmtree(entry.path, ignore_errors=True)
                    removed += 1
    return removed


def _host() -> str:
    return platform.node() or "localhost"


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True  # it is somebody else's
    return True
