"""File helpers: hashes, atomic writes, JSON, links, full disks."""

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from annobench.core.errors import DataError


def expanded(path: str) -> Path:
    """A path as users write it: `~` and variables such as $ANNOBENCH_DATA are replaced."""
    return Path(os.path.expandvars(path)).expanduser()


def inside(folder: Path, name: str) -> Path:
    """A file of a folder by a name that comes from outside; raises DataError where it would lie anywhere else.

    Parameters
    ----------
    folder
        Where the file lies or is to be written.
    name
        A plain file name: no folders, no `..`, no control characters.
    """
    if name in ("", ".", "..") or not name.isprintable() or "/" in name or "\\" in name:
        raise DataError(f"'{name}' is not a plain file name; expected one without folders, such as 'cells.h5ad'")
    return folder / name


def sha256_of(path: str | Path) -> str:
    """SHA-256 of a file, read in pieces."""
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


@contextmanager
def atomic(path: str | Path) -> Iterator[Path]:
    """Give a temporary path beside `path`; rename it into place if the block succeeds, else remove it.

    A full disk becomes a DataError that says where it is and how much space is free.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        if is_disk_full(error):
            raise disk_full(path) from error
        raise
    finally:
        temporary.unlink(missing_ok=True)


def is_disk_full(error: BaseException) -> bool:
    """Whether an error means that the disk is full, also if a library has wrapped it."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, OSError) and seen.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            return True
        if "No space left on device" in str(seen) or "errno = 28" in str(seen):  # h5py and pyarrow keep only the text
            return True
        seen = seen.__cause__ or seen.__context__
    return False


def disk_full(path: Path) -> DataError:
    """The error for a full disk at `path`."""
    free = shutil.disk_usage(path.parent).free / 1e6
    return DataError(f"{path}: the disk is full ({free:.1f} MB free); make room and run the same command again")


def write_json(path: str | Path, document: object) -> None:
    """Write JSON atomically, with sorted keys."""
    with atomic(path) as temporary:
        temporary.write_text(json.dumps(document, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def read_json(path: str | Path) -> Any:
    """Read a JSON file; raises DataError where it is damaged."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except ValueError as error:
        raise damaged(path, error) from error


def read_foreign_json(path: str | Path) -> dict[str, object]:
    """Read a JSON file that another program has written; raises DataError where it does not hold a mapping."""
    path = Path(path)
    if not path.is_file():
        raise DataError(f"{path}: there is no such file")
    try:
        found = json.loads(path.read_bytes())
    except ValueError as error:
        raise DataError(f"{path.name}: is not readable as JSON ({error}); write it again") from error
    if not isinstance(found, dict):
        raise DataError(f"{path.name}: holds a {type(found).__name__}, expected a mapping in braces")
    return found


def damaged(path: str | Path, error: Exception) -> DataError:
    """The error for a file under results/ that cannot be read."""
    return DataError(f"{path}: is damaged ({error}); delete it, and the next run that needs it makes it again")


def link(original: Path, destination: Path) -> Path:
    """Hard-link a file where the file system allows it, else copy it, so that the results folder is complete."""
    destination.unlink(missing_ok=True)
    try:
        os.link(original, destination)
    except OSError:
        try:
            shutil.copyfile(original, destination)
        except OSError as error:
            raise (disk_full(destination) if is_disk_full(error) else error) from error
    return destination
