"""What is promised: cells in a store go through the whole workflow, and methods do not notice."""

import json
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import pytest
import yaml

from annobench.cells.store.store import Store
from annobench.core.files import sha256_of
from helpers import annobench
from repo import Repo, environment

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("store")]
METHODS = ["nearest_centroid", "linear_hce"]
CONTROLS = ["majority", "oracle"]


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Repo:
    """A clone in which a study has been run on the same cells in a store and in memory."""
    repo = Repo(tmp_path_factory.mktemp("store"))
    folder = repo.folder / "config" / "datasets"
    dataset = yaml.safe_load((folder / "simulated_small.yaml").read_text())
    for name, storage in (("stored", "store"), ("whole", "memory")):
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(dataset | {"storage": storage}))
    balance = {"policy": "cap", "max_cells": 40}
    evaluations = [
        {"dataset": name, "regime": regime, **more}
        for name in ("stored", "whole")
        for regime, more in (
            ("holdout", {"group_by": "donor"}),
            ("low_label", {"fractions": [0.5], "balance": balance, "methods": METHODS[:1]}),
        )
    ]
    repo.study("tiny", methods=METHODS, controls=CONTROLS, evaluations=evaluations)
    repo.run()
    return repo


def test_the_cells_are_where_they_should_be(both: Repo) -> None:
    data = both.folder / "results" / "data"
    cards = {name: json.loads((data / name / "card.json").read_text()) for name in ("stored", "whole")}
    assert cards["stored"]["storage"] == "store"
    assert cards["stored"]["sha256"] == sha256_of(data / "stored" / "cells.h5ad")
    assert Store.open(data / "stored" / "store", verify=True).n == 600
    assert [path.name for path in (data / "whole" / "store").iterdir()] == [".snakemake_timestamp"]
    assert cards["stored"]["labels"] == cards["whole"]["labels"]


def test_methods_do_not_notice(both: Repo) -> None:
    fits = both.folder / "results" / "fits"
    runs = sorted((fits / "stored").rglob("run.json"))
    assert len(runs) == len([*METHODS, *CONTROLS]) + len([*METHODS[:1], *CONTROLS])
    for file in runs:
        other = fits / "whole" / file.relative_to(fits / "stored")
        record, expected = (json.loads(path.read_text()) for path in (file, other))
        assert record["status"] == expected["status"] == "ok", record["reason"]
        assert record["cells"] == expected["cells"]
        assert record["genes"] == expected["genes"]
        assert record["outputs"] == expected["outputs"]
        found, wanted = (pd.read_parquet(path.parent / "predictions.parquet") for path in (file, other))
        assert list(found["cell_id"]) == list(wanted["cell_id"])
        if record["method"] == "linear_hce":  # shuffles another way
            assert (found["label_1"] == wanted["label_1"]).mean() > 0.9
        else:
            pd.testing.assert_frame_equal(found, wanted)


def test_scores_and_audit_see_the_same_cells(both: Repo) -> None:
    scores = pd.DataFrame(both.table("scores"))
    kept = scores[(scores["level"] == "overall") & ~scores["method"].isin(["linear_hce"])]
    kept = kept[kept["family"] != "resources"]
    keys = ["split", "method", "seed", "family", "metric", "label_set", "group"]
    one, two = (kept[kept["dataset"] == name].set_index(keys)["value"].sort_index() for name in ("stored", "whole"))
    pd.testing.assert_series_equal(one, two)
    audits = both.folder / "results" / "audit" / "tiny"
    one, two = (pd.read_parquet(audits / name / "holdout_donor" / "metrics.parquet") for name in ("stored", "whole"))
    controls = [table[table["kind"] == "control"].reset_index(drop=True) for table in (one, two)]
    assert np.allclose(controls[0]["value"], controls[1]["value"], equal_nan=True)


def test_the_second_run_has_nothing_to_do(both: Repo) -> None:
    assert both.jobs() == {}


def test_the_store_is_verified_and_made_again(both: Repo) -> None:
    folder = both.folder / "results" / "data" / "stored" / "store"
    assert annobench(both.folder, "verify", str(folder)).returncode == 0
    records = folder / "00000.records"
    damaged = bytearray(records.read_bytes())
    damaged[1000] ^= 1
    records.write_bytes(damaged)
    done = annobench(both.folder, "verify", str(folder.parent))
    assert done.returncode == 1
    assert "00000.records: holds other bytes than were written" in done.stdout
    (both.folder / "results/fits/stored/holdout_donor/majority/seed1/run.json").unlink()
    output = both.run(ok=False)
    assert "00000.records" in output  # the data is broken, not the method
    shutil.rmtree(folder)
    both.run()
    assert annobench(both.folder, "verify", str(folder)).returncode == 0
    assert both.jobs() == {}


def test_deleting_all_output_and_another_storage(both: Repo) -> None:
    both.snakemake("--delete-all-output", "--forceall", "data")
    data = both.folder / "results" / "data"
    assert not (data / "stored" / "cells.h5ad").exists()
    both.snakemake("data")
    assert Store.open(data / "stored" / "store", verify=True).n == 600
    file: Path = both.folder / "config" / "datasets" / "stored.yaml"
    file.write_text(yaml.safe_dump(yaml.safe_load(file.read_text()) | {"storage": "memory"}))
    both.snakemake("data")
    assert not (data / "stored" / "store" / "manifest.json").exists()
    assert json.loads((data / "stored" / "card.json").read_text())["storage"] == "memory"


def test_a_killed_preparation_goes_on_after_its_last_whole_shard(repo: Repo) -> None:
    """Snakemake removes the outputs of a job before it runs it again; what was written of a store is none of them."""
    repo.edit("scripts/annobench/cells/store/writer.py", "SHARD_CELLS = 65_536", "SHARD_CELLS = 100")
    repo.edit("scripts/annobench/cells/store/h5ad.py", "MEMORY = 128 * 2**20", "MEMORY = 2**14")
    slowly = 'writer.append(matrix, obs); time.sleep(0.3 * Path("slow").exists())'
    repo.edit("scripts/annobench/data/prepare/stored.py", "writer.append(matrix, obs)", slowly)
    repo.edit("config/datasets/simulated_small.yaml", "cells:\n  label:", "storage: store\ncells:\n  label:")
    (repo.folder / "slow").touch()
    process = subprocess.Popen(
        [sys.executable, "-m", "annobench", "run", "--study", "tiny", "--", "data"],
        cwd=repo.folder,
        env=environment() | {"PYTHONPATH": str(repo.folder / "scripts")},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    data = repo.folder / "results" / "data" / "simulated_small"
    deadline = time.monotonic() + 120
    while not (data / "store.part" / "00002.json").is_file() and time.monotonic() < deadline:
        time.sleep(0.02)
    everything = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
    for one in everything:
        with suppress(psutil.NoSuchProcess):  # a short job has ended since
            one.send_signal(signal.SIGKILL)
    psutil.wait_procs(everything, timeout=20)
    process.wait()
    assert not (data / "store" / "manifest.json").exists()
    kept = {path.name: path.stat().st_mtime_ns for path in (data / "store.part").glob("0000[012].records")}
    assert len(kept) == 3
    (repo.folder / "slow").unlink()
    assert "of 600 cells, which an interrupted run has written" in repo.run("tiny", "data")
    assert {name: (data / "store" / name).stat().st_mtime_ns for name in kept} == kept
    assert Store.open(data / "store", verify=True).n == 600
    assert not (data / "store.part").exists()
    assert "othing to be done" in repo.snakemake("data")
