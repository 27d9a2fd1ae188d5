"""What is promised: checkouts that share an environment each run their own code."""

import os
from pathlib import Path

import pytest

from repo import Repo


def test_drivers_import_the_library_of_their_own_checkout(
    repo: Repo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another checkout is installed in the environment, or on PYTHONPATH."""
    other = tmp_path / "other" / "annobench"
    other.mkdir(parents=True)
    (other / "__init__.py").write_text("raise RuntimeError('the other checkout')\n")
    monkeypatch.setattr("repo.environment", lambda: os.environ | {"PYTHONPATH": str(other.parent)})
    repo.snakemake("results/ontology/cl-2026-03-26.json")
    assert (repo.folder / "results/ontology/cl-2026-03-26.json").is_file()
