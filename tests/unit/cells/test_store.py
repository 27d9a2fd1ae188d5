"""The store on disk: what comes back, and what is refused."""

import json
import os
import signal
import subprocess
import sys
import time
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import coo_matrix, csc_matrix, csr_matrix

from annobench.cells.store import codec, ids
from annobench.cells.store.checks import checked_counts
from annobench.cells.store.h5ad import H5adFile
from annobench.cells.store.link import link_stores
from annobench.cells.store.rows import record_table
from annobench.cells.store.store import Store
from annobench.cells.store.writer import StoreWriter
from annobench.core.errors import DataError
from annobench.core.files import disk_full
from annobench.core.paths import SCRIPTS

GENES = 300


def genes(n: int = GENES) -> pd.DataFrame:
    return pd.DataFrame(
        {"feature_id": [f"ENSG{i:011d}" for i in range(n)], "feature_name": [f"G{i}" for i in range(n)]}
    )


def counts(n: int, seed: int = 0, n_genes: int = GENES) -> csr_matrix:
    """Mostly small counts, some beyond a byte, empty rows among them."""
    rng = np.random.default_rng(seed)
    dense = rng.negative_binomial(1, 0.3, (n, n_genes)) * (rng.random((n, n_genes)) < 0.1)
    dense[rng.random((n, n_genes)) < 0.002] = rng.integers(200, 100_000)
    dense[:: max(n // 7, 1)] = 0
    return csr_matrix(dense.astype(np.float32))


def obs(n: int, prefix: str = "c", **columns: Any) -> pd.DataFrame:
    given = {"label_id": [f"CL:{i % 5}" for i in range(n)], "study": [f"s{i * 3 // n}" for i in range(n)]} | columns
    return pd.DataFrame(given, index=[f"{prefix}{i}" for i in range(n)])


def write(folder: Path, n: int = 500, shard_cells: int = 128, seed: int = 0) -> csr_matrix:
    matrix = counts(n, seed)
    with StoreWriter(folder, genes(), uns={"matrix": "counts"}, shard_cells=shard_cells, threads=2) as store:
        for start in range(0, n, 90):
            store.append(matrix[start : start + 90], obs(n).iloc[start : start + 90])
        store.finish()
    return matrix


@st.composite
def sparse_counts(draw: st.DrawFn) -> csr_matrix:
    n, width = draw(st.integers(1, 6)), draw(st.integers(1, 1500))
    entries = draw(
        st.lists(
            st.tuples(
                st.integers(0, n - 1),
                st.integers(0, width - 1),
                st.sampled_from([1, 2, 31, 32, 254, 255, 256, 65_535, 65_536, 2**24 + 1, 2**32 - 1]),
            ),
            max_size=40,
            unique_by=lambda entry: entry[:2],
        )
    )
    row, gene, value = (np.array([e[i] for e in entries], dtype=np.int64) for i in range(3))
    return csr_matrix((value, (row, gene)), shape=(n, width))


@given(sparse_counts(), st.integers(1, 3))
@settings(max_examples=150, deadline=None)
def test_records_give_back_every_count(matrix: csr_matrix, threads: int) -> None:
    matrix.sort_indices()
    found, index = codec.encode(matrix.indptr, matrix.indices, matrix.data, threads)
    r = record_table(index)
    indices, values = np.empty(matrix.nnz, dtype=np.int32), np.empty(matrix.nnz, dtype=np.float64)
    indptr, bad = matrix.indptr.astype(np.int64), np.full(1, -1)
    order = np.arange(matrix.shape[0])
    records = (found, r["begins"], r["ends"], r["nnz"], r["wide"])
    codec.decode_sparse(
        0, len(order), *records, order, matrix.shape[1], np.empty(0, np.int32), 2000, 0.0, indptr, indices, values, bad
    )
    assert bad[0] == -1
    assert np.array_equal(indices, matrix.indices)
    assert np.array_equal(values, matrix.data)
    # two bytes a non-zero, four more for a wide count, one more for each 255 genes that are skipped
    assert len(found) <= 2 * matrix.nnz + 4 * int((matrix.data >= 255).sum()) + matrix.shape[0] * matrix.shape[1] // 255


@given(sparse_counts(), st.data())
@settings(max_examples=150, deadline=None)
def test_damaged_records_are_noticed_or_stay_within_the_genes(matrix: csr_matrix, data: st.DataObject) -> None:
    matrix.sort_indices()
    found, index = codec.encode(matrix.indptr, matrix.indices, matrix.data)
    if not len(found):
        return
    found[data.draw(st.integers(0, len(found) - 1))] = data.draw(st.integers(0, 255))
    r = record_table(index)
    indices, values = np.full(matrix.nnz, -1, dtype=np.int32), np.zeros(matrix.nnz, dtype=np.float32)
    bad, order = np.full(1, -1), np.arange(matrix.shape[0])
    records = (found, r["begins"], r["ends"], r["nnz"], r["wide"])
    codec.decode_sparse(
        0, len(order), *records, order, matrix.shape[1], np.empty(0, np.int32), 2000, 1e4,
        matrix.indptr.astype(np.int64), indices, values, bad,
    )  # fmt: skip
    if bad[0] == -1:
        assert indices.max(initial=0) < matrix.shape[1]
        assert all((np.diff(indices[a:b]) > 0).all() for a, b in zip(matrix.indptr, matrix.indptr[1:], strict=False))


def test_a_store_gives_back_what_was_written(tmp_path: Path) -> None:
    matrix = write(tmp_path / "store")
    store = Store.open(tmp_path / "store", verify=True)
    cells = store.read()
    assert (matrix != cells.X).nnz == 0
    assert list(cells.obs_names) == list(obs(500).index)
    assert list(cells.obs["study"]) == list(obs(500)["study"])
    assert list(cells.var["feature_id"]) == list(genes()["feature_id"])
    assert cells.uns["annobench"] == {"matrix": "counts"}
    assert len(store.manifest.shards) == 4
    # a slice, a sample, one class: in the order that is asked for, across shards
    some = np.array([499, 3, 130, 0])
    assert (matrix[some] != store.read(some).X).nnz == 0
    assert list(store.read(some).obs_names) == [f"c{i}" for i in some]
    assert store.where("label_id", "CL:2").tolist() == list(range(2, 500, 5))
    assert store.where("label_id", "CL:none").tolist() == []
    assert len(store.sample(20, seed=1)) == 20
    assert np.array_equal(store.sample(20, seed=1), store.sample(20, seed=1))
    with pytest.raises(DataError, match="beyond its 500 cells"):
        store.read(np.array([500]))


def test_codes_depend_on_the_table_of_names_alone(tmp_path: Path) -> None:
    write(tmp_path / "store")
    store = Store.open(tmp_path / "store")
    names = ["CL:4", "CL:0", "CL:never"]
    codes = store.codes("label_id", names)
    assert codes.tolist() == [{0: 1, 4: 0}.get(i % 5, -1) for i in range(500)]
    # cells 1 and 4 alone: reading them as AnnData must not turn code 0 into something else
    part = store.read(np.array([1, 4]))
    assert list(part.obs["label_id"]) == ["CL:1", "CL:4"]
    assert list(part.obs["label_id"].cat.categories) == ["CL:0", "CL:1", "CL:2", "CL:3", "CL:4"]
    with pytest.raises(DataError, match="no column assay"):
        store.codes("assay", names)


def test_float32_is_left_where_it_cannot_hold_a_count(tmp_path: Path) -> None:
    matrix = csr_matrix(np.array([[0, 2**24 + 1, 2**32 - 1]], dtype=np.int64))
    with StoreWriter(tmp_path, genes(3)) as store:
        store.append(matrix, obs(1))
        store.finish()
    assert Store.open(tmp_path).read().X.toarray().tolist() == [[0, 2**24 + 1, 2**32 - 1]]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([1.0, -2.0], "1 values are negative .*cell 7"),
        ([1.0, 0.5], "1 values are not a whole number .*cell 7"),
        ([1.0, np.nan], "1 values are not a whole number"),
        ([1.0, np.inf], "1 values are not a whole number"),
        ([1.0, 2.0**33], "1 values are larger than 4294967295"),
        ([1.0, np.float32(2.0**32)], "1 values are larger than 4294967295"),
        ([1, np.int64(2**32)], "1 values are larger than 4294967295"),
        ([1, np.uint64(2**63)], "1 values are larger than 4294967295"),
    ],
)
def test_what_are_no_counts_is_refused(tmp_path: Path, values: list[float], message: str) -> None:
    with StoreWriter(tmp_path, genes(3)) as store:
        store.done = 7
        with pytest.raises(DataError, match=message):
            store.append(csr_matrix(np.array([[0, *values]], dtype=np.asarray(values[1]).dtype)), obs(1))


@pytest.mark.parametrize("matrix_format", ["csr", "coo"])
@pytest.mark.parametrize(
    "values", [np.array([2**63] * 2, "u8"), np.array([2**62] * 4), np.array([-1, 2]), np.array([-1.0, 2])]
)
def test_what_hides_in_a_sum_is_refused(values: Any, matrix_format: str) -> None:
    row, gene = np.zeros(len(values), int), np.ones(len(values), int)
    if matrix_format == "coo":
        matrix = coo_matrix((values, (row, gene)), shape=(1, 3))
    else:
        matrix = csr_matrix((values, gene, np.array([0, len(values)])), shape=(1, 3))
    with pytest.raises(DataError, match="x: . values are negative or larger than 4294967295"):
        checked_counts(matrix, "x")


def test_the_largest_count_of_every_type_is_kept(tmp_path: Path) -> None:
    largest = {np.uint32: 2**32 - 1, np.int64: 2**32 - 1, np.float64: 2**32 - 1, np.float32: 2**32 - 256}
    for kind, value in largest.items():
        folder = tmp_path / np.dtype(kind).name
        with StoreWriter(folder, genes(3)) as store:
            store.append(csr_matrix(np.array([[0, value, 5]], dtype=kind)), obs(1))
            store.finish()
        assert Store.open(folder).read().X.toarray().tolist() == [[0, value, 5]]


def test_counts_never_wrap_whatever_their_type(tmp_path: Path) -> None:
    for kind in (bool, np.uint8, np.int16, np.uint16, np.int64, np.uint64, np.float64):
        matrix = csr_matrix(np.array([[0, 1, 1]], dtype=kind))
        folder = tmp_path / np.dtype(kind).name
        with StoreWriter(folder, genes(3)) as store:
            store.append(matrix, obs(1))
            store.finish()
        assert Store.open(folder).read().X.toarray().tolist() == [[0, 1, 1]]
    # duplicate columns are added up, and may then be too large
    twice = csr_matrix((np.array([2**32 - 1, 1]), np.array([1, 1]), np.array([0, 2])), shape=(1, 3))
    with StoreWriter(tmp_path / "twice", genes(3)) as store, pytest.raises(DataError, match="larger than 4294967295"):
        store.append(twice, obs(1))


def test_a_cut_shard_is_named_at_once(tmp_path: Path) -> None:
    write(tmp_path)
    path = tmp_path / "00002.records"
    os.truncate(path, path.stat().st_size - 1)
    with pytest.raises(DataError, match=r"00002\.records: has \d+ bytes, the manifest says"):
        Store.open(tmp_path)
    path.unlink()
    with pytest.raises(DataError, match=r"00002\.records: is missing"):
        Store.open(tmp_path)


def test_a_shard_that_is_cut_while_it_is_read_is_named(tmp_path: Path) -> None:
    write(tmp_path)
    store = Store.open(tmp_path)
    os.truncate(tmp_path / "00001.records", 10)
    with pytest.raises(DataError, match=r"00001\.records: ends at byte 10"):
        store.read()


@pytest.mark.parametrize("part", ["records", "index.npy", "obs.parquet"])
def test_flipped_bits_are_named_by_their_hash(tmp_path: Path, part: str) -> None:
    write(tmp_path)
    path = tmp_path / f"00001.{part}"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    path.write_bytes(data)
    with pytest.raises(DataError, match=rf"1 files are damaged \(sha256 differs from the manifest\): 00001\.{part}"):
        Store.open(tmp_path, verify=True)


def test_a_broken_record_is_named_by_file_and_cell(tmp_path: Path) -> None:
    write(tmp_path)
    store = Store.open(tmp_path)
    index = store.index(1)
    path = tmp_path / "00001.records"
    data = bytearray(path.read_bytes())
    data[int(index["offset"][5]) : int(index["offset"][6])] = b"\xff" * int(index["offset"][6] - index["offset"][5])
    path.write_bytes(data)
    with pytest.raises(DataError, match=r"00001\.records, cell 5: its bytes are not a record of 300 genes"):
        store.read()


def test_without_a_manifest_a_store_is_unfinished(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is not a store"):
        Store.open(tmp_path)
    write(tmp_path)
    (tmp_path / "manifest.json").unlink()
    with pytest.raises(DataError, match="is unfinished"):
        Store.open(tmp_path)


def test_a_changed_manifest_is_refused(tmp_path: Path) -> None:
    write(tmp_path)
    path = tmp_path / "manifest.json"
    document = json.loads(path.read_text())
    document["shards"][0]["files"]["obs"]["sha256"] = "0" * 64
    path.write_text(json.dumps(document))
    with pytest.raises(DataError, match="its digest is not that of its entries"):
        Store.open(tmp_path)
    path.write_text(json.dumps({**document, "version": 99}))
    with pytest.raises(DataError, match=r"version 99, expected annobench\.store version 1"):
        Store.open(tmp_path)


def test_an_interrupted_writer_goes_on_after_its_last_whole_shard(tmp_path: Path) -> None:
    matrix, source = counts(300), {"file": "a"}
    with StoreWriter(tmp_path, genes(), source=source, shard_cells=100) as store:
        store.append(matrix[:250], obs(300).iloc[:250])  # and no `finish`
    assert not (tmp_path / "manifest.json").exists()
    with StoreWriter(tmp_path, genes(), source=source, shard_cells=100) as store:
        assert store.done == 200
        store.append(matrix[200:], obs(300).iloc[200:])
        store.finish()
    assert (matrix != Store.open(tmp_path, verify=True).read().X).nnz == 0
    assert not (tmp_path / "source.json").exists()


def test_a_writer_of_another_source_begins_again(tmp_path: Path) -> None:
    with StoreWriter(tmp_path, genes(), source={"file": "a"}, shard_cells=50) as store:
        store.append(counts(120), obs(120))
    with StoreWriter(tmp_path, genes(), source={"file": "b"}, shard_cells=50) as store:
        assert store.done == 0
        assert not list(tmp_path.glob("0*"))


_KILLED = """
import sys, time
sys.path[:0] = {paths!r}
from pathlib import Path
from test_store import counts, genes, obs
from annobench.cells.store.writer import StoreWriter
with StoreWriter(Path(sys.argv[1]), genes(), source={{"file": "a"}}, shard_cells=100) as store:
    for start in range(store.done, 1000, 10):
        store.append(counts(1000)[start : start + 10], obs(1000).iloc[start : start + 10])
        time.sleep(0.02)
    store.finish()
"""


def test_killed_while_writing_it_ends_the_same(tmp_path: Path) -> None:
    code = _KILLED.format(paths=[str(SCRIPTS), str(Path(__file__).parent)])
    command = [sys.executable, "-c", code, str(tmp_path / "store")]
    process = subprocess.Popen(command)
    while not (tmp_path / "store" / "00002.json").exists():
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    with pytest.raises(DataError, match="is unfinished"):
        Store.open(tmp_path / "store")
    kept = (tmp_path / "store" / "00001.records").stat().st_mtime_ns
    subprocess.run(command, check=True)
    store = Store.open(tmp_path / "store", verify=True)
    assert (counts(1000) != store.read().X).nnz == 0
    assert (tmp_path / "store" / "00001.records").stat().st_mtime_ns == kept


def test_two_writers_are_one_too_many(tmp_path: Path) -> None:
    with StoreWriter(tmp_path, genes()) as first:
        first.append(counts(10), obs(10))
        with pytest.raises(DataError, match=rf"is being written by process {os.getpid()} on"):
            StoreWriter(tmp_path, genes())
        with pytest.raises(DataError, match=rf"is being written by process {os.getpid()} on"):
            link_stores([], tmp_path, uns={}, source={})
        first.finish()
    with StoreWriter(tmp_path, genes()) as second:  # the lock is gone with the writer
        second.append(counts(10), obs(10, "d"))
        second.finish()
    assert Store.open(tmp_path).n == 20


def test_a_full_disk_leaves_what_is_whole(tmp_path: Path) -> None:
    """A file size limit of the system is what a full disk is to a writer; it comes with the fourth shard."""
    code = _KILLED.format(paths=[str(SCRIPTS), str(Path(__file__).parent)]).replace("time.sleep(0.02)", "pass")
    limit = "if start == 350: import resource as r, signal as s; s.signal(s.SIGXFSZ, s.SIG_IGN); "
    limit += "r.setrlimit(r.RLIMIT_FSIZE, (2000, 2000))"
    command = [sys.executable, "-c", code.replace("pass", limit), str(tmp_path / "store")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1
    assert "the disk is full" in done.stderr
    assert "make room and run the same command again" in done.stderr
    left = {path.name for path in (tmp_path / "store").iterdir()}
    assert {"00002.json", "00002.records"} <= left
    assert not [name for name in left if name.startswith((".", "00003", "manifest"))]
    with pytest.raises(DataError, match="is unfinished"):
        Store.open(tmp_path / "store")
    kept = (tmp_path / "store" / "00002.records").stat().st_mtime_ns
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "store")], check=True)
    assert (counts(1000) != Store.open(tmp_path / "store", verify=True).read().X).nnz == 0
    assert (tmp_path / "store" / "00002.records").stat().st_mtime_ns == kept
    assert "make room" in str(disk_full(tmp_path / "x"))


def test_a_study_is_appended_and_seen_when_it_is_whole(tmp_path: Path) -> None:
    first = write(tmp_path)
    before = Store.open(tmp_path).manifest.digest
    more = counts(70, seed=1)
    with StoreWriter(tmp_path, genes(), source={"study": "new"}) as store:
        assert store.done == 0
        store.append(more, obs(70, "new", label_id=["CL:9"] * 70))
        assert Store.open(tmp_path).n == 500
        store.finish()
    found = Store.open(tmp_path, verify=True)
    assert found.n == 570
    assert found.manifest.digest != before
    assert (found.read().X[:500] != first).nnz == 0
    assert (found.read().X[500:] != more).nnz == 0
    assert found.where("label_id", "CL:9").tolist() == list(range(500, 570))
    assert found.manifest.uns == {"matrix": "counts"}


def test_other_genes_are_not_appended(tmp_path: Path) -> None:
    write(tmp_path)
    other = genes()[::-1].reset_index(drop=True)
    with pytest.raises(DataError, match="has 300 genes, what is appended has 300, or others"):
        StoreWriter(tmp_path, other)
    with (
        StoreWriter(tmp_path, genes()) as store,
        pytest.raises(DataError, match=r"shape \(3, 7\), expected \(3, 300\)"),
    ):
        store.append(counts(3, n_genes=7), obs(3))


def test_a_cell_id_that_stands_twice_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ids, "PASS", 100)  # several passes
    with StoreWriter(tmp_path, genes(), shard_cells=64) as store:
        store.append(counts(300), obs(300))
        store.append(counts(2), obs(2))
        with pytest.raises(DataError, match=r"2 duplicate cell ids \(such as c0\)"):
            store.finish()
    with pytest.raises(DataError, match="is unfinished"):
        Store.open(tmp_path)


def test_nothing_is_no_store(tmp_path: Path) -> None:
    with StoreWriter(tmp_path, genes()) as store, pytest.raises(DataError, match="no cells were written"):
        store.finish()


@pytest.mark.parametrize("kind", [csr_matrix, csc_matrix])
def test_a_part_takes_a_few_times_the_memory_that_it_may(tmp_path: Path, kind: Any, monkeypatch: Any) -> None:
    memory = 2**21
    monkeypatch.setattr("annobench.cells.store.h5ad.MEMORY", memory)
    dense = np.random.default_rng(0).random((2000, 3000), dtype=np.float32) < 0.5
    AnnData(kind(dense.astype(np.float32)), obs=obs(2000)).write_h5ad(tmp_path / "a.h5ad")
    with H5adFile(tmp_path / "a.h5ad") as file:
        tracemalloc.start()
        try:
            sizes = [part.nnz for part, _ in file.chunks(columns=[])]
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert sum(sizes) == dense.sum()
    assert len(sizes) > 5
    assert peak < 3 * memory + 2**20  # ids and the like


@pytest.mark.parametrize("kind", ["csr", "csc", "dense"])
@pytest.mark.parametrize("slot", ["X", "layers/counts", "raw"])
def test_an_h5ad_file_comes_in_parts(tmp_path: Path, kind: str, slot: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("annobench.cells.store.h5ad.MEMORY", 4000)
    matrix = counts(60)
    values: Any = {"csr": matrix, "csc": csc_matrix(matrix), "dense": matrix.toarray()}[kind]
    table = obs(60, label_id=pd.Categorical([f"CL:{i % 5}" for i in range(60)]))
    table["number"], table["flag"] = np.arange(60) / 2, [i % 2 == 0 for i in range(60)]
    table["maybe"] = pd.array([None if i == 3 else i for i in range(60)], dtype="Int64")
    cells = AnnData(values, obs=table, var=genes().set_index("feature_id", drop=False).rename_axis(None))
    if slot == "raw":
        cells.raw = cells.copy()
    elif slot != "X":
        cells.layers["counts"] = cells.X
    if slot != "X":
        cells.X = csr_matrix(cells.shape)
    cells.write_h5ad(tmp_path / "cells.h5ad")
    with H5adFile(tmp_path / "cells.h5ad", slot) as file:
        assert (file.n, file.genes) == (60, GENES)
        assert list(file.var["feature_name"]) == list(genes()["feature_name"])
        parts = list(file.chunks())
        later = list(file.chunks(start=37))
    assert len(parts) > 2
    found = pd.concat([part for _, part in parts])
    assert np.array_equal(np.vstack([m.toarray() for m, _ in parts]), matrix.toarray())
    assert np.array_equal(np.vstack([m.toarray() for m, _ in later]), matrix.toarray()[37:])
    assert list(found.index) == list(table.index)
    for column in ("label_id", "study", "number", "flag"):
        assert found[column].astype(str).tolist() == table[column].astype(str).tolist()
    assert pd.isna(found["maybe"].iloc[3])
    assert found["maybe"].iloc[4] == 4


def test_what_is_no_h5ad_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "cut.h5ad").write_bytes(b"\x89HDF\r\n\x1a\n" + b"0" * 100)
    with pytest.raises(DataError, match="not a readable h5ad file"):
        H5adFile(tmp_path / "cut.h5ad")
    AnnData(counts(5), obs=obs(5), var=genes().set_index("feature_name")).write_h5ad(tmp_path / "a.h5ad")
    with pytest.raises(DataError, match=r"there is no matrix layers/count"):
        H5adFile(tmp_path / "a.h5ad", "layers/count")


@pytest.mark.parametrize("kind", [np.uint8, np.int8, np.uint16, np.int32, np.uint32, np.float32])
def test_a_gene_that_stands_twice_is_added_up_whatever_the_type(tmp_path: Path, kind: Any) -> None:
    largest = 100 if kind == np.int8 else 200 if kind == np.uint8 else 65_530 if kind == np.uint16 else 2**30
    twice = csr_matrix((np.array([largest, largest], dtype=kind), np.array([1, 1]), np.array([0, 2])), shape=(1, 3))
    with StoreWriter(tmp_path, genes(3)) as store:
        store.append(twice, obs(1))
        store.finish()
    assert Store.open(tmp_path).read().X.toarray().tolist() == [[0, 2 * largest, 0]]


@pytest.mark.parametrize(
    ("indices", "indptr"), [([-3, 1], [0, 1, 2]), ([0, 3], [0, 1, 2]), ([0, 1], [0, 2, 1]), ([0, 1], [0, 3, 2])]
)
def test_indices_outside_the_genes_are_refused_before_anything_is_written(
    tmp_path: Path, indices: list[int], indptr: list[int]
) -> None:
    broken = csr_matrix((2, 3), dtype=np.float32)
    broken.data, broken.indices, broken.indptr = np.ones(2, np.float32), np.array(indices), np.array(indptr)
    with StoreWriter(tmp_path, genes(3)) as store:
        with pytest.raises(DataError, match="the matrix is damaged: its indices lie outside its 3 genes"):
            checked_counts(broken, "x.h5ad")
        assert store.done == 0


@pytest.mark.parametrize("kind", [csr_matrix, csc_matrix])
@pytest.mark.parametrize(("name", "value"), [("indices", -3), ("indices", 1_000), ("indptr", 1_000_000)])
def test_an_h5ad_file_with_indices_that_cannot_be_is_named(tmp_path: Path, kind: Any, name: str, value: int) -> None:
    import h5py

    cells = AnnData(kind(counts(20)), obs=obs(20), var=genes().set_index("feature_name"))
    cells.write_h5ad(tmp_path / "a.h5ad")
    with h5py.File(tmp_path / "a.h5ad", "a") as file:
        file[f"X/{name}"][3] = value
    with H5adFile(tmp_path / "a.h5ad") as file, pytest.raises(DataError, match=r"a\.h5ad: the matrix is damaged"):
        list(file.chunks())


@pytest.mark.parametrize("key", ["uns", "shards", "genes", "cells of a shard", "no digest", "a list"])
def test_a_manifest_that_says_something_else_is_refused(tmp_path: Path, key: str) -> None:
    write(tmp_path)
    path = tmp_path / "manifest.json"
    document = json.loads(path.read_text())
    if key == "uns":
        document["uns"] = {"matrix": "log1p_cp10k"}
    elif key == "shards":
        document["shards"][0]["max_count"] = 2**30
    elif key == "genes":
        document["genes"] += 1
    elif key == "cells of a shard":
        document["shards"][0]["cells"] -= 1
    elif key == "no digest":
        del document["digest"]
    path.write_text(json.dumps([document] if key == "a list" else document))
    with pytest.raises(DataError, match=r"manifest\.json: (was changed|is damaged)"):
        Store.open(tmp_path)


@pytest.mark.parametrize(("column", "value"), [("nnz", 2**32 - 1), ("offset", 0), ("wide", 2**31)])
def test_an_index_that_does_not_fit_is_refused_without_a_hash(tmp_path: Path, column: str, value: int) -> None:
    write(tmp_path)
    path = tmp_path / "00001.index.npy"
    index = np.load(path)
    index[column][7] = value
    np.save(path, index)
    with pytest.raises(DataError, match=r"00001\.index\.npy: does not fit the records of its shard"):
        Store.open(tmp_path).read()


def test_annotations_of_another_kind_are_not_appended(tmp_path: Path) -> None:
    with StoreWriter(tmp_path, genes()) as store:
        store.append(counts(5), obs(5, depth=[1, 2, 3, 4, 5]))
        store.finish()
    with StoreWriter(tmp_path, genes()) as store:
        store.append(counts(5), obs(5, "d", depth=list("abcde")))
        with pytest.raises(DataError, match="column 'depth' of obs holds text here and int64 in the store"):
            store.finish()
    assert Store.open(tmp_path, verify=True).n == 5
    with StoreWriter(tmp_path, genes()) as store:
        store.append(counts(5), obs(5, "d", cell_id=list("abcde")))
        with pytest.raises(DataError, match="obs has a column cell_id"):
            store.finish()


@pytest.mark.parametrize(("columns", "whose"), [({}, "the store"), ({"donor": ["d"] * 70, "sex": ["m"] * 70}, "what")])
def test_a_study_with_other_columns_is_not_appended(tmp_path: Path, columns: dict, whose: str) -> None:
    with StoreWriter(tmp_path, genes()) as store:
        store.append(counts(50), obs(50).assign(donor="d"))
        store.finish()
    with StoreWriter(tmp_path, genes(), source={"study": "new"}) as store:
        store.append(counts(70), obs(70, "new").drop(columns="donor", errors="ignore").assign(**columns))
        with pytest.raises(DataError, match=f"only {whose} .*has the column '(donor|sex)' of obs"):
            store.finish()
    assert Store.open(tmp_path, verify=True).n == 50


def test_what_is_in_already_is_not_written_again(tmp_path: Path) -> None:
    """Killed after the manifest and before its caller knew."""
    source = {"study": "new"}
    write(tmp_path)
    for _ in range(2):
        with StoreWriter(tmp_path, genes(), source=source) as store:
            if store.done == 0:
                store.append(counts(70, 1), obs(70, "new"))
            assert store.done in (0, 70)
            manifest = store.finish()
        assert manifest.cells == 570
        assert manifest.ends_with(source)
    assert Store.open(tmp_path, verify=True).n == 570


def test_columns_can_be_withheld(tmp_path: Path) -> None:
    write(tmp_path)
    store = Store.open(tmp_path).without(["label_id"])
    assert list(store.obs()) == ["study"]
    assert list(store.read(np.arange(3)).obs) == ["study"]
    for ask in (lambda: store.obs(["label_id"]), lambda: store.codes("label_id", ["CL:0"])):
        with pytest.raises(DataError, match="no column label_id; it has study"):
            ask()
