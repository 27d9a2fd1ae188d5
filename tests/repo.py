"""Clones of the repository in which tests do real runs."""

import csv
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import yaml

from helpers import annobench, clone

BROKEN = Path(__file__).parent / "data" / "methods"
NO_NETWORK = ("unshare", "--net", "--map-root-user")
TINY = {
    "study": "tiny",
    "seeds": [1],
    "methods": ["nearest_centroid", "logistic_regression"],
    "controls": ["majority"],
    "evaluations": [{"dataset": "simulated_small", "regime": "holdout"}],
    "statistics": {"replicates": 100},
    "figures": ["ranking", "confusion"],
}


class Repo:
    """A clone and what can be done in it."""

    def __init__(self, folder: Path, like: Path | None = None) -> None:
        """A fresh clone, or one with all that has been done in another one."""
        if like is None:
            self.folder = clone(folder)
            self.study("tiny")
        else:
            self.folder = folder / "repo"
            shutil.copytree(like, self.folder, symlinks=True)  # times are kept: they say what is up to date

    def study(self, name: str, **changes: object) -> None:
        """Write config/studies/<name>.yaml: the tiny study with changes."""
        text = yaml.safe_dump(TINY | {"study": name} | changes, sort_keys=False)
        (self.folder / "config" / "studies" / f"{name}.yaml").write_text(text)

    def run(self, study: str = "tiny", *arguments: str, ok: bool = True, before: Sequence[str] = ()) -> str:
        """Run a study as `make run` does, by the command `before` if given; returns what it printed."""
        done = annobench(self.folder, "run", "--study", study, "--", *arguments, before=before, timeout=400)
        output = done.stdout + done.stderr
        assert (done.returncode == 0) == ok, output
        return output

    def snakemake(self, *arguments: str, ok: bool = True, study: str = "tiny") -> str:
        """Call Snakemake itself with the local profile, as the README shows."""
        command = [sys.executable, "-m", "snakemake", "--workflow-profile", "workflow/profiles/local"]
        # targets go first: --configfile takes every word that follows it
        command += [*arguments, "--configfile", f"config/studies/{study}.yaml"]
        done = subprocess.run(command, cwd=self.folder, capture_output=True, text=True, timeout=400, env=environment())
        output = done.stdout + done.stderr
        assert (done.returncode == 0) == ok, output
        return output

    def jobs(self, study: str = "tiny") -> dict[str, int]:
        """Jobs that the next run would do, by rule."""
        output = self.snakemake("--dry-run", study=study)
        return {
            rule: int(n)
            for rule, n in re.findall(r"^(\w+) +(\d+)$", output, re.MULTILINE)
            if rule not in ("total", "all")
        }

    def edit(self, file: str, old: str, new: str, *, once: bool = False) -> None:
        """Replace text in a file of the clone, everywhere or `once`."""
        path = self.folder / file
        text = path.read_text()
        assert old in text, f"{file} does not hold {old!r}"
        path.write_text(text.replace(old, new, 1 if once else -1))

    def table(self, name: str, study: str = "tiny") -> "list[dict[str, str]]":
        """Rows of a table."""
        with open(self.folder / "results" / "tables" / study / f"{name}.csv", newline="") as handle:
            return list(csv.DictReader(handle))


def environment() -> dict[str, str]:
    """The environment without what pytest put on the path."""
    return {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}


def can_be_offline() -> bool:
    """Whether this machine lets a test have a network namespace of its own."""
    return (
        bool(shutil.which(NO_NETWORK[0])) and not subprocess.run([*NO_NETWORK, "true"], capture_output=True).returncode
    )


def add_broken(repo: Repo, *names: str, forever: float = 0.05, minutes: float = 1) -> None:
    """Methods that fail on purpose; limits are minutes, `forever` of the one that never ends, `minutes` of others."""
    for name in names:
        shutil.copy(BROKEN / f"{name}.py", repo.folder / "scripts" / "annobench" / "methods")
        method = {"label": f"Broken: {name}", "summary": "s", "citation": "c", "licence": "l", "implementation": name}
        method["resources"] = {"memory_mb": 700, "minutes": forever if name == "forever" else minutes}
        (repo.folder / "config" / "methods" / f"{name}.yaml").write_text(yaml.safe_dump(method))
