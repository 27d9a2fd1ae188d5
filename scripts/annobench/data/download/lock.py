"""Hashes of files that were downloaded without a stated one: recorded once, enforced from then on."""

import fcntl
import os
from pathlib import Path

import yaml

from annobench.core.errors import DownloadError
from annobench.core.files import atomic

_HEAD = """\
# SHA-256 of downloads whose dataset or method file states none, recorded at the first one and enforced from then on.
# Written by annobench; delete a line to accept a new file.
"""


def recorded(lock_file: Path, dataset: str, file: str) -> str | None:
    """The hash that the first download of a dataset's file had; None where there was none."""
    known = (yaml.safe_load(lock_file.read_text(encoding="utf-8")) or {}) if lock_file.is_file() else {}
    found: str | None = known.get(dataset, {}).get(file)
    return found


def changed(error: DownloadError, lock_file: Path, dataset: str, file: str) -> DownloadError:
    """The error of a download that is not what the lock file recorded, with what to do."""
    return DownloadError(
        f"{error}\nThe expected sha256 is that of the first download, recorded in {lock_file} under {dataset}, {file}. "
        "If the source has changed and the new file is wanted, delete that line."
    )


def enforce(lock_file: Path, dataset: str, file: str, sha256: str) -> None:
    """Record the hash of a dataset's file, or check it against the recorded one; raises DownloadError."""
    lock_file.parent.mkdir(parents=True, exist_ok=True)
    guard = os.open(lock_file.parent, os.O_RDONLY)
    try:
        fcntl.flock(guard, fcntl.LOCK_EX)
        known = (yaml.safe_load(lock_file.read_text(encoding="utf-8")) or {}) if lock_file.is_file() else {}
        recorded = known.setdefault(dataset, {}).setdefault(file, sha256)
        if recorded != sha256:
            raise DownloadError(
                f"{dataset}: {file} has sha256 {sha256}, but {lock_file} recorded {recorded} at the first download; "
                "the source has changed. Delete that line to accept the new file."
            )
        with atomic(lock_file) as temporary:
            temporary.write_text(_HEAD + yaml.safe_dump(known, sort_keys=True), encoding="utf-8")
    finally:
        os.close(guard)
