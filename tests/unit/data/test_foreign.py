"""What is promised: counts in other files than h5ad are sources, and what no source is, is told by what it is."""

import gzip
import shutil
from pathlib import Path

import anndata as ad
import h5py
import numpy as np
import pandas as pd
import pytest
from scipy.io import mmwrite
from scipy.sparse import coo_matrix, csr_matrix

from annobench.cells.not_h5ad import not_h5ad
from annobench.cells.store.h5ad import H5adFile
from annobench.core.errors import DataError
from annobench.data.sources.local import Source
from annobench.data.sources.url import Source as Download

COUNTS = np.random.default_rng(1).poisson(0.9, (9, 5))
CELLS = [f"ACGT{i}-1" for i in range(9)]
IDS = [f"ENSG{i:011d}" for i in range(5)]
SYMBOLS = ["A1", "B2", "B2", "C3", "CD3_TotalSeqB"]
TYPES = ["Gene Expression"] * 4 + ["Antibody Capture"]


def tenx_h5(path: Path) -> Path:
    sparse = csr_matrix(COUNTS)  # cells by features, as columns of features by cells
    with h5py.File(path, "w") as file:
        group = file.create_group("matrix")
        for name, values in (("data", sparse.data), ("indices", sparse.indices), ("indptr", sparse.indptr)):
            group[name] = values
        group["shape"] = np.array([5, 9])
        group["barcodes"] = np.array(CELLS, dtype="S")
        features = {"id": IDS, "name": SYMBOLS, "feature_type": TYPES, "genome": ["GRCh38"] * 5}
        for name, texts in features.items():
            group.create_dataset(f"features/{name}", data=np.array(texts, dtype="S"))
    return path


def tenx_mtx(folder: Path, prefix: str = "", zipped: bool = True, old: bool = False) -> Path:
    folder.mkdir(exist_ok=True)
    mmwrite(folder / f"{prefix}matrix.mtx", coo_matrix(COUNTS.T))
    columns = [IDS, SYMBOLS] if old else [IDS, SYMBOLS, TYPES]
    name = "genes" if old else "features"
    (folder / f"{prefix}{name}.tsv").write_text("".join("\t".join(row) + "\n" for row in zip(*columns, strict=True)))
    (folder / f"{prefix}barcodes.tsv").write_text("".join(f"{cell}\n" for cell in CELLS))
    for file in list(folder.iterdir()) if zipped else []:
        (folder / f"{file.name}.gz").write_bytes(gzip.compress(file.read_bytes()))
        file.unlink()
    return folder


def loom(path: Path) -> Path:
    with h5py.File(path, "w") as file:
        file["matrix"] = COUNTS.T.astype("f4")
        text = h5py.string_dtype()
        file.create_dataset("row_attrs/Gene", data=SYMBOLS, dtype=text)
        file.create_dataset("row_attrs/Accession", data=IDS, dtype=text)
        file.create_dataset("col_attrs/CellID", data=CELLS, dtype=text)
        file.create_dataset("col_attrs/ClusterName", data=["x"] * 9, dtype=text)
    return path


def text(path: Path, sep: str = ",", genes: str = "rows", names: bool = True) -> Path:
    table = pd.DataFrame(COUNTS.T, index=IDS, columns=CELLS)
    written = (table if genes == "rows" else table.T).to_csv(sep=sep)
    data = (written if names else written.removeprefix(sep)).encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def fetched(path: Path, folder: Path, **more: str) -> ad.AnnData:
    folder.mkdir(exist_ok=True)
    source = Source(kind="local", path=str(path), **more)
    assert source.files()
    got = source.fetch(folder, {}, lambda text: None)
    return ad.read_h5ad(got.file)


@pytest.mark.filterwarnings("ignore:.*names are not unique", "ignore:Writing zarr v2")
def test_every_door_leads_to_the_same_counts(tmp_path: Path) -> None:
    cells = ad.AnnData(csr_matrix(COUNTS.astype("f4")), pd.DataFrame(index=CELLS), pd.DataFrame(index=IDS))
    cells.write_zarr(tmp_path / "a.zarr")
    cells.write_h5ad(tmp_path / "b.h5ad")
    (tmp_path / "b.h5ad.gz").write_bytes(gzip.compress((tmp_path / "b.h5ad").read_bytes()))
    doors = {
        "tenx_h5": [tenx_h5(tmp_path / "a.h5")],
        "tenx_mtx": [
            tenx_mtx(tmp_path / "m1"),
            tenx_mtx(tmp_path / "m2", "GSM1_", zipped=False),
            tenx_mtx(tmp_path / "m3", old=True) / "matrix.mtx.gz",
        ],
        "loom": [loom(tmp_path / "a.loom")],
        "zarr": [tmp_path / "a.zarr"],
        "csv": [text(tmp_path / "a.csv"), text(tmp_path / "a2.csv.gz", names=False)],
        "tsv": [text(tmp_path / "a.tsv", "\t")],
        "h5ad_gz": [tmp_path / "b.h5ad.gz"],
    }
    for form, paths in doors.items():
        for path in paths:
            found = fetched(path, tmp_path / "out", format=form)
            assert (np.asarray(csr_matrix(found.X).todense()) == COUNTS).all(), form
            assert list(found.obs_names) == CELLS
            columns = [list(found.var_names), *(list(found.var[name].astype(str)) for name in found.var)]
            assert IDS in columns
            if form in ("tenx_h5", "tenx_mtx"):
                assert list(found.var_names) == SYMBOLS  # nothing is renamed or dropped here
    found = fetched(text(tmp_path / "c.csv", genes="columns"), tmp_path / "out", format="csv", genes="columns")
    assert (found.X.toarray() == COUNTS).all()


def test_a_download_is_converted_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("ANNOBENCH_CACHE", str(tmp_path / "cache"))
    file = text(tmp_path / "a.csv.gz")
    (tmp_path / "out").mkdir()
    source = Download(kind="url", urls=(file.as_uri(),), file="a.csv.gz", format="csv")
    got = source.fetch(tmp_path / "out", {}, lambda text: None)
    assert got.file.name == "a.csv.h5ad"
    assert [step["step"] for step in got.steps] == ["download", "convert"]
    assert (ad.read_h5ad(got.file).X.toarray() == COUNTS).all()


def test_observations_are_joined_by_id_and_counted(tmp_path: Path) -> None:
    table = tmp_path / "obs.tsv"
    table.write_text("barcode\tcell_type\n" + "".join(f"{cell}\tB cell\n" for cell in CELLS[:7]) + "other\tx\n")
    (tmp_path / "out").mkdir()
    source = Source(kind="local", path=str(tenx_mtx(tmp_path / "m")), format="tenx_mtx", observations=str(table))
    assert len(source.files()) == 4
    got = source.fetch(tmp_path / "out", {}, lambda text: None)
    with H5adFile(got.file) as file:
        assert file.obs(columns=["cell_type"])["cell_type"].isna().tolist() == [False] * 7 + [True] * 2
    assert got.steps[-1]["observations"]["cells_without_row"] == 2
    assert got.steps[-1]["observations"]["rows_without_cell"] == 1
    table.write_text("barcode\tcell_type\nACGT0\tB cell\n")
    with pytest.raises(DataError, match="has none of the 9 cells .there 'ACGT0', here 'ACGT0-1'"):
        source.fetch(tmp_path / "out", {}, lambda text: None)


def test_files_that_are_not_of_the_format(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="format says loom, but .* this file is the HDF5 file of Cell Ranger"):
        fetched(tenx_h5(tmp_path / "a.h5"), tmp_path / "out", format="loom")
    with pytest.raises(DataError, match="source.genes says columns, but the rows have names of genes"):
        fetched(text(tmp_path / "a.csv"), tmp_path / "out", format="csv", genes="columns")
    folder = tenx_mtx(tmp_path / "m")
    tenx_mtx(folder, "other_")
    with pytest.raises(DataError, match="has 2 files matrix.mtx"):
        fetched(folder, tmp_path / "out", format="tenx_mtx")
    (folder / "other_barcodes.tsv.gz").write_bytes(gzip.compress(b"a\nb\n"))
    with pytest.raises(DataError, match="a matrix of 5 x 9, but other_features.tsv.gz lists 5 features and .* 2 cells"):
        fetched(folder / "other_matrix.mtx.gz", tmp_path / "out", format="tenx_mtx")
    with pytest.raises(DataError, match="source.sha256"):
        fetched(tmp_path / "a.csv", tmp_path / "out", format="csv", sha256="0" * 64)


HDF = b"\x89HDF\r\n\x1a\n"


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "is empty"),
        (b"version https://git-lfs.github.com/spec/v1\noid", "pointer of Git LFS.*git lfs pull"),
        (b"<!DOCTYPE html><html><title>Sign in</title>", r"web page \('Sign in'\)"),
        (b'<?xml version="1.0"?><Error><Message>Access Denied</Message>', r"web page \('Access Denied'\)"),
        (b'{"message": "not found"}', "JSON .*not found"),
        (b"cell,a,b\nx,1,2\n", "source.format: csv"),
        (b"cell\ta\tb\nx\t1\t2\n", "source.format: tsv"),
        (b"%%MatrixMarket matrix", "source.format: tenx_mtx"),
        (b"PK\x03\x04", "zip archive"),
        (b"BZh91AY", "bunzip2"),
        (b"PAR1", "Parquet"),
        (gzip.compress(HDF + bytes(50), mtime=0), "source.format: h5ad_gz"),
        (gzip.compress(b"X\n\x00\x00\x00\x03", mtime=0), "inside it is R data"),
        (gzip.compress(b"a,b\n1,2\n", mtime=0), "inside it is a table of texts"),
        (gzip.compress(bytes(range(256)) * 9, mtime=0)[:30], "damaged or cut off"),
        (HDF + bytes(100), "is damaged or cut off"),
        (b"\x01\x02\x03\x00", "unknown format"),
    ],
)
def test_what_a_file_is(tmp_path: Path, data: bytes, says: str) -> None:
    path = tmp_path / "a.h5ad"
    path.write_bytes(data)
    with pytest.raises(DataError, match=f"a.h5ad: is not a readable h5ad file: it .*{says}"):
        H5adFile(path)


def test_what_hdf5_files_and_folders_are(tmp_path: Path) -> None:
    def says(path: Path) -> str:
        return str(not_h5ad(path))

    assert "source.format: tenx_h5" in says(tenx_h5(tmp_path / "a.h5"))
    assert "source.format: loom" in says(loom(tmp_path / "a.loom"))
    assert "source.format: tenx_mtx" in says(tenx_mtx(tmp_path / "m"))
    (tmp_path / "z").mkdir()
    (tmp_path / "z" / ".zgroup").write_text("{}")
    assert "source.format: zarr" in says(tmp_path / "z")
    for keys, word in (
        (["mod"], "h5mu"),
        (["assays", "cell.names"], "SeuratDisk"),
        (["x"], "without obs or var (it has x)"),
    ):
        with h5py.File(tmp_path / "b.h5", "w") as file:
            for key in keys:
                file.create_group(key)
        assert word in says(tmp_path / "b.h5")
    cut = tmp_path / "cut.h5ad"
    shutil.copy(tmp_path / "a.h5", cut)
    cut.write_bytes(cut.read_bytes()[:1500])
    with pytest.raises(DataError, match=r"is cut off: 1500 of \d+ bytes are there"):
        H5adFile(cut)
    locked = BlockingIOError(11, "Unable to synchronously open file (unable to lock file, errno = 11)")
    assert "HDF5_USE_FILE_LOCKING=FALSE" in str(not_h5ad(cut, locked))
    assert "may not be read by you" in str(not_h5ad(cut, PermissionError(13, "x")))
    with pytest.raises(DataError, match="source.format: tenx_mtx"):
        Source(kind="local", path=str(tmp_path / "m")).fetch(tmp_path, {}, lambda text: None)
