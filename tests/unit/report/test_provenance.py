"""Provenance: files of configuration and code that a commit does not hold as they are."""

import hashlib
import subprocess
from pathlib import Path

import pytest

from annobench.report.provenance import uncommitted


def git(folder: Path, *arguments: str) -> None:
    identity = ("-c", "user.name=a", "-c", "user.email=a@b.c")
    subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True)


def hash_of(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    root = tmp_path / "repo"
    for name in ("config/methods/a.yaml", "config/methods/b.yaml", "config/labels/old.tsv", "README.md"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)
    git(tmp_path, "init", "-q", "repo")
    git(root, "add", "-A")
    git(root, "commit", "-q", "-m", "first")
    monkeypatch.chdir(root)
    return root


def test_a_commit_that_holds_all(repository: Path) -> None:
    (repository / "README.md").write_text("no result depends on it")
    assert uncommitted(repository) == {}


def test_untracked_changed_and_deleted_files(repository: Path) -> None:
    (repository / "config/datasets").mkdir()
    (repository / "config/datasets/my cells é.yaml").write_text("mine")
    (repository / "config/methods/b.yaml").write_text("other")
    (repository / "config/labels/old.tsv").unlink()
    assert uncommitted(repository) == {
        "config/datasets/my cells é.yaml": {"state": "untracked", "sha256": hash_of("mine")},
        "config/methods/b.yaml": {"state": "changed", "sha256": hash_of("other")},
        "config/labels/old.tsv": {"state": "deleted", "sha256": None},
    }


def test_a_study_with_a_configuration_of_its_own(repository: Path, tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "mine" / "config" / "studies").mkdir(parents=True)
    (tmp_path / "mine" / "config" / "studies" / "s.yaml").write_text("s")
    monkeypatch.chdir(tmp_path / "mine")
    assert uncommitted(repository) == {"config/studies/s.yaml": {"state": "outside", "sha256": hash_of("s")}}


def test_no_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert uncommitted(tmp_path) == {}
