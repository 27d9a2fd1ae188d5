"""What is promised: an external command is told where cells come from, and never the label of a test cell."""

import csv
import sys
from pathlib import Path

import anndata as ad
import numpy as np
import pytest

from annobench.cells.stored_cells import read_cells
from annobench.core.parquet import read_columns
from annobench.fit.job import FitJob
from annobench.fit.parent import run_fit
from annobench.fit.run_record import RunRecord
from annobench.methods.exec import ORIGIN, write_mtx
from annobench.ontology import Ontology
from helpers import cells, fit_job

COPY = """
import pathlib, shutil, sys
train, test, output, copy = map(pathlib.Path, sys.argv[1:])
for place in (train, test):
    (shutil.copytree if place.is_dir() else shutil.copy)(place, copy / place.name)
(output / "reason.txt").write_text("copied")
sys.exit(77)
"""


def copied(files: dict[str, str], folder: Path, format: str) -> Path:
    """What a command is given in a fit."""
    (folder / "copy.py").write_text(COPY)
    (folder / "copy").mkdir()
    command = f"{sys.executable} {folder / 'copy.py'} {{train}} {{test}} {{output}} {folder / 'copy'}"
    job: FitJob = fit_job(files, "exec", exec={"command": command, "format": format}, abilities={"one_step": True})
    run_fit(job, folder / "fit", folder / "attempt.json")
    assert RunRecord.read(folder / "fit" / "run.json").reason == "copied"
    return folder / "copy"


def table(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))


@pytest.mark.parametrize("storage", ["memory", "store"])
def test_both_folders_say_where_each_cell_comes_from(
    jobs: dict[str, dict[str, str]], tmp_path: Path, storage: str
) -> None:
    given = copied(jobs[storage], tmp_path, "mtx")
    whole = read_cells(jobs["memory"]["cells"]).obs
    for part in ("train", "test"):
        rows = table(given / part / "obs.tsv")
        assert [row["cell_id"] for row in rows] == (given / part / "cells.tsv").read_text().splitlines()
        for row in rows:
            assert list(row) == ["cell_id", *ORIGIN]
            for name in ORIGIN:
                assert row[name] == (str(whole.loc[row["cell_id"], name]) if name in whole else "unknown")
    assert {"study", "donor"} <= set(whole)


@pytest.mark.parametrize("format", ["mtx", "h5ad"])
def test_no_label_of_a_test_cell_is_in_any_file(jobs: dict[str, dict[str, str]], tmp_path: Path, format: str) -> None:
    given = copied(jobs["memory"], tmp_path, format)
    roles = read_columns(jobs["memory"]["split"])
    tested = np.asarray(roles["cell_id"], dtype=object)[np.asarray(roles["role"]) == "test"]
    obs = read_cells(jobs["memory"]["cells"]).obs.loc[tested]
    labels = {str(v).lower() for c in ("label_id", "label", "label_original") for v in obs[c]} - {"unknown"}
    assert len(labels) >= 5
    if format == "h5ad":
        found = ad.read_h5ad(given / "test.h5ad").obs
        columns = {name: set(found[name].astype(str).str.lower()) for name in found}
        assert not {name for name, values in columns.items() if values & labels}
        assert {"study", "donor"} <= set(columns)
        assert set(ad.read_h5ad(given / "train.h5ad").obs["label_id"].str.lower()) <= labels
        return
    assert {file.name for file in (given / "test").iterdir()} == {"matrix.mtx", "genes.tsv", "cells.tsv", "obs.tsv"}
    for file in (given / "test").iterdir():
        words = {word.lower() for line in file.read_text().splitlines() for word in line.split("\t")}
        assert not words & labels, file.name
    assert set((given / "train" / "labels.tsv").read_text().lower().split()) <= labels  # the test can find them


def test_labels_are_not_written_even_where_cells_carry_them(ontology: Ontology, tmp_path: Path) -> None:
    """A test cell has no label columns; should one ever come through, obs.tsv still has its five columns only."""
    data = cells(ontology, cells=12, genes=5, seed=1)
    data.obs["label"] = data.obs["label_original"] = "T cell"
    write_mtx(data, tmp_path / "test", labels=False)
    assert not (tmp_path / "test" / "labels.tsv").exists()
    text = (tmp_path / "test" / "obs.tsv").read_text()
    assert text.splitlines()[0] == "cell_id\tstudy\tdonor\tbatch\tassay"
    assert "T cell" not in text
    assert "CL:" not in text


def test_values_that_would_break_a_line_do_not(ontology: Ontology, tmp_path: Path) -> None:
    data = cells(ontology, cells=12, genes=5, seed=1)[:3].copy()
    data.obs["batch"] = ["a\tb", "c\r\nd", '"e"']
    write_mtx(data, tmp_path / "test", labels=False)
    assert [row["batch"] for row in table(tmp_path / "test" / "obs.tsv")] == ["a b", "c d", '"e"']
