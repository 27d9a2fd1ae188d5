"""What is promised: a Xenium bundle becomes the same cells whatever its forms, or is refused with a message."""

import gzip
import json
import os
import shutil
import zipfile
from dataclasses import replace
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from types import SimpleNamespace

import anndata as ad
import h5py
import numpy as np
import pytest
import yaml

import xenium_bundle as bundle
from annobench.config.schema import load_yaml, validate
from annobench.config.study import Study, load_study
from annobench.core.errors import ConfigError, DataError, DownloadError
from annobench.core.files import read_json, sha256_of
from annobench.core.paths import ROOT
from annobench.data.fetch import fetch_dataset
from annobench.data.prepare.dataset import prepare_dataset
from annobench.data.prepare.spec import DatasetSpec
from annobench.data.prepare.task import PreparedFiles
from annobench.data.sources.shared.xenium_files import cell_names
from annobench.data.sources.xenium import bundle_files, write_bundle
from annobench.data.spec import SourceSpec
from annobench.ontology import Ontology
from annobench.workflow.data import DataRules
from helpers import clone, http_server
from xenium_bundle import CONTROLS, FORMS, Content

TEXT = {"label": "d", "summary": "s", "citation": "c", "licence": "l"}


@pytest.fixture(scope="module")
def made() -> Content:
    """Eighty real blood cells, 120 genes, seven controls."""
    return bundle.of_pbmc()


@pytest.fixture
def get(tmp_path: Path):
    """Fetch a source into a fresh folder; returns the cells and the record."""

    def fetched(**source: object) -> tuple[ad.AnnData, dict]:
        folder, record = tmp_path / "source", tmp_path / "source.json"
        settings = validate(TEXT | {"source": {"kind": "xenium", **source}}, "dataset", "d.yaml")
        lock = tmp_path / "config" / "sources.lock.yaml"
        fetch_dataset("d", SourceSpec.from_params(settings["source"]), folder, record, lock_file=lock)
        found = read_json(record)
        assert found["file"] == "xenium.h5ad"
        assert found["sha256"] == sha256_of(folder / "xenium.h5ad")
        assert [path.name for path in folder.iterdir()] == ["xenium.h5ad"]  # nothing that was unpacked stays
        return ad.read_h5ad(folder / "xenium.h5ad"), found

    return fetched


def read(folder: Path) -> ad.AnnData:
    """The cells of a bundle."""
    write_bundle(folder, folder.parent / "out.h5ad")
    return ad.read_h5ad(folder.parent / "out.h5ad")


def assert_holds(cells: ad.AnnData, made: Content) -> None:
    """The cells are those of the content: genes by id, cells in the order of their table, controls gone."""
    order = np.argsort(made.ids[: made.genes])
    assert list(cells.var["gene_ids"]) == [made.ids[i] for i in order]
    assert list(cells.var["feature_name"]) == [made.names[i] for i in order]
    assert list(cells.obs_names) == list(made.cells["cell_id"])
    assert (cells.X.toarray() == made.counts[order].T).all()
    assert cells.X.dtype == np.float32
    assert (cells.obsm["spatial"] == made.cells[["x_centroid", "y_centroid"]].to_numpy()).all()
    assert cells.obsm["spatial"].dtype == float
    for column in ("cell_area", "nucleus_area", "control_probe_counts", "total_counts"):
        assert np.array_equal(cells.obs[column].to_numpy(), made.cells[column].to_numpy(), equal_nan=True)


# what is read


@pytest.mark.parametrize("cells", ["parquet", "csv"])
@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_what_was_written(tmp_path: Path, made: Content, form: str, cells: str) -> None:
    assert_holds(read(bundle.write(tmp_path / "b", made, form, cells=cells)), made)


def test_all_forms_give_the_same_bytes_again_and_again(tmp_path: Path, made: Content) -> None:
    hashes = set()
    for form in (*FORMS, "h5"):
        for cells in ("parquet", "csv"):
            write_bundle(bundle.write(tmp_path / f"{form}_{cells}", made, form, cells=cells), tmp_path / "x.h5ad")
            hashes.add(sha256_of(tmp_path / "x.h5ad"))
            shutil.rmtree(tmp_path / f"{form}_{cells}")
    assert len(hashes) == 1


def test_the_order_of_a_file_does_not_matter(tmp_path: Path, made: Content) -> None:
    rng = np.random.default_rng(3)
    rows, columns = rng.permutation(len(made.ids)), rng.permutation(len(made.prefixes))
    mixed = replace(
        made,
        counts=made.counts[rows][:, columns],
        prefixes=made.prefixes[columns],
        **{key: [getattr(made, key)[i] for i in rows] for key in ("ids", "names", "types", "zarr_types")},
    )
    for form in FORMS:
        assert_holds(read(bundle.write(tmp_path / form, mixed, form)), made)


@pytest.mark.parametrize("form", FORMS)
def test_real_cells_of_a_lung_tumour(tmp_path: Path, real_data: Path, form: str) -> None:
    file = real_data / "spatial" / "merfish_human_lung_cancer_3177.h5ad"
    if not file.is_file():
        pytest.skip(f"the folder with real data has no {file.name}")
    made = bundle.of_merfish(file)
    cells = read(bundle.write(tmp_path / "b", made, form))
    assert cells.shape == (3177, 479)
    assert_holds(cells, made)
    theirs = ad.read_h5ad(file)
    assert cells.X.sum() == theirs.X.sum()
    assert (cells.obsm["spatial"] == theirs.obsm["spatial"]).all()


def test_controls_are_counted_by_type_and_files_by_hash(get, tmp_path: Path, made: Content) -> None:
    folder = bundle.write(tmp_path / "b", made, "h5")
    _, record = get(path=str(folder))
    local, step = record["steps"]
    assert local == {"step": "local", "path": str(folder)}
    kinds = {kind for _, kind, _ in CONTROLS}
    expected = {
        kind: {
            "features": made.types.count(kind),
            "counts": int(made.counts[[i for i, each in enumerate(made.types) if each == kind]].sum()),
        }
        for kind in kinds
    }
    assert step["control_features"] == expected
    read_files = ["cell_feature_matrix.h5", "cells.parquet", "experiment.xenium", "gene_panel.json"]
    assert step["files"] == {
        name: {"bytes": (folder / name).stat().st_size, "sha256": sha256_of(folder / name)} for name in read_files
    }
    assert step["experiment"]["analysis_sw_version"] == "xenium-3.0.0.15"
    assert step["panel"] == {"name": "A panel", "design_id": "hPanel_v1", "gene_targets": 120}
    assert step["cells_with_other_totals"] == 0


@pytest.mark.parametrize("form", FORMS)
def test_old_bundles_without_types_are_told_by_name(tmp_path: Path, made: Content, form: str) -> None:
    names = [*made.names[:-1], "BLANK_0013"]  # they had no proteins
    old = replace(made, names=names, ids=[*made.ids[:-1], "BLANK_0013"])
    folder = bundle.write(tmp_path / "b", old, form, types=False)
    record = write_bundle(folder, tmp_path / "x.h5ad")
    assert record["genes"] == made.genes
    assert {kind: each["features"] for kind, each in record["control_features"].items()} == {
        "Blank Codeword": 1,
        "Deprecated Codeword": 1,
        "Genomic Control": 1,
        "Negative Control Codeword": 1,
        "Negative Control Probe": 2,
        "Unassigned Codeword": 1,
    }


def test_sums_that_only_zarr_has_are_no_genes(tmp_path: Path, made: Content) -> None:
    total = made.counts[: made.genes].sum(axis=0, keepdims=True)
    more = replace(
        made,
        counts=np.vstack([made.counts, total]),
        **{key: [*getattr(made, key), "Total transcripts"] for key in ("ids", "names", "types")},
        zarr_types=[*made.zarr_types, "aggregate_gene"],
    )
    assert_holds(read(bundle.write(tmp_path / "b", more, "zarr")), made)


def test_the_description_files_may_be_missing(tmp_path: Path, made: Content) -> None:
    folder = bundle.write(tmp_path / "b", made, "mtx")
    (folder / "experiment.xenium").unlink()
    (folder / "gene_panel.json").unlink()
    record = write_bundle(folder, tmp_path / "x.h5ad")
    assert (record["experiment"], record["panel"]) == ({}, {})


@pytest.mark.parametrize("as_bytes", [True, False], ids=["ids as bytes", "ids as numbers"])
def test_cell_ids_of_older_versions(tmp_path: Path, made: Content, as_bytes: bool) -> None:
    folder = bundle.write(tmp_path / "b", made, "h5")
    numbers = np.arange(1, len(made.prefixes) + 1)
    ids = [cell.encode() for cell in made.barcodes] if as_bytes else numbers
    bundle.write_cells(folder, made.cells.assign(cell_id=ids))
    if not as_bytes:
        with h5py.File(folder / "cell_feature_matrix.h5", "a") as file:
            del file["matrix/barcodes"]
            file["matrix/barcodes"] = np.array([str(number) for number in numbers], dtype="S")
    assert read(folder).n_obs == len(numbers)


def test_cell_ids_are_written_as_10x_writes_them() -> None:
    # the example of 10x's description of the format
    assert cell_names(np.array([[1437536272, 1]], dtype="uint32")) == ["ffkpbaba-1"]
    assert cell_names(np.array([[0, 2], [2**32 - 1, 10]], dtype="uint32")) == ["aaaaaaaa-2", "pppppppp-10"]
    assert cell_names(np.array([7, 8])) == ["7", "8"]


def test_genes_called_na_and_names_beyond_ascii(tmp_path: Path, made: Content) -> None:
    odd = replace(made, names=["NA", "β-globin", *made.names[2:]], panel={"payload": {"targets": []}})
    for form in FORMS:
        cells = read(bundle.write(tmp_path / form, odd, form))
        assert set(odd.names[:2]) <= set(cells.var["feature_name"])


# where from


@pytest.mark.parametrize("top", ["", "outs", "a/b c"])
@pytest.mark.parametrize("form", FORMS)
def test_a_zip_of_the_folder(get, tmp_path: Path, made: Content, form: str, top: str) -> None:
    archive = bundle.zipped(bundle.write(tmp_path / "b", made, form), tmp_path / "outs.zip", top=top)
    cells, record = get(path=str(archive))
    assert_holds(cells, made)
    assert "morphology.ome.tif" not in record["steps"][1]["files"]


def test_a_path_with_variables(get, tmp_path: Path, made: Content, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle.write(tmp_path / "b", made, "h5")
    monkeypatch.setenv("MY_DATA", str(tmp_path))
    assert_holds(get(path="$MY_DATA/b")[0], made)
    with pytest.raises(DataError, match="no folder or zip '.*nowhere'"):
        get(path="$MY_DATA/nowhere")
    with pytest.raises(DataError, match="names a variable that is not set"):
        get(path="$NOT_SET_ANYWHERE/b")


def test_a_download_is_resumed_verified_and_locked(
    get, tmp_path: Path, made: Content, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("annobench.data.download.http.time.sleep", lambda seconds: None)
    folder = bundle.write(tmp_path / "b", made, "zarr.zip")
    (folder / "morphology.ome.tif").write_bytes(os.urandom(200_000))  # pictures are most of a bundle
    archive = bundle.zipped(folder, tmp_path / "outs.zip")
    content = [archive.read_bytes()]
    asked: list[str | None] = []

    def answer(handler: BaseHTTPRequestHandler) -> None:
        wanted = handler.headers.get("Range")
        asked.append(wanted)
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted else 0
        handler.send_response(206 if start else 200)
        handler.send_header("ETag", '"v1"')
        handler.send_header("Content-Length", str(len(content[0]) - start))
        handler.end_headers()
        cut = len(asked) == 1
        handler.wfile.write(content[0][start : 70_000 if cut else None])
        if cut:
            handler.connection.close()

    with http_server(answer) as address:
        source = {"urls": [f"{address}/outs.zip"], "file": "outs.zip"}
        cells, record = get(**source)
        assert_holds(cells, made)
        assert asked[0] is None
        assert asked[1].startswith("bytes=")
        assert [step["step"] for step in record["steps"]] == ["download", "xenium"]
        lock = yaml.safe_load((tmp_path / "config" / "sources.lock.yaml").read_text())
        assert lock == {"d": {"outs.zip": record["steps"][0]["sha256"]}}
        with pytest.raises(DownloadError, match="expected 0000"):
            get(**source, sha256="0" * 64)
        other = bundle.keep_cells(made, list(range(40)))
        content[0] = bundle.zipped(bundle.write(tmp_path / "c", other, "h5"), tmp_path / "c.zip").read_bytes()
        monkeypatch.setenv("ANNOBENCH_CACHE", str(tmp_path / "another_machine"))
        with pytest.raises(DownloadError, match="the source has changed"):
            get(**source)


@pytest.mark.parametrize(
    ("source", "part"),
    [
        ({}, "source: key 'path' is missing, or instead of it 'urls' and 'file'"),
        ({"urls": ["https://host/a.zip"]}, "source: key 'file' is missing"),
        ({"path": "a", "urls": ["https://host/a.zip"], "file": "a.zip"}, "key 'path' does not go with the others"),
        ({"path": "a", "file": "a.zip"}, "key 'file' does not go with the others"),
        ({"path": "a", "sha256": "0" * 64}, "key 'sha256' does not go with the others"),
        ({"path": "a", "member": "b"}, "unknown key 'member'"),
    ],
)
def test_a_path_or_a_download_not_both(source: dict, part: str) -> None:
    with pytest.raises(ConfigError, match=part):
        validate(TEXT | {"source": {"kind": "xenium", **source}}, "dataset", "d.yaml")


def test_snakemake_watches_the_files_that_are_read(tmp_path: Path, made: Content) -> None:
    folder = bundle.write(tmp_path / "b", made, "h5", "mtx")
    dataset = {"source": {"kind": "xenium", "path": str(folder)}, "resources": {"memory_mb": 5000}}
    settings = {"ontology": {"release": "r", "source": "wheel"}}
    empty = ("methods", "splits", "fitted_splits", "panels", "rollups", "releases")
    data = DataRules(Study(name="s", settings=settings, datasets={"d": dataset}, **{key: {} for key in empty}))
    wildcards = SimpleNamespace(dataset="d")
    watched = data.fetch_inputs(wildcards)["local"]
    names = ["cell_feature_matrix.h5", "cells.parquet", "experiment.xenium", "gene_panel.json"]
    assert watched == [str(folder / name) for name in names]
    before = data.local_state(wildcards)
    os.utime(folder / "morphology.ome.tif", (1e9, 1e9))
    assert data.local_state(wildcards) == before
    os.utime(folder / "cells.parquet", (1e9, 1e9))
    assert data.local_state(wildcards) != before
    assert data.fetch_memory_mb(wildcards, 1) == 5000
    archive = bundle.zipped(folder, tmp_path / "b.zip")
    assert bundle_files(archive) == [archive]
    assert bundle_files(tmp_path / "nowhere") == []
    dataset["source"] = {"kind": "xenium", "urls": ["https://host/a.zip"], "file": "a.zip"}
    assert data.fetch_inputs(wildcards) == {}


def test_the_files_watched_are_those_of_the_record(tmp_path: Path, made: Content) -> None:
    for form in FORMS:
        folder = bundle.write(tmp_path / form, made, form)
        record = write_bundle(folder, tmp_path / "x.h5ad")
        assert [str(path.relative_to(folder)) for path in bundle_files(folder)] == list(record["files"])


# what is refused


def cut(path: Path, share: float = 0.6) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])


@pytest.mark.parametrize(
    ("form", "damage", "part"),
    [
        ("h5", lambda f: cut(f / "cell_feature_matrix.h5"), r"cell_feature_matrix.h5: not a readable 10x matrix \(\d+"),
        ("h5", lambda f: (f / "cell_feature_matrix.h5").write_bytes(b""), "cell_feature_matrix.h5: not a readable"),
        ("zarr.zip", lambda f: cut(f / "cell_feature_matrix.zarr.zip"), "cell_feature_matrix.zarr.zip: not a readable"),
        (
            "zarr",
            lambda f: (f / "cell_feature_matrix.zarr/cell_features/data/1").unlink(),
            "stored counts are zero, which a sparse matrix does not hold; a part of it is missing",
        ),
        (
            "zarr",
            lambda f: (f / "cell_feature_matrix.zarr/cell_features/indices/1").unlink(),
            "cell_feature_matrix.zarr: .*duplicate entries",
        ),
        (
            "zarr",
            lambda f: (f / "cell_feature_matrix.zarr/cell_features/indptr/1").unlink(),
            "cell_feature_matrix.zarr: not a readable 10x matrix",
        ),
        (
            "zarr",
            lambda f: shutil.rmtree(f / "cell_feature_matrix.zarr/cell_features/cell_id"),
            "cell_feature_matrix.zarr: not a readable 10x matrix .*cell_id",
        ),
        ("mtx", lambda f: cut(f / "cell_feature_matrix/matrix.mtx.gz"), "cell_feature_matrix: not a readable"),
        (
            "mtx",
            lambda f: (f / "cell_feature_matrix/features.tsv.gz").unlink(),
            "is not complete: cell_feature_matrix/features.tsv.gz is missing",
        ),
        (
            "mtx",
            lambda f: (f / "cell_feature_matrix/barcodes.tsv.gz").write_bytes(gzip.compress(b"a-1\n")),
            "the matrix has 127 features and 80 cells, but there are .* and 1 cell ids",
        ),
        ("h5", lambda f: (f / "cell_feature_matrix.h5").unlink(), "holds no matrix; expected .* found cells.parquet"),
        ("h5", lambda f: (f / "cells.parquet").unlink(), "holds no table of cells; expected cells.parquet or"),
        ("h5", lambda f: cut(f / "cells.parquet"), r"cells.parquet: not a readable table of cells \(\d+ bytes"),
        ("h5", lambda f: (f / "gene_panel.json").write_text("<html>"), "gene_panel.json: not a readable JSON file"),
        ("h5", lambda f: (f / "gene_panel.json").write_text("[1]"), "expected a JSON object, found list"),
        ("h5", lambda f: (f / "gene_panel.json").write_text("{}"), "is not a panel as 10x writes it .*'payload'"),
        ("h5", lambda f: (f / "experiment.xenium").write_text("{"), "experiment.xenium: not a readable JSON file"),
    ],
)
def test_damaged_bundles(tmp_path: Path, made: Content, form: str, damage, part: str) -> None:
    folder = bundle.write(tmp_path / "b", made, form)
    damage(folder)
    with pytest.raises(DataError, match=part):
        read(folder)
    assert not (tmp_path / "out.h5ad").exists()


def test_a_truncated_csv(tmp_path: Path, made: Content) -> None:
    folder = bundle.write(tmp_path / "b", made, "h5", cells="csv")
    cut(folder / "cells.csv.gz")
    with pytest.raises(DataError, match="cells.csv.gz: not a readable table of cells"):
        read(folder)


@pytest.mark.parametrize(
    ("change", "part"),
    [
        (lambda t: t.iloc[1:], "1 of 80 cells of cell_feature_matrix.h5 are not in cells.parquet"),
        (
            lambda t: t.assign(cell_id=["zzzzzzzz-1", *t["cell_id"][1:]]),
            r"are not in cells.parquet \(such as aaaaaaaa-1\); 1 of 80 cells of cells.parquet are not in .*zzzzzzzz-1",
        ),
        (lambda t: t.assign(cell_id=[*t["cell_id"][:-1], t["cell_id"][0]]), "1 duplicate cell ids .*aaaaaaaa-1"),
        (lambda t: t.assign(cell_id=range(80)), "80 of 80 cells of cell_feature_matrix.h5 are not in cells.parquet"),
        (lambda t: t.drop(columns="y_centroid"), "there is no column y_centroid"),
        (
            lambda t: t.assign(x_centroid=[np.nan, *t["x_centroid"][1:]]),
            "x_centroid is not a number for 1 cells .*aaaa",
        ),
        (lambda t: t.assign(y_centroid=np.inf), "y_centroid is not a number for 80 cells"),
        (lambda t: t.assign(cell_area="large"), "cells.parquet: not a readable table of cells"),
    ],
)
def test_tables_of_cells_that_do_not_fit(tmp_path: Path, made: Content, change, part: str) -> None:
    folder = bundle.write(tmp_path / "b", made, "h5")
    bundle.write_cells(folder, change(made.cells))
    with pytest.raises(DataError, match=part):
        read(folder)


@pytest.mark.parametrize("form", FORMS)
def test_cells_of_the_matrix_listed_twice(tmp_path: Path, made: Content, form: str) -> None:
    twice = replace(made, prefixes=np.concatenate([made.prefixes[:1], made.prefixes[:1], made.prefixes[2:]]))
    with pytest.raises(DataError, match="cell_feature_matrix.*: 1 duplicate cell ids"):
        read(bundle.write(tmp_path / "b", twice, form))


def test_another_number_of_cells_than_the_experiment_says(tmp_path: Path, made: Content) -> None:
    other = replace(made, experiment=made.experiment | {"num_cells": 93162})
    with pytest.raises(DataError, match="num_cells is 93162, but cell_feature_matrix.h5 has 80 cells"):
        read(bundle.write(tmp_path / "b", other, "h5"))


def test_genes_of_the_panel_that_the_matrix_lacks(tmp_path: Path, made: Content) -> None:
    renamed = json.loads(json.dumps(made.panel))
    renamed["payload"]["targets"][0]["type"]["data"]["name"] = "another name"  # its id is there: the same gene
    assert read(bundle.write(tmp_path / "a", replace(made, panel=renamed), "h5")).n_vars == 120
    renamed["payload"]["targets"].append(bundle.target("gene", "LOST1", "ENSG00000999999"))
    folder = bundle.write(tmp_path / "b", replace(made, panel=renamed), "h5")
    with pytest.raises(DataError, match=r"1 of its 121 genes are not in cell_feature_matrix.h5 \(such as LOST1\)"):
        read(folder)
    (folder / "gene_panel.json").unlink()  # the way out that the message names
    assert read(folder).n_vars == 120


def test_controls_alone_are_no_data(tmp_path: Path, made: Content) -> None:
    start = made.genes
    only = replace(
        made,
        counts=made.counts[start:],
        **{key: getattr(made, key)[start:] for key in ("ids", "names", "types", "zarr_types")},
        panel={"payload": {"targets": []}},
    )
    with pytest.raises(DataError, match=r"no feature is of type 'Gene Expression' \(found: Deprecated Codeword, "):
        read(bundle.write(tmp_path / "b", only, "h5"))


def test_zips_that_are_refused(get, tmp_path: Path, made: Content) -> None:
    folder = bundle.write(tmp_path / "b", made, "h5")
    whole = bundle.zipped(folder, tmp_path / "whole.zip")
    cut(whole)
    with pytest.raises(DataError, match=r"whole.zip: not a readable zip archive \(\d+ bytes"):
        get(path=str(whole))
    data = bytearray(bundle.zipped(folder, tmp_path / "flipped.zip", zipfile.ZIP_STORED).read_bytes())
    data[data.index(b"\x89HDF") + 4000] ^= 255
    (tmp_path / "flipped.zip").write_bytes(data)
    with pytest.raises(DataError, match=r"flipped.zip: not a readable zip archive .*CRC"):
        get(path=str(tmp_path / "flipped.zip"))
    (tmp_path / "empty.zip").write_bytes(b"")
    with pytest.raises(DataError, match="empty.zip: not a readable zip archive"):
        get(path=str(tmp_path / "empty.zip"))
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as archive:
        archive.writestr("readme.txt", "hello")
    with pytest.raises(DataError, match="other.zip: holds no matrix"):
        get(path=str(tmp_path / "other.zip"))


@pytest.mark.parametrize("member", ["../../evil.txt", "/etc/evil", "a/../../evil", "..\\evil", "C:\\evil"])
def test_zip_members_that_point_outside(get, tmp_path: Path, made: Content, member: str) -> None:
    archive = bundle.zipped(bundle.write(tmp_path / "b", made, "h5"), tmp_path / "outs.zip")
    with zipfile.ZipFile(archive, "a") as opened:
        opened.writestr(member, "evil")
    with pytest.raises(DataError, match="points outside of the archive"):
        get(path=str(archive))
    assert not list(tmp_path.rglob("*evil*"))


def test_a_zip_with_two_bundles(get, tmp_path: Path, made: Content) -> None:
    bundle.write(tmp_path / "two" / "a", made, "h5")
    bundle.write(tmp_path / "two" / "b", made, "zarr.zip")
    with pytest.raises(DataError, match=r"holds 2 bundles \(a, b\)"):
        get(path=str(bundle.zipped(tmp_path / "two", tmp_path / "two.zip")))


# what becomes of it


def prepared(folder: Path, source: Path, ontology: Ontology, **cells: object) -> tuple[ad.AnnData, dict]:
    """Fetch and prepare a bundle; returns cells and card."""
    text = TEXT | {"source": {"kind": "xenium", "path": str(source)}, "cells": cells}
    dataset = validate(text, "dataset", "d.yaml")
    record = folder / "source.json"
    given = SourceSpec.from_params(dataset["source"])
    fetch_dataset("d", given, folder / "source", record, lock_file=folder / "lock.yaml")
    outputs, file = PreparedFiles.within(folder), folder / "source" / "xenium.h5ad"
    prepare_dataset("d", DatasetSpec.of(dataset), file, record, outputs, ontology=ontology)
    return ad.read_h5ad(outputs.cells), read_json(outputs.card)


@pytest.mark.parametrize("label", [None, "=unknown"])
def test_an_unlabelled_query_is_prepared(tmp_path: Path, made: Content, ontology: Ontology, label: str | None) -> None:
    source = bundle.write(tmp_path / "b", made, "h5")
    cells, card = prepared(tmp_path, source, ontology, label=label, tissue="=lung")
    assert cells.shape == (80, 120)
    assert sorted(cells.var["feature_id"]) == sorted(made.ids[:120])
    assert set(cells.var["feature_name"]) == set(made.names[:120])
    assert (cells.obsm["spatial"] == made.cells[["x_centroid", "y_centroid"]].to_numpy()).all()
    assert set(cells.obs["label_id"]) == set(cells.obs["label_original"]) == {"unknown"}
    assert card["labels_unmapped"] == {"unknown": "80 cells: no labels, as cells.label declares"}
    assert card["cells_with_unknown_label"] == 80
    assert card["dropped"]["control_features"]["Negative Control Probe"]["features"] == 2


@pytest.mark.parametrize("label", ["cell_area", "=tumour"])
def test_labels_none_of_which_map_stay_refused(tmp_path: Path, made: Content, ontology: Ontology, label: str) -> None:
    source = bundle.write(tmp_path / "b", made, "h5")
    with pytest.raises(DataError, match="no label could be mapped .* declare with `cells.label: null`"):
        prepared(tmp_path, source, ontology, label=label)


def test_an_unlabelled_dataset_is_a_query_and_nothing_else(tmp_path: Path) -> None:
    repo = clone(tmp_path)
    folder = repo / "config" / "datasets"

    def load(dataset: str, regime: str) -> object:
        entries = [{"dataset": dataset, "regime": regime}]
        return load_study({"study": "s", "methods": ["knn"], "evaluations": entries}, repo, "study.yaml")

    with pytest.raises(ConfigError, match="'xenium_lung' declares no labels .* name it as the query of a pair"):
        load("xenium_lung", "holdout")
    pair = load_yaml(folder / "lung_cross_study.yaml")
    for references, query in ((["lung_travaglini"], "xenium_lung"), (["xenium_lung"], "lung_travaglini")):
        (folder / "spatial.yaml").write_text(
            yaml.safe_dump(pair | {"pair": {"references": references, "query": query, "min_genes": 50}})
        )
        if query == "xenium_lung":
            assert load("spatial", "pair")
        else:
            with pytest.raises(ConfigError, match="pair: 'xenium_lung' declares no labels"):
                load("spatial", "pair")
    own = load_yaml(folder / "xenium_lung.yaml")
    own["cells"]["label_id"] = "cell_type_ontology_term_id"
    (folder / "xenium_lung.yaml").write_text(yaml.safe_dump(own))
    with pytest.raises(ConfigError, match="cells.label declares that there are no labels, but cells.label_id is"):
        load("xenium_lung", "holdout")


def test_the_dataset_of_the_repository_names_the_whole_bundle() -> None:
    dataset = validate(load_yaml(ROOT / "config/datasets/xenium_lung.yaml"), "dataset", "xenium_lung.yaml")
    assert dataset["source"]["kind"] == "xenium"
    assert dataset["source"]["urls"][0].endswith(dataset["source"]["file"])
    assert dataset["cells"]["label"] is None
    assert not dataset["run_here"]
