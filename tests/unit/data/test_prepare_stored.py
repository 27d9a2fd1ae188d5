"""What is promised: counts of any size go into a store with the checks, genes, labels and card of those in memory."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import anndata as ad
import h5py
import numpy as np
import pandas as pd
import pytest
from scipy.sparse import csc_matrix, csr_matrix

from annobench.__main__ import main
from annobench.cells.store import h5ad as backed
from annobench.cells.store.store import Store
from annobench.cells.stored_cells import read_cells
from annobench.config.results import Results
from annobench.config.schema import load_yaml, validate
from annobench.config.study import load_study
from annobench.core.errors import DataError
from annobench.core.files import read_json, sha256_of, write_json
from annobench.core.parquet import read_columns
from annobench.core.paths import ROOT
from annobench.data.prepare import stored
from annobench.data.prepare.dataset import prepare_dataset
from annobench.data.prepare.pair import prepare_pair
from annobench.data.prepare.spec import DatasetSpec
from annobench.data.prepare.task import PreparedFiles
from annobench.ontology import Ontology
from annobench.workflow.plan import Plan
from helpers import source_h5ad

TABLE = "original\tlabel_id\tcomment\nB cell\tCL:0000236\t\nT cell\tCL:0000084\t\n"
EVALUATION = {"dataset": "simulated_atlas", "regime": "holdout"}
TEXT = {"label": "d", "summary": "s", "citation": "c", "licence": "l", "source": {"kind": "local", "path": "x"}}


@pytest.fixture
def prepare(tmp_path: Path, ontology: Ontology):
    """Prepare a file, in memory or through a store; returns cells and card."""
    table = tmp_path / "labels.tsv"
    table.write_text(TABLE)

    def prepared(file: Path, storage: str = "store", labels: bool = True, **settings: Any) -> tuple[ad.AnnData, dict]:
        spec = DatasetSpec.of(validate(TEXT | {"storage": storage} | settings, "dataset", "d.yaml"))
        record = tmp_path / "source.json"
        write_json(record, {"sha256": sha256_of(file), "file": file.name})
        outputs = PreparedFiles.within(tmp_path / storage)
        label_table = table if labels else None
        prepare_dataset("d", spec, file, record, outputs, ontology=ontology, label_table=label_table)
        return read_cells(outputs.cells), read_json(outputs.card)

    return prepared


def large(path: Path, n: int = 700, genes: int = 40, **more: Any) -> Path:
    """Cells of several types, studies and donors, with ids, coordinates, and genes of which some stand twice."""
    rng = np.random.default_rng(0)
    counts = rng.poisson(0.4, (n, genes)) * rng.integers(1, 400, (n, genes))
    counts[3] = 0
    obs = pd.DataFrame(
        {
            "cell_type": pd.Categorical(rng.choice(["B cell", "T cell", "blob"], n)),
            "cl": rng.choice(["CL:0000623", "CL:9999999"], n),
            "lab": rng.choice(["x", "y", None], n),
            "who": rng.choice([1.0, 2.0, np.nan], n),
        },
        index=[f"c{i}" for i in range(n)],
    )
    var = pd.DataFrame({"kept": rng.random(genes) < 0.8}, index=[f"G{i}" for i in range(genes)])
    var["feature_name"] = [f"N{i % (genes - 3)}" for i in range(genes)]
    data = ad.AnnData(csr_matrix(counts.astype("float32")), obs=obs, var=var)
    data.obsm["spatial"] = rng.random((n, 2))
    for key, value in more.items():
        setattr(data, key, value(data) if callable(value) else value)
    data.write_h5ad(path)
    return path


SETTINGS: dict[str, Any] = {
    "cells": {
        **{"label_id": "cl", "study": "lab", "donor": "who", "tissue": "=blood"},
        "rename": {"study": {"x": "y"}, "donor": {"2": "two"}},
        "columns": {"order": "who", "organism": "=Homo sapiens", "site": "lab"},
    },
    "genes": {"require": ["kept"]},
}


@pytest.fixture
def parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small parts, so that a small file has many of them."""
    monkeypatch.setattr(backed, "MEMORY", 4096)
    monkeypatch.setattr(stored, "ROW_GROUP", 130)


@pytest.mark.parametrize("kind", [csr_matrix, csc_matrix, np.asarray], ids=["rows", "columns", "dense"])
def test_the_same_cells_as_in_memory(prepare, parts: None, tmp_path: Path, kind: Any) -> None:
    file = large(tmp_path / "a.h5ad", X=lambda data: kind(data.X.toarray()))
    (cells, card), (expected, other) = (prepare(file, storage, **SETTINGS) for storage in ("store", "memory"))
    assert (cells.X != expected.X).nnz == 0
    assert cells.X.dtype == expected.X.dtype == np.float32
    pd.testing.assert_frame_equal(cells.var.astype(str), expected.var.astype(str))
    pd.testing.assert_frame_equal(cells.obs.astype(str), expected.obs.astype(str))
    assert (cells.obsm["spatial"] == expected.obsm["spatial"]).all()
    assert cells.uns["annobench"] == expected.uns["annobench"]
    tables = [read_columns(tmp_path / storage / "obs.parquet") for storage in ("store", "memory")]
    assert {key: list(values) for key, values in tables[0].items()} == {k: list(v) for k, v in tables[1].items()}
    assert other["labels_unmapped"]["blob"].count("cells: ") == 1
    assert set(card) - set(other) == {"store"}
    assert {key for key in other if card[key] != other[key]} == {"sha256", "storage"}
    assert card["sha256"] == sha256_of(tmp_path / "store" / "cells.h5ad")
    assert card["store"]["digest"] == Store.open(tmp_path / "store" / "store").manifest.digest
    assert not (tmp_path / "memory" / "store").exists()
    assert list(read_cells(tmp_path / "store" / "cells.h5ad", [5, 2]).obs_names) == ["c5", "c2"]


@pytest.mark.parametrize("storage", ["store", "memory"])
def test_declared_columns_are_carried_as_text(prepare, parts: None, tmp_path: Path, storage: str) -> None:
    file = large(tmp_path / "a.h5ad")
    source = ad.read_h5ad(file).obs
    cells, _ = prepare(file, storage, **SETTINGS)
    assert list(cells.obs.columns)[-3:] == ["order", "organism", "site"]
    written = read_columns(tmp_path / storage / "obs.parquet")
    for obs in (cells.obs, written):
        assert list(obs["order"]) == [str(int(value)) if value == value else "unknown" for value in source["who"]]
        assert list(obs["site"]) == list(source["lab"].astype(object).fillna("unknown"))  # `rename` is of study alone
        assert set(obs["organism"]) == {"Homo sapiens"}


def test_the_file_of_stored_cells_holds_genes_and_no_cells(prepare, tmp_path: Path) -> None:
    prepare(large(tmp_path / "a.h5ad"))
    header = ad.read_h5ad(tmp_path / "store" / "cells.h5ad")
    assert header.n_obs == 0
    assert header.n_vars == 37
    assert header.uns["annobench"]["store"] == "store"


def test_auto_goes_by_cells_and_by_bytes_and_keeps_logarithms_in_memory(
    prepare, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = large(tmp_path / "a.h5ad")
    assert prepare(file, "auto")[1]["storage"] == "memory"
    for limit in ("STORE_CELLS", "STORE_BYTES"):
        with monkeypatch.context() as patch:
            patch.setattr(f"annobench.data.prepare.storage.{limit}", 600)
            assert prepare(file, "auto")[1]["storage"] == "store"
            assert prepare(file, "memory")[1]["storage"] == "memory"
            logs = source_h5ad(tmp_path / "b.h5ad", np.random.default_rng(0).random((700, 4)) * 4)
            assert prepare(logs, "auto", matrix={"state": "log1p_cp10k"})[1]["storage"] == "memory"


@pytest.mark.parametrize(
    ("matrix", "part"),
    [
        ({"state": "log1p_cp10k"}, "a store holds raw counts.*matrix.state is log1p_cp10k.*set storage to memory"),
        ({"state": "log1p_cp10k", "counts_from": "who"}, "matrix.counts_from is set.*set storage to memory"),
    ],
)
def test_a_store_of_logarithms_is_refused(prepare, tmp_path: Path, matrix: dict, part: str) -> None:
    with pytest.raises(DataError, match=part):
        prepare(large(tmp_path / "a.h5ad"), matrix=matrix)


@pytest.mark.parametrize(
    ("value", "part"),
    [
        (-1.0, "1 values are negative.*first in row 690.*look like scaled values"),
        (np.nan, "1 values are NaN or infinite.*first in row 690"),
        (np.inf, "1 values are NaN or infinite"),
        (0.5, "matrix.state says counts, but 1 of .* not whole numbers.*row 690: 0.5"),
        (5e9, "1 values are larger than 4294967295"),
    ],
)
def test_values_that_counts_cannot_be(prepare, parts: None, tmp_path: Path, value: float, part: str) -> None:
    def broken(data: ad.AnnData) -> Any:
        matrix = data.X.toarray().astype(float)
        matrix[690, 0] = value
        return csr_matrix(matrix)

    with pytest.raises(DataError, match=part):
        prepare(large(tmp_path / "a.h5ad", X=broken))
    assert not (tmp_path / "store" / "card.json").exists()


def test_counts_keep_their_value_whatever_their_type(prepare, tmp_path: Path) -> None:
    counts = np.array([[2**24 + 1, 0, 3], [4.0004, 1, 0]])
    data = ad.AnnData(csr_matrix(counts), obs=pd.DataFrame({"cell_type": ["B cell", "T cell"]}, index=["a", "b"]))
    data.var_names = ["A", "B", "C"]
    data.write_h5ad(tmp_path / "a.h5ad")
    cells, _ = prepare(tmp_path / "a.h5ad")
    assert (cells.X.toarray() == [[2**24 + 1, 0, 3], [4, 1, 0]]).all()


@pytest.mark.parametrize(
    "break_file",
    [
        lambda data: data[: len(data) // 2],
        lambda data: b"",
        lambda data: b"cell,gene\n1,2\n",
        lambda data: data[:2000] + bytes(4000) + data[6000:],
    ],
    ids=["cut off", "empty file", "a CSV", "zeroed inside"],
)
def test_broken_files(prepare, tmp_path: Path, break_file: Any) -> None:
    file = source_h5ad(tmp_path / "a.h5ad")
    file.write_bytes(break_file(file.read_bytes()))
    with pytest.raises(DataError, match="not a readable h5ad file"):
        prepare(file)


@pytest.mark.parametrize(
    ("settings", "part"),
    [
        ({"cells": {"label": "celltype"}}, "cells.label: there is no column 'celltype'; did you mean 'cell_type'"),
        ({"cells": {"donor": "cell_type", "rename": {"donor": {"B cel": "x"}}}}, "no cell has 'B cel'; did you mean"),
        (
            {"cells": {"columns": {"day": "cell_tipe"}}},
            "cells.columns.day: there is no column 'cell_tipe'; did you mean",
        ),
        ({"matrix": {"slot": "raw"}}, "matrix.slot: there is no matrix raw"),
        ({"matrix": {"slot": "layers/count"}}, "matrix.slot: there is no matrix layers/count"),
        ({"genes": {"id": "ensembl"}}, "genes.id: var has no column 'ensembl'"),
        ({"genes": {"require": ["in_all"]}}, "genes.require: there is no column 'in_all'"),
    ],
)
def test_settings_that_do_not_fit_the_file(prepare, tmp_path: Path, settings: dict, part: str) -> None:
    with pytest.raises(DataError, match=part):
        prepare(source_h5ad(tmp_path / "a.h5ad"), **settings)


def test_no_cells_and_no_labels(prepare, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"is empty \(0 cells, 4 genes\)"):
        prepare(source_h5ad(tmp_path / "a.h5ad", np.zeros((0, 4)), cell_type=[]))
    file = source_h5ad(tmp_path / "b.h5ad")
    with pytest.raises(DataError, match="no label could be mapped.*add a table in config/labels"):
        prepare(file, labels=False)
    (cells, card), (_, other) = (prepare(file, storage, cells={"label": None}) for storage in ("store", "memory"))
    assert set(cells.obs["label_id"]) == {"unknown"}
    assert card["labels_unmapped"] == other["labels_unmapped"]


@pytest.mark.filterwarnings("ignore:Suffix used")  # what AnnData says of the name that was taken
def test_duplicate_ids(prepare, parts: None, tmp_path: Path) -> None:
    def twice(data: ad.AnnData) -> list[str]:
        names = list(data.obs_names)
        names[150] = names[600] = names[601] = "c0"
        names[400] = "c0-1"
        return names

    file = large(tmp_path / "a.h5ad", obs_names=twice)
    with pytest.raises(DataError, match=r"3 duplicate cell ids \(such as c0\)"):
        prepare(file)
    names = [list(prepare(file, s, cells={"duplicated_ids": "suffix"})[0].obs_names) for s in ("store", "memory")]
    assert names[0] == names[1]
    assert names[0][150] == "c0-2"


SLOW = """
import sys, time
from pathlib import Path
from annobench.config.schema import validate
from annobench.ontology import Ontology
from annobench.data.prepare import stored
from annobench.data.prepare.dataset import prepare_dataset
from annobench.data.prepare.spec import DatasetSpec
from annobench.data.prepare.task import PreparedFiles
from annobench.cells.store import h5ad, writer
h5ad.MEMORY, writer.SHARD_CELLS = 4096, 100
stored.StoreWriter.__init__.__kwdefaults__["shard_cells"] = 100
folder = Path(sys.argv[1])
append = stored.StoreWriter.append
def slowly(self, *given):
    append(self, *given)
    time.sleep(float(sys.argv[2]))
stored.StoreWriter.append = slowly
spec = DatasetSpec.of(validate({text!r} | {{"storage": "store"}}, "dataset", "d"))
prepare_dataset("d", spec, folder / "a.h5ad", folder / "r.json", PreparedFiles.within(folder),
                ontology=Ontology.load({ontology!r}), label_table=folder / "labels.tsv", report=print)
"""


def test_a_killed_run_goes_on_after_its_last_whole_shard(tmp_path: Path, ontology: Ontology) -> None:
    file = large(tmp_path / "a.h5ad")
    ontology.save(tmp_path / "cl.json")
    (tmp_path / "labels.tsv").write_text(TABLE)
    write_json(tmp_path / "r.json", {"sha256": sha256_of(file), "file": file.name})
    script = tmp_path / "slow.py"
    script.write_text(SLOW.format(text=TEXT, ontology=str(tmp_path / "cl.json")))
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, str(script), str(tmp_path)]
    killed = subprocess.Popen([*command, "0.05"], env=environment)
    files = PreparedFiles.within(tmp_path)
    finished, begun = files.store, files.begun
    deadline = time.monotonic() + 60
    while not (begun / "00002.json").is_file() and time.monotonic() < deadline:
        time.sleep(0.01)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    assert not finished.exists()
    assert not (tmp_path / "card.json").exists()
    kept = {path.name: path.stat().st_mtime_ns for path in begun.glob("0000[012].records")}
    assert len(kept) == 3
    done = subprocess.run([*command, "0"], env=environment, capture_output=True, text=True, check=True)
    assert "of 700 cells, which an interrupted run has written" in done.stdout
    assert {name: (finished / name).stat().st_mtime_ns for name in kept} == kept
    assert not begun.exists()
    interrupted = Store.open(finished, verify=True)
    shutil.rmtree(finished)
    subprocess.run([*command, "0"], env=environment, check=True)
    whole = Store.open(finished, verify=True)
    assert interrupted.manifest.digest == whole.manifest.digest
    assert json.loads((tmp_path / "card.json").read_text())["store"]["digest"] == whole.manifest.digest


# VmHWM and not ru_maxrss, which a child inherits from the process that starts it: here a worker of pytest.
MEASURED = """
import sys
from pathlib import Path
from annobench.config.schema import validate
from annobench.ontology import Ontology
from annobench.data.prepare.dataset import prepare_dataset
from annobench.data.prepare.spec import DatasetSpec
from annobench.data.prepare.task import PreparedFiles
folder = Path(sys.argv[1])
spec = DatasetSpec.of(validate({text!r}, "dataset", "d"))
prepare_dataset("d", spec, folder / "a.h5ad", folder / "r.json", PreparedFiles.within(folder),
                ontology=Ontology.load({ontology!r}), label_table=folder / "labels.tsv")
status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
print(status["VmHWM"].removesuffix("kB"))
"""


@pytest.mark.slow  # gigabytes
@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="the peak of memory is read from Linux's /proc")
def test_memory_is_bounded_whatever_the_size(tmp_path: Path, ontology: Ontology) -> None:
    """Some 100,000 cells whose values alone take 1.1 GB in memory."""
    n, genes, width = 110_000, 12_000, 1300
    ids = [f"c{i}" for i in range(n)]
    obs = pd.DataFrame({"cell_type": pd.Categorical(["B cell", "T cell"] * (n // 2))}, index=ids)
    file = tmp_path / "a.h5ad"
    empty = ad.AnnData(csr_matrix((n, genes), dtype="float32"), obs=obs, var=pd.DataFrame(index=map(str, range(genes))))
    empty.write_h5ad(file)
    block = np.arange(0, width * 8, 8, dtype="int32") % genes
    with h5py.File(file, "r+") as handle:
        matrix = handle["X"]
        for name, values in (("data", np.ones(width * 1000, "float32")), ("indices", np.tile(block, 1000))):
            del matrix[name]
            matrix.create_dataset(name, shape=(n * width,), dtype=values.dtype)
            for start in range(0, n * width, len(values)):
                matrix[name][start : start + len(values)] = values
        del matrix["indptr"]
        matrix["indptr"] = np.arange(n + 1, dtype="int64") * width
    ontology.save(tmp_path / "cl.json")
    (tmp_path / "labels.tsv").write_text(TABLE)
    write_json(tmp_path / "r.json", {"sha256": sha256_of(file), "file": file.name})
    code = MEASURED.format(text=TEXT, ontology=str(tmp_path / "cl.json"))
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", code, str(tmp_path)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert read_json(tmp_path / "card.json")["store"]["values"] == n * width
    assert int(done.stdout) < 2**20  # KiB
    shutil.rmtree(tmp_path)  # gigabytes


def test_a_store_that_is_not_the_one_of_the_file_is_refused(prepare, tmp_path: Path) -> None:
    prepare(large(tmp_path / "a.h5ad"))
    kept = tmp_path / "kept.h5ad"
    (tmp_path / "store" / "cells.h5ad").rename(kept)
    prepare(large(tmp_path / "a.h5ad", n=300))
    kept.rename(tmp_path / "store" / "cells.h5ad")
    with pytest.raises(DataError, match="is not the store that .*cells.h5ad was written with; delete it"):
        read_cells(tmp_path / "store" / "cells.h5ad")


# pairs


@pytest.mark.parametrize("genes", ["shared", "reference"])
@pytest.mark.parametrize("kept", [("store", "store"), ("store", "memory"), ("memory", "memory")])
def test_a_pair_of_stored_parts_is_the_pair_in_memory(
    prepare, tmp_path: Path, ontology: Ontology, genes: str, kept: tuple[str, str]
) -> None:
    parts = {}
    for name, storage, n in zip(("reference", "query"), kept, (300, 200), strict=True):
        file = large(tmp_path / f"{name}.h5ad", n=n)
        data = ad.read_h5ad(file)
        data = data[:, data.var_names[:30][::-1] if name == "query" else data.var_names].copy()
        if name == "reference":
            del data.obsm["spatial"]
        data.write_h5ad(file)
        prepare(file, storage)
        (tmp_path / storage).rename(tmp_path / name)
        parts[name] = PreparedFiles.within(tmp_path / name)
    pair = {"references": ["reference"], "query": "query", "genes": genes, "min_genes": 10}
    found = {}
    for storage in ("store", "memory"):
        dataset = validate({k: v for k, v in TEXT.items() if k != "source"} | {"pair": pair}, "dataset", "p")
        outputs = PreparedFiles.within(tmp_path / "pair" / storage)
        if storage == "memory" or kept == ("memory", "memory"):
            dataset["storage"] = storage
        prepare_pair("p", DatasetSpec.of(dataset), parts, outputs, ontology=ontology)
        found[storage] = (read_cells(outputs.cells), read_json(outputs.card), read_columns(outputs.obs))
    (cells, card, obs), (expected, other, _) = found["store"], found["memory"]
    assert (card["storage"], other["storage"]) == ("store", "memory")
    assert (cells.X != expected.X).nnz == 0
    pd.testing.assert_frame_equal(cells.var.astype(str), expected.var.astype(str))
    table = expected.obs.drop(columns="total_counts").astype(str)
    pd.testing.assert_frame_equal(cells.obs.astype(str), table, check_names=False)
    assert list(obs["part"]) == list(table["part"])
    assert np.array_equal(cells.obsm["spatial"], expected.obsm["spatial"], equal_nan=True)
    assert {key for key in other if card[key] != other[key]} == {"sha256", "storage"}


@pytest.mark.parametrize("storage", ["store", "memory"])
def test_a_pair_has_the_columns_of_all_its_parts(prepare, tmp_path: Path, ontology: Ontology, storage: str) -> None:
    parts = {}
    declared = {"a": {"organism": "=Homo sapiens", "day": "who"}, "b": {"organism": "=Mus musculus"}, "q": {}}
    for name, columns in declared.items():
        prepare(large(tmp_path / f"{name}.h5ad", n=100), storage, cells={"columns": columns})
        (tmp_path / storage).rename(tmp_path / name)
        parts[name] = PreparedFiles.within(tmp_path / name)
    pair = {"references": ["a", "b"], "query": "q", "min_genes": 10}
    dataset = validate({k: v for k, v in TEXT.items() if k != "source"} | {"pair": pair}, "dataset", "p")
    outputs = PreparedFiles.within(tmp_path / "pair")
    prepare_pair("p", DatasetSpec.of(dataset), parts, outputs, ontology=ontology)
    obs, written = read_cells(outputs.cells).obs, read_columns(outputs.obs)
    names = ["Homo sapiens"] * 100 + ["Mus musculus"] * 100 + ["unknown"] * 100
    assert list(obs["organism"]) == list(written["organism"]) == names
    assert set(obs["day"][:100]) == {"1", "2", "unknown"}
    assert set(obs["day"][100:]) == {"unknown"}


def test_a_stored_pair_of_logarithms_is_refused(prepare, tmp_path: Path, ontology: Ontology) -> None:
    prepare(large(tmp_path / "a.h5ad"))
    parts = dict.fromkeys(("r", "q"), PreparedFiles.within(tmp_path / "store"))
    pair = {"references": ["r"], "query": "q", "values": "log1p_cp10k", "min_genes": 5}
    dataset = validate({k: v for k, v in TEXT.items() if k != "source"} | {"pair": pair}, "dataset", "p")
    outputs = PreparedFiles.within(tmp_path / "pair")
    with pytest.raises(DataError, match="a store holds counts, but pair.values is log1p_cp10k.*storage to memory"):
        prepare_pair("p", DatasetSpec.of(dataset), parts, outputs, ontology=ontology)


# what is said of a store


def test_a_store_is_verified_file_by_file(prepare, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    prepare(large(tmp_path / "a.h5ad"))
    folder = tmp_path / "store" / "store"
    assert main(["verify", str(folder)]) == 0
    assert "700 cells in 1 shards: every file is as it was written" in capsys.readouterr().out
    data = bytearray((folder / "00000.records").read_bytes())
    data[10] ^= 1
    (folder / "00000.records").write_bytes(data)
    (folder / "00000.obs.parquet").unlink()
    with open(folder / "00000.index.npy", "ab") as handle:
        handle.write(b"x")
    assert main(["verify", str(tmp_path / "store")]) == 1
    printed = capsys.readouterr().out
    assert "00000.records: holds other bytes than were written" in printed
    assert "00000.obs.parquet: is missing" in printed
    assert "00000.index.npy: has " in printed
    assert "3 files are damaged" in printed
    (folder / "manifest.json").unlink()
    assert main(["verify", str(folder)]) == 1
    assert "is unfinished" in capsys.readouterr().out
    assert main(["verify", str(tmp_path / "nowhere")]) == 2


def test_the_plan_counts_stores(tmp_path: Path) -> None:
    study = load_study(load_yaml(ROOT / "config" / "config.yaml") | {"evaluations": [EVALUATION]}, ROOT, "config.yaml")
    plan = Plan(study, Results(tmp_path / "results"))
    assert plan.store_mb("simulated_atlas") == pytest.approx(200_000 * 0.0045)
    assert "of which data 5100 MB, stores 900 MB of it" in plan.text()
    for storage, expected in (("memory", 0), ("store", 900)):
        study.datasets["simulated_atlas"]["storage"] = storage
        assert plan.store_mb("simulated_atlas") == pytest.approx(expected)
    write_json(tmp_path / "results/data/simulated_atlas/card.json", {"store": {"bytes": 7_000_000}})
    assert plan.store_mb("simulated_atlas") == 7
