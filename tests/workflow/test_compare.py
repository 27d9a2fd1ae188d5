"""What is promised: `annobench compare` says what changed between two commits, and what it did to every method."""

import re
import shutil
import subprocess
from pathlib import Path

from helpers import annobench
from repo import Repo


def test_two_commits_are_compared(done: Repo, tmp_path: Path) -> None:
    before = tmp_path / "before"
    shutil.copytree(done.folder / "results", before)
    method = done.folder / "config/methods/nearest_centroid.yaml"
    method.write_text(method.read_text() + "parameters: {n_genes: 50}\n")
    who = ["-c", "user.name=somebody", "-c", "user.email=somebody@example.org"]
    for words in (["init", "-q"], ["add", "config"], [*who, "commit", "-qm", "Fewer genes"]):
        subprocess.run(["git", *words], cwd=done.folder, check=True)
    done.run()
    out = tmp_path / "changes.csv"
    answer = annobench(done.folder, "compare", str(before), ".", "--study", "tiny", "--out", str(out), timeout=300)
    assert answer.returncode == 0, answer.stderr
    assert "methods.nearest_centroid.parameters" in answer.stdout
    assert re.search(r"commit: nothing -> \w+", answer.stdout)
    rows = out.read_text().splitlines()
    assert len(rows) == 3
    same = next(line for line in answer.stdout.splitlines() if "Logistic regression" in line)
    assert "+0.000" in same
    assert "0.00%" in same
    wrong = annobench(done.folder, "compare", "nowhere", ".", "--study", "tiny", timeout=300)
    assert wrong.returncode == 2
    assert "neither a folder of results nor a method" in wrong.stderr
