"""Folders whose names break shells and Snakemake are refused at once."""

import subprocess
import sys
from pathlib import Path

import pytest

from annobench.core.paths import ROOT
from annobench.core.place import problem


@pytest.mark.parametrize(
    "name", ["a b", "v(1)", "user's", 'a"b', "a[1]", "{a}", "a$b", "a&b", "a;b", "a*", "a\\b", "a\tb"]
)
def test_refused(tmp_path: Path, name: str) -> None:
    found = problem(tmp_path / name / "repo")
    assert found is not None
    assert "move it to a folder" in found


@pytest.mark.parametrize("name", ["a-b_c.d", "Ünïcode", "細胞", "a+b", "a@b", "a=b", "a,b", "a~b"])
def test_taken(name: str) -> None:
    assert problem(Path("/home") / name) is None


def test_as_a_script_before_there_is_an_environment(tmp_path: Path) -> None:
    script = ROOT / "scripts" / "annobench" / "core" / "place.py"
    for name, said in (("good", False), ("my project (v1)", True)):
        folder = tmp_path / name
        folder.mkdir()
        done = subprocess.run(
            [sys.executable, "-I", str(script)], cwd=folder, capture_output=True, text=True, check=True
        )
        assert ("'('" in done.stdout) == said


def test_make_refuses_such_a_folder(tmp_path: Path) -> None:
    folder = tmp_path / "my project"
    (folder / "scripts" / "annobench" / "core").mkdir(parents=True)
    for name in ("Makefile", "scripts/annobench/core/place.py", "requirements.txt", "requirements-dev.txt"):
        (folder / name).write_bytes((ROOT / name).read_bytes())
    done = subprocess.run(["make", "run"], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 2
    assert "has a blank in it" in done.stderr
    assert not (folder / ".venv").exists()
