"""Clones of the repository in which real runs happen."""

from collections.abc import Callable
from pathlib import Path

import pytest

from repo import Repo


@pytest.fixture
def repo(tmp_path: Path) -> Repo:
    """A fresh clone."""
    return Repo(tmp_path)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Repo:
    """A clone in which the tiny study has been run; tests that change it put it back."""
    found = Repo(tmp_path_factory.mktemp("finished"))
    found.run()
    return found


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
