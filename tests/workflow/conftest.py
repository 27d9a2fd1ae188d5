"""Clones of the repository in which real runs happen."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock

from repo import NO_NETWORK, Repo, can_be_offline


@pytest.fixture
def repo(tmp_path: Path) -> Repo:
    """A fresh clone."""
    return Repo(tmp_path)


@pytest.fixture(scope="session")
def example(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone in which the tiny study has been run, without a network where that can be; all workers share it.

    Tests copy it and change the copy.
    """
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    folder = shared / "example"
    with FileLock(shared / "example.lock"):
        if not (folder / "how").is_file():
            offline = can_be_offline()
            Repo(folder).run(before=NO_NETWORK if offline else ())
            (folder / "how").write_text("offline" if offline else "online")
    return folder / "repo"


@pytest.fixture
def done(example: Path, tmp_path: Path) -> Repo:
    """A clone of one's own in which the tiny study has been run."""
    return Repo(tmp_path, like=example)


@pytest.fixture(scope="module")
def finished(example: Path, tmp_path_factory: pytest.TempPathFactory) -> Repo:
    """A clone in which the tiny study has been run; tests that change it put it back."""
    return Repo(tmp_path_factory.mktemp("finished"), like=example)


@pytest.fixture
def restored(finished: Repo) -> "Callable[[str], None]":
    """Call it with the files that a test changes; they are put back afterwards."""
    kept: dict[Path, str] = {}

    def keep(*files: str) -> None:
        for file in files:
            path = finished.folder / file
            kept[path] = path.read_text()

    yield keep
    for path, text in kept.items():
        path.write_text(text)
