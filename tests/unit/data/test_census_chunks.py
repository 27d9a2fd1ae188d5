"""What is promised: counts of a Census release arrive whole, in chunks that may be killed, as the cells contract."""

import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
import pytest

from annobench.cells.store.link import link_stores
from annobench.cells.store.store import Store
from annobench.cells.store.writer import StoreWriter
from annobench.cells.stored_cells import read_cells
from annobench.config.schema import validate
from annobench.core.errors import DataError, DownloadError
from annobench.core.files import read_json, write_json
from annobench.data.census import chunks as fetching
from annobench.data.census.chunks import chunk_bounds, fetch_chunk
from annobench.data.census.release import client_context
from annobench.data.census.select import select_cells
from annobench.data.fetch import fetch_dataset
from annobench.data.prepare.dataset import prepare_dataset
from annobench.data.prepare.pair import prepare_pair
from annobench.data.prepare.spec import DatasetSpec
from annobench.data.prepare.task import PreparedFiles
from annobench.data.sources.census import Source
from annobench.ontology import Ontology
from census_release import DECEMBER, GENES, MAY, outputs, source, two_releases

COLUMNS = {
    "label": "cell_type",
    "label_id": "cell_type_ontology_term_id",
    "study": "dataset_id",
    "donor": "tech_sample",
    "tissue": "tissue_general",
    "disease": "disease",
}


@pytest.fixture(scope="module")
def releases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return two_releases(tmp_path_factory.mktemp("releases"))


@pytest.fixture
def taken(releases: dict[str, Path], tmp_path: Path):
    """Select, fetch all chunks, gather; returns the folder with source/ and source.json, and the source."""

    def fetched(name: str, release: str = DECEMBER, **more: Any) -> tuple[Path, Source]:
        given = source(release, **more)
        folder = tmp_path / name
        (folder / "selection").mkdir(parents=True)
        files = outputs(folder / "selection")
        uri, older = str(releases[release]), str(releases[given.new_since]) if given.new_since else None
        select_cells(given, files, uri=uri, older_uri=older, ontology=None)
        parts = [folder / "chunks" / f"{i:04d}" for i in range(given.chunks)]
        for i, part in enumerate(parts):
            fetch_chunk(given.chunk(), i, files, part, uri=uri)
        gather(name, given, folder, parts)
        return folder, given

    return fetched


def gather(name: str, census: Source, folder: Path, parts: list[Path]) -> None:
    lock, given = folder / "lock.yaml", {"chunks": parts, "selection": [folder / "selection" / "record.json"]}
    fetch_dataset(name, census, folder / "source", folder / "source.json", lock_file=lock, given=given)


def expected(release: Path, cells: pd.Series) -> np.ndarray:
    """Counts by the Census's own client."""
    import warnings

    import cellxgene_census

    with cellxgene_census.open_soma(uri=str(release), context=client_context(())) as census, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the client's own about its index
        found = cellxgene_census.get_anndata(census, "Homo sapiens", obs_coords=cells.to_numpy())
    return found.X.toarray()


def test_counts_and_annotations_are_those_that_the_client_gives(taken, releases: dict[str, Path]) -> None:
    folder, _ = taken("d", filters={"disease": ["Crohn's disease"]}, chunks=3)
    store = Store.open(folder / "source" / "store", verify=True)
    selected = pd.read_parquet(folder / "selection" / "cells.parquet")
    found = store.read()
    assert list(found.obs_names) == list(selected["soma_joinid"].astype(str))
    np.testing.assert_array_equal(found.X.toarray(), expected(releases[DECEMBER], selected["soma_joinid"]))
    assert list(found.obs["donor_id"]) == list(selected["donor_id"])
    assert set(found.obs["disease"]) == {"Crohn's disease"}
    record = read_json(folder / "source.json")
    (step,) = record["steps"]
    assert (step["step"], step["release"], step["cells"], step["chunks"]) == ("census", DECEMBER, 80, 3)
    assert step["filters"] == {"disease": ["Crohn's disease"]}
    assert len(step["datasets_sha256"]) == 64
    assert record["sha256"] == store.manifest.digest
    linked = folder / "chunks" / "0002" / "00000.records"
    assert linked.stat().st_ino == (folder / "source" / "store" / "00002.records").stat().st_ino


@pytest.mark.parametrize("genes", [[3, 41, 77], list(range(0, 100, 2))], ids=["asked for", "whole rows"])
def test_some_genes_of_some_cells(taken, releases: dict[str, Path], tmp_path: Path, genes: list[int]) -> None:
    table = tmp_path / "genes.tsv"
    table.write_text("feature_id\nENSG99999999999\n" + "".join(f"{GENES[i][0]}\n" for i in genes))
    folder, _ = taken("d", genes={"file": str(table)}, missing_genes="zero", filters={"dataset_id": ["new"]})
    found = Store.open(folder / "source" / "store").read()
    assert list(found.var_names) == [*(GENES[i][0] for i in genes), "ENSG99999999999"]
    whole = expected(releases[DECEMBER], found.obs_names.to_series().astype(np.int64))
    np.testing.assert_array_equal(found.X[:, :-1].toarray(), whole[:, genes])
    assert found.X[:, -1].nnz == 0


def test_blocks_and_shards_change_nothing(taken, releases: dict[str, Path]) -> None:
    folder, given = taken("d", chunks=1)
    files = outputs(folder / "selection")
    said: list[str] = []
    again = folder / "again"
    fetch_chunk(
        given.chunk(), 0, files, again, uri=str(releases[DECEMBER]), block=7, shard_cells=30, report=said.append
    )
    one, other = Store.open(folder / "source" / "store").read(), Store.open(again).read()
    np.testing.assert_array_equal(one.X.toarray(), other.X.toarray())
    pd.testing.assert_frame_equal(one.obs, other.obs)
    assert "160 of 160 cells" in said[-1]


def test_chunks_are_as_equal_as_can_be() -> None:
    assert chunk_bounds(10, 3) == [(0, 3), (3, 6), (6, 10)]
    bounds = chunk_bounds(22_189_056, 64)
    assert {stop - start for start, stop in bounds} <= {346_704, 346_703, 346_705}
    assert bounds[-1][1] == 22_189_056


KILLED = """
import os, signal, sys
sys.path[:0] = {path!r}
from pathlib import Path
from annobench.data.census import chunks
from census_release import outputs, source
whole = chunks._Counts.of
calls = []
def of(self, cells):
    calls.append(1)
    if len(calls) == 5:
        os.kill(os.getpid(), signal.SIGKILL)
    return whole(self, cells)
chunks._Counts.of = of
folder = Path({folder!r})
given = source(chunks=1)
chunks.fetch_chunk(given.chunk(), 0, outputs(folder / "selection"), folder / "c", uri={uri!r}, block=10, shard_cells=20)
"""


def test_a_killed_chunk_goes_on_where_it_stopped(
    taken, releases: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, given = taken("d", chunks=1)
    uri = str(releases[DECEMBER])
    script = KILLED.format(path=[p for p in sys.path if p], folder=str(folder), uri=uri)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert not (folder / "c").exists()
    assert (folder / "c.part" / "00001.json").is_file()
    read: list[int] = []
    of = fetching._Counts.of
    monkeypatch.setattr(fetching._Counts, "of", lambda self, cells: read.extend(cells.tolist()) or of(self, cells))
    said: list[str] = []
    files = outputs(folder / "selection")
    fetch_chunk(given.chunk(), 0, files, folder / "c", uri=uri, block=10, shard_cells=20, report=said.append)
    assert said[0].startswith("resuming after 40 of 160 cells")
    assert len(read) == 120
    found, whole = Store.open(folder / "c", verify=True).read(), Store.open(folder / "source" / "store").read()
    np.testing.assert_array_equal(found.X.toarray(), whole.X.toarray())
    assert not (folder / "c.part").exists()


def test_what_another_selection_left_is_not_taken_up(taken, releases: dict[str, Path]) -> None:
    folder, _ = taken("d", chunks=1)
    files, uri = outputs(folder / "selection"), str(releases[DECEMBER])
    (folder / "c.part").mkdir()
    shutil.copytree(folder / "chunks" / "0000", folder / "c.part", dirs_exist_ok=True)
    other = source(chunks=1, max_cells=50)
    select_cells(other, files, uri=uri, older_uri=None, ontology=None)
    fetch_chunk(other.chunk(), 0, files, folder / "c", uri=uri)
    assert Store.open(folder / "c").n == 50


def test_a_lost_connection_costs_what_was_not_yet_written(
    taken, releases: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, given = taken("d", chunks=1)
    of, failures, read = fetching._Counts.of, [3, 9], []

    def flaky(self: Any, cells: np.ndarray) -> Any:
        read.append(len(cells))
        if len(read) in failures:
            raise OSError("connection reset")
        return of(self, cells)

    patient = fetching.with_patience
    monkeypatch.setattr(fetching._Counts, "of", flaky)
    monkeypatch.setattr(fetching, "with_patience", lambda f, **kw: patient(f, **{**kw, "uri": None}, first_wait=0.01))
    said: list[str] = []
    files, uri = outputs(folder / "selection"), str(releases[DECEMBER])
    fetch_chunk(given.chunk(), 0, files, folder / "c", uri=uri, block=20, shard_cells=40, report=said.append)
    assert Store.open(folder / "c", verify=True).n == 160
    assert sum("connection reset" in text for text in said) == 2
    assert sum(read) < 160 + 4 * 40


# what must not go unnoticed


def test_a_release_that_changed_since_the_selection_is_refused(taken, releases: dict[str, Path]) -> None:
    folder, given = taken("d", chunks=1, filters={"dataset_id": ["new"]})
    files = outputs(folder / "selection")
    selected = pd.read_parquet(files.cells)
    selected.assign(dataset_id="gone").to_parquet(files.cells)
    with pytest.raises(DataError, match=r"50 of 50 cells belong to another dataset .*--forcerun select_census_cells"):
        fetch_chunk(given.chunk(), 0, files, folder / "c", uri=str(releases[DECEMBER]))
    fewer = selected.assign(soma_joinid=selected["soma_joinid"] + 1000)
    fewer.to_parquet(files.cells)
    with pytest.raises((DataError, DownloadError), match=r"has 0 of the 50 cells|could not be read"):
        fetch_chunk(given.chunk(), 0, files, folder / "c", uri=str(releases[DECEMBER]))
    with pytest.raises(DataError, match=f"is release {MAY}"):
        fetch_chunk(given.chunk(), 0, files, folder / "c", uri=str(releases[MAY]))


def test_cells_that_are_missing_are_noticed_at_the_end(taken) -> None:
    folder, given = taken("d", chunks=2)
    record = folder / "selection" / "record.json"
    parts = [folder / "chunks" / f"{i:04d}" for i in range(2)]
    whole = read_json(record)
    with pytest.raises(DataError, match="2 chunks were planned, 1 are given"):
        gather("d", given, folder, parts[:1])
    with pytest.raises(DataError, match=r"is not chunk 0 of the selection"):
        gather("d", given, folder, parts[::-1])
    write_json(record, whole | {"sha256": {}})
    with pytest.raises(DataError, match=r"is not chunk 0 of the selection"):
        gather("d", given, folder, parts)
    write_json(record, whole | {"cells": 161})
    with pytest.raises(DataError, match=r"has 80 cells, expected 81"):
        gather("d", given, folder, parts)
    write_json(record, whole)
    with open(parts[1] / "00000.records", "ab") as handle:
        handle.write(b"more")
    with pytest.raises(DataError, match="it was cut off or changed"):
        gather("d", given, folder, parts)


def test_a_census_source_without_chunks_says_where_they_come_from(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"docs/census\.md"):
        fetch_dataset("d", source(), tmp_path / "s", tmp_path / "r.json", lock_file=tmp_path / "lock.yaml")


# to the cells contract


def prepare(folder: Path, storage: str, ontology: Ontology, **more: Any) -> ad.AnnData:
    text = {"label": "l", "summary": "s", "citation": "c", "licence": "l", "source": {"kind": "local", "path": "x"}}
    spec = DatasetSpec.of(validate(text | {"storage": storage, "cells": COLUMNS | more}, "dataset", "d.yaml"))
    files, store = PreparedFiles.within(folder / storage), folder / "source" / "store"
    prepare_dataset("d", spec, store, folder / "source.json", files, ontology=ontology)
    return read_cells(files.cells)


def test_prepared_cells_are_the_same_in_memory_and_in_a_store(taken, ontology: Ontology) -> None:
    folder, _ = taken("d", new_since=MAY, chunks=2, filters={"is_primary_data": [True]})
    one, other = (prepare(folder, storage, ontology, republished="republished") for storage in ("memory", "store"))
    np.testing.assert_array_equal(one.X.toarray(), other.X.toarray())
    pd.testing.assert_frame_equal(one.obs.astype(str), other.obs.astype(str), check_names=False)
    assert list(one.var["feature_id"]) == list(other.var["feature_id"])
    assert dict(one.obs["republished"].value_counts()) == {"false": 50, "true": 30}
    assert set(one.obs["donor"]) == {"again_Carol Ann", "again_Dan Ole", "again_Eve Kim", "new_Fay", "new_Gil"}
    card = read_json(folder / "store" / "card.json")
    assert card["source"]["steps"][0]["release"] == DECEMBER
    records = [folder / place / "00001.records" for place in ("source/store", "store/store")]
    assert len({path.stat().st_ino for path in records}) == 1  # counts are not written a second time


def test_a_store_that_changed_since_it_was_fetched_is_refused(taken, ontology: Ontology) -> None:
    folder, _ = taken("d")
    write_json(folder / "source.json", read_json(folder / "source.json") | {"sha256": "0" * 64})
    with pytest.raises(DataError, match="changed since it was fetched"):
        prepare(folder, "memory", ontology)


def test_genes_that_are_dropped_are_dropped_from_a_store_too(taken, ontology: Ontology, tmp_path: Path) -> None:
    folder, _ = taken("d")
    store = folder / "source" / "store"
    genes = Store.open(store).var.assign(good=np.arange(100) % 2 == 0)
    manifest = link_stores([folder / "chunks" / "0000"], store, uns={}, source={"a": 1}, genes=genes)
    write_json(folder / "source.json", {"sha256": manifest.digest})
    text = {"label": "l", "summary": "s", "citation": "c", "licence": "l", "source": {"kind": "local", "path": "x"}}
    text |= {"storage": "store", "cells": COLUMNS, "genes": {"require": ["good"]}}
    files, spec = PreparedFiles.within(folder), DatasetSpec.of(validate(text, "dataset", "d.yaml"))
    prepare_dataset("d", spec, store, folder / "source.json", files, ontology=ontology)
    found, whole = read_cells(files.cells), Store.open(store).read()
    np.testing.assert_array_equal(found.X.toarray(), whole.X[:, ::2].toarray())


@pytest.mark.parametrize("storage", ["memory", "store"])
def test_a_pair_of_two_releases(taken, ontology: Ontology, storage: str) -> None:
    may, _ = taken("may", MAY, chunks=2)
    december, _ = taken("december", new_since=MAY)
    for folder, more in ((may, {}), (december, {"republished": "republished"})):
        prepare(folder, storage, ontology, **more)
    parts = {f.name: PreparedFiles.within(f / storage) for f in (may, december)}
    text = {"label": "l", "summary": "s", "citation": "c", "licence": "l"}
    text["pair"] = {"references": ["may"], "query": "december"}
    spec = DatasetSpec.of(validate(text | {"storage": storage}, "dataset", "d.yaml"))
    place = may.parent / "pair"
    place.mkdir()
    files = PreparedFiles.within(place)
    prepare_pair("pair", spec, parts, files, ontology=ontology)
    found = read_cells(files.cells)
    obs = pd.read_parquet(files.obs)
    assert list(obs["cell_id"]) == list(found.obs_names)
    table = obs.groupby(["part", "study"])["republished"].first().to_dict()
    assert table == {
        ("reference", "first"): "unknown",
        ("reference", "gone"): "unknown",
        ("query", "again"): "true",
        ("query", "new"): "false",
        ("query", "logs"): "false",
    }
    whole = [Store.open(folder / "source" / "store").read().X.toarray() for folder in (may, december)]
    assert found.n_vars == 100
    np.testing.assert_array_equal(found.X.toarray(), np.concatenate(whole))
    if storage == "store":
        assert (place / "store" / "00002.records").stat().st_nlink == 4  # chunk, source, prepared, pair


def test_stores_with_other_genes_are_not_linked(tmp_path: Path) -> None:
    for name, n in (("a", 2), ("b", 3)):
        genes = pd.DataFrame({"feature_id": [f"g{i}" for i in range(n)], "feature_name": "x"})
        with StoreWriter(tmp_path / name, genes) as writer:
            writer.append(np.ones((2, n)), pd.DataFrame({"k": ["v", "w"]}, index=[f"{name}1", f"{name}2"]))
            writer.finish()
    parts = [tmp_path / "a", tmp_path / "b"]
    with pytest.raises(DataError, match="have different genes"):
        link_stores(parts, tmp_path / "c", uns={}, source={})
    with pytest.raises(DataError, match="2 genes are named, the stores have"):
        link_stores(parts, tmp_path / "c", uns={}, source={}, genes=Store.open(parts[0]).var)
    short = pd.DataFrame({"k": ["v"]}, index=["one"])
    with pytest.raises(DataError, match="1 annotations for the 2 cells"):
        link_stores(parts[:1], tmp_path / "c", uns={}, source={}, annotations=lambda first, stop: short)
    assert json.loads((parts[0] / "manifest.json").read_text())["cells"] == 2
