"""What is promised: the commands of docs/tutorial.md run as they stand there, and leave what the page says."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from annobench.core.paths import ROOT
from helpers import clone
from repo import environment

PAGE = ROOT / "docs" / "tutorial.md"
MAKES = ("labelled.h5ad", "new.h5ad", "annotated.h5ad", "annotated.h5ad.json", "figures/umap_annotated.png")


def blocks(kind: str) -> list[str]:
    """The blocks of the page: commands (`sh`), or what they print (no kind)."""
    found = re.findall(r"^```(\w*)\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    assert {one for one, _ in found} == {"sh", ""}
    return [text for one, text in found if one == kind]


def lend_environment(folder: Path) -> None:
    """Give a clone an environment that make takes for complete: the one that runs this test, under another name."""
    programs = folder / ".venv" / "bin"
    programs.mkdir(parents=True)
    for name, command in (("python", ""), ("annobench", " -m annobench")):
        (programs / name).write_text(
            f'#!/bin/sh\nPYTHONPATH="{folder}/scripts" exec "{sys.executable}"{command} "$@"\n', encoding="utf-8"
        )
        (programs / name).chmod(0o755)
    known = subprocess.run(["make", "-pn", "-q", "help"], cwd=folder, capture_output=True, text=True).stdout
    stamps = re.findall(r"^(?:RUN|DEV|COMMAND)_STAMP := (\S+)$", known, re.MULTILINE)
    assert len(stamps) == 3, known[-2000:]
    for stamp in sorted(stamps, key=lambda name: "run" not in name):
        (folder / stamp).touch()


def test_commands_of_the_page_are_those_that_there_are() -> None:
    text = "\n".join(blocks("sh"))
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"^make ([a-z-]+)", text, re.MULTILINE)) <= targets


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("make"), reason="make is not installed")
def test_the_tutorial_runs_as_it_stands(tmp_path: Path) -> None:
    repo = clone(tmp_path)
    lend_environment(repo)
    printed = ""
    for block in blocks("sh"):
        done = subprocess.run(
            ["bash", "-eu", "-o", "pipefail", "-c", block],
            cwd=repo,
            env=environment() | {"MPLBACKEND": "Agg", "MAKEFLAGS": ""},
            capture_output=True,
            text=True,
            timeout=1800,
        )
        printed += done.stdout
        assert done.returncode == 0, f"{block}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
    for name in MAKES:
        assert (repo / name).is_file(), name
    for table in ("ranking", "tests"):
        assert (repo / "results" / "tables" / "my_study" / f"{table}.csv").is_file()
    assert "my_method keeps the contract" in printed
    shown = "".join(blocks(""))  # is printed, but for the rest of long lines
    for line in shown.splitlines():
        begun = line.split(", ...")[0].rstrip()
        assert begun in ("", "...") or begun in printed, line
    assert os.path.getsize(repo / "figures" / "umap_annotated.png") > 10_000
