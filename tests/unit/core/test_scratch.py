"""Temporary folders that are gone after the run, also after one that was killed."""

import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from annobench.core.scratch import scratch_folder


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_a_folder_is_gone_afterwards(place: Path) -> None:
    with scratch_folder() as folder:
        (folder / "a").mkdir()
        assert folder.parent == place
    assert not list(place.iterdir())


def test_folders_of_killed_processes_are_removed_by_the_next(place: Path) -> None:
    ended = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, text=True)
    abandoned = place / f"annobench-{platform.node()}-{int(ended.stdout)}-abc123"
    kept = [
        place / f"annobench-{platform.node()}-{os.getpid()}-abc123",  # of this process, which runs
        place / f"annobench-elsewhere-{int(ended.stdout)}-abc123",  # of another machine
        place / "annobench-mine",
        place / "other",
    ]
    for folder in (abandoned, *kept):
        (folder / "deep").mkdir(parents=True)
    with scratch_folder():
        assert not abandoned.exists()
        assert all(folder.exists() for folder in kept)
