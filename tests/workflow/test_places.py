"""What is promised: where a checkout lies, and how the machine is set up, does not matter.

The study has a dataset of its own beside its file: a label table, texts beyond ASCII, symbols of mouse genes, human
markers and a table of orthologues.
"""

import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import anndata as ad
import pandas as pd
import pytest
import yaml

from annobench.config.schema import load_yaml
from annobench.data.sources.simulate import simulate
from annobench.ontology import Ontology
from repo import Repo

pytestmark = pytest.mark.xdist_group("places")
TEXT = {"label": "Mäuse, Größe 1", "summary": "s", "citation": "Müller", "licence": "l"}
TYPES = {"CL:0000084": "T-Zelle", "CL:0000236": "B-Zelle", "CL:0000860": "Monozyt (groß)"}
C_LOCALE = {"LC_ALL": "C", "PYTHONUTF8": "0"}


def declare(folder: Path, repo: Path, ontology: Ontology) -> None:
    """Write the dataset, its label table and the orthologues to a folder with config/."""
    settings = load_yaml(repo / "config/datasets/simulated_small.yaml")["source"] | {"cells": 120}
    raw = simulate(**{key: value for key, value in settings.items() if key != "kind"}, ontology=ontology)
    with open(repo / "config" / "markers" / "canonical.tsv", encoding="utf-8", newline="") as handle:
        markers = [row["gene"] for row in csv.DictReader(handle, delimiter="\t") if row["label_id"] in TYPES]
    human = list(dict.fromkeys(markers))
    names = [gene.capitalize() for gene in human]
    names += [f"Gene{i}" for i in range(raw.n_vars - len(names))]
    obs = pd.DataFrame({"type": list(TYPES.values()) * 40, "donor": ["Zoë", "Jürg"] * 60}, index=raw.obs_names)
    (folder / "own").mkdir(parents=True)
    ad.AnnData(raw.X, obs=obs, var=pd.DataFrame(index=names)).write_h5ad(folder / "own" / "mouse.h5ad")
    pairs = [f"{gene}\t{gene.capitalize()}" for gene in human[1:]] + ["INS\tIns1", "INS\tIns2"]
    (folder / "own" / "pairs.tsv").write_text("\n".join(["human\tmouse", *pairs, ""]))
    cells = {"label": "type", "label_table": "german", "donor": "donor"}
    dataset = TEXT | {"source": {"kind": "local", "path": "own/mouse.h5ad"}, "cells": cells}
    table = {name: TEXT[name] for name in ("label", "citation", "licence")}
    table |= {"source": {"kind": "local", "path": "own/pairs.tsv"}, "columns": ["mouse", "human"]}
    labels = "".join(f"{name}\t{label_id}\t\n" for label_id, name in TYPES.items())
    for place, text in (
        ("datasets/mice.yaml", yaml.safe_dump(dataset, allow_unicode=True)),
        ("orthologues/of_mice.yaml", yaml.safe_dump(table, allow_unicode=True)),
        ("labels/german.tsv", "original\tlabel_id\tcomment\n" + labels),
    ):
        (folder / "config" / place).parent.mkdir(parents=True, exist_ok=True)
        (folder / "config" / place).write_text(text, encoding="utf-8")


CHANGES = {
    "evaluations": [{"dataset": "mice", "regime": "holdout"}],
    "scoring": {"orthologues": "of_mice"},
    "figures": ["ranking", "markers"],
}


@pytest.fixture(scope="module")
def run_here(tmp_path_factory: pytest.TempPathFactory, ontology: Ontology) -> tuple[Repo, str]:
    """A repository with the study, run in the C locale, and what the run said."""
    repo = Repo(tmp_path_factory.mktemp("places"))
    declare(repo.folder, repo.folder, ontology)
    repo.study("mice", **CHANGES)
    return repo, repo.run("mice", before=["env", *(f"{name}={value}" for name, value in C_LOCALE.items())])


@pytest.mark.slow
def test_a_run_in_the_c_locale(run_here: tuple[Repo, str]) -> None:
    repo, said = run_here
    assert {row["status"] for row in repo.table("resources", "mice")} == {"ok"}
    card = json.loads((repo.folder / "results/data/mice/card.json").read_text(encoding="utf-8"))
    assert set(card["donors"]) == {"Zoë", "Jürg"}
    page = (repo.folder / "results/report/mice/index.html").read_text(encoding="utf-8")
    assert TEXT["label"] in page
    assert "2 pairs left out, because one of their genes has several partners" in said


@pytest.mark.slow
def test_human_markers_score_mouse_cells(run_here: tuple[Repo, str]) -> None:
    repo, said = run_here
    assert "markers are carried over from human to mouse" in said
    values = {row["metric"] for row in repo.table("markers", "mice") if row["value"]}
    assert {"marker_purity", "marker_recovery"} <= values


@pytest.mark.slow
def test_a_checkout_that_moved_or_was_copied_does_nothing_again(run_here: tuple[Repo, str], tmp_path: Path) -> None:
    repo, _ = run_here
    copied = Repo(tmp_path, like=repo.folder)
    assert copied.jobs("mice") == {}
    link = copied.folder / "results/data/mice/source/mouse.h5ad"
    assert link.is_symlink()
    assert link.resolve() == (copied.folder / "own" / "mouse.h5ad").resolve()
    for file in (copied.folder / "results" / "scores").rglob("*.parquet"):
        file.unlink()
    copied.run("mice")  # what is made anew reads what was there, seals and all
    assert {row["status"] for row in copied.table("resources", "mice")} == {"ok"}


@pytest.mark.slow
def test_results_behind_a_link(run_here: tuple[Repo, str], tmp_path: Path) -> None:
    repo = Repo(tmp_path, like=run_here[0].folder)
    shutil.move(repo.folder / "results", tmp_path / "large_disk")
    (repo.folder / "results").symlink_to(tmp_path / "large_disk")
    assert repo.jobs("mice") == {}
    assert repo.run("mice", "--forcerun", "fetch_dataset")
    # as `make clean`, without the environment that make would set up first
    recipe = (repo.folder / "Makefile").read_text().split("\nclean:")[1].split("\n\t@")[1].split("\n")[0]
    subprocess.run(["sh", "-c", recipe], cwd=repo.folder, check=True)
    assert [path.name for path in (tmp_path / "large_disk").iterdir()] == ["README.md"]
    assert (repo.folder / "results").is_symlink()
    assert (repo.folder / "own" / "mouse.h5ad").is_file()


def can_mount() -> bool:
    """Whether this machine lets a test mount folders read-only."""
    command = ["unshare", "--mount", "--map-root-user", "mount", "--bind", "/tmp", "/tmp"]
    return bool(shutil.which("unshare")) and not subprocess.run(command, capture_output=True).returncode


@pytest.mark.slow
@pytest.mark.skipif(not can_mount(), reason="no mount namespaces on this machine")
def test_a_repository_that_cannot_be_written_to(tmp_path: Path, ontology: Ontology) -> None:
    """A study with a config of its own lies elsewhere, and so do its results; it may move, too."""
    repo = Repo(tmp_path)
    mine = tmp_path / "mine"
    declare(mine, repo.folder, ontology)
    study = load_yaml(repo.folder / "config" / "studies" / "tiny.yaml") | CHANGES | {"study": "mice"}
    (mine / "mice.yaml").write_text(yaml.safe_dump(study))
    mount = f"mount --bind '{repo.folder}' '{repo.folder}' && mount -o remount,ro,bind '{repo.folder}'"

    def run(study: str) -> "subprocess.CompletedProcess[str]":
        command = f"{mount} && cd '{repo.folder}' && exec '{sys.executable}' -m annobench run --study {study}"
        return subprocess.run(
            ["unshare", "--mount", "--map-root-user", "sh", "-c", command],
            capture_output=True,
            text=True,
            timeout=400,
            env={**os.environ, **C_LOCALE, "PYTHONPATH": str(repo.folder / "scripts")},
        )

    refused = run("tiny")
    assert refused.returncode != 0
    assert "cannot be written to" in refused.stderr
    done = run("../mine/mice.yaml")
    assert done.returncode == 0, done.stdout + done.stderr
    assert (mine / "results/report/mice/index.html").is_file()
    mine.rename(tmp_path / "moved")
    again = run("../moved/mice.yaml")
    assert "nothing to be done" in again.stdout + again.stderr
