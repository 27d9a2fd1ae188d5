"""What is promised: every kind of source leaves its files, and a record of where each byte came from."""

import hashlib
import json
import re
import zipfile
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
import yaml

from annobench.config.schema import load_yaml
from annobench.core.errors import DataError, DownloadError
from annobench.core.files import sha256_of
from annobench.core.paths import ROOT
from annobench.data import fetch
from annobench.data.download.pypi import PipSettings
from annobench.data.model_files import fetch_file
from annobench.data.spec import DownloadSpec, SourceSpec
from helpers import http_server, source_h5ad


@pytest.fixture
def get(tmp_path: Path, ontology_file: Path):
    """Fetch a source into a fresh folder; returns the file and the record."""

    def fetched(source: dict, **more: object) -> tuple[Path, dict]:
        folder, record = tmp_path / "source", tmp_path / "source.json"
        lock = tmp_path / "config" / "sources.lock.yaml"
        given = {"ontology": [ontology_file]}
        fetch.fetch_dataset("d", SourceSpec.from_params(source), folder, record, lock_file=lock, given=given)
        found = json.loads(record.read_text())
        file = folder / found["file"]
        assert found["sha256"] == sha256_of(file)
        return file, found

    return fetched


def test_package(get) -> None:
    source = load_yaml(ROOT / "config/datasets/pbmc68k.yaml")["source"]
    _file, record = get(source)
    assert record["sha256"] == source["sha256"]
    with pytest.raises(DownloadError, match="expected 0000"):
        get(source | {"sha256": "0" * 64})
    with pytest.raises(DataError, match="'no_such_package' is not installed"):
        get(source | {"package": "no_such_package"})
    with pytest.raises(DataError, match="has no file 'datasets/nothing.h5ad'"):
        get(source | {"member": "datasets/nothing.h5ad"})


def test_local_is_linked_not_copied(get, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = source_h5ad(tmp_path / "own.h5ad")
    monkeypatch.setenv("MY_DATA", str(tmp_path))
    file, record = get({"kind": "local", "path": "$MY_DATA/own.h5ad"})
    assert file.is_symlink()
    assert file.resolve() == own.resolve()
    assert record["steps"][0]["path"] == str(own.resolve())
    with pytest.raises(DataError, match="no file"):
        get({"kind": "local", "path": "$MY_DATA/other.h5ad"})
    with pytest.raises(DataError, match="names a variable that is not set"):
        get({"kind": "local", "path": "$NOT_SET_ANYWHERE/own.h5ad"})
    with pytest.raises(DownloadError, match="it is not the file that the dataset was declared with"):
        get({"kind": "local", "path": str(own), "sha256": "0" * 64})


def test_url_without_hash_is_locked_at_the_first_download(get, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = [b"first"]

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(content[0])))
        handler.end_headers()
        handler.wfile.write(content[0])

    with http_server(answer) as address:
        source = {"kind": "url", "urls": [f"{address}/a"], "file": "a.h5ad", "member": None}
        get(source)
        lock = tmp_path / "config" / "sources.lock.yaml"
        assert yaml.safe_load(lock.read_text()) == {"d": {"a.h5ad": hashlib.sha256(b"first").hexdigest()}}
        get(source)  # from the cache
        content[0] = b"second"
        monkeypatch.setenv("ANNOBENCH_CACHE", str(tmp_path / "another_machine"))
        with pytest.raises(DownloadError, match="If the source has changed"):
            get(source)


def test_rot_of_the_cache_is_no_change_of_the_source(get, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANNOBENCH_CACHE", str(tmp_path / "cache"))
    own = tmp_path / "a.h5ad"
    own.write_bytes(b"first")
    source = {"kind": "url", "urls": [own.as_uri()], "file": "a.h5ad", "member": None}
    get(source)
    (cached,) = (path for path in (tmp_path / "cache").rglob("a.h5ad"))
    cached.write_bytes(b"rotten")
    get(source)
    assert cached.read_bytes() == b"first"
    own.write_bytes(b"second")
    cached.unlink()
    with pytest.raises(DownloadError, match="If the source has changed and the new file is wanted, delete that line"):
        get(source)


@pytest.mark.parametrize("name", ["../../../../.bashrc", "/etc/passwd", "..", "a/b.h5ad", "a\\b", "", "a\n"])
def test_a_name_from_a_file_is_never_a_path(get, tmp_path: Path, name: str) -> None:
    own = tmp_path / "a.h5ad"
    own.write_bytes(b"mine")
    victim = tmp_path / ".bashrc"
    victim.write_text("keep me")
    for source in (
        {"kind": "url", "urls": [own.as_uri()], "file": name, "member": None},
        {"kind": "pypi", "distribution": "a", "version": "1", "file": name, "member": "a"},
    ):
        with pytest.raises(DataError, match="is not a plain file name"):
            get(source)
        if name != "a\n":  # JSON Schema's `$` is that of regular expressions
            schema = yaml.safe_load((ROOT / "workflow" / "schemas" / "sources" / f"{source['kind']}.yaml").read_text())
            assert not re.search(schema["properties"]["file"]["pattern"], name)
    assert victim.read_text() == "keep me"


def test_url_with_member(get, tmp_path: Path) -> None:
    archive = tmp_path / "b.zip"
    with zipfile.ZipFile(archive, "w") as opened:
        opened.writestr("inner/x.h5ad", "payload")
    source = {"kind": "url", "urls": [archive.as_uri()], "file": "b.zip", "member": "inner/x.h5ad"}
    file, record = get(source | {"sha256": sha256_of(archive)})
    assert file.read_text() == "payload"
    assert [step["step"] for step in record["steps"]] == ["download", "extract"]


def test_pypi_asks_the_index_once_and_the_cache_afterwards(
    get, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheel = tmp_path / "pkg-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("pkg/x.h5ad", "payload")
    pip = PipSettings(f"global.no-index='true'\nglobal.find-links='{tmp_path}'", "")
    monkeypatch.setattr(PipSettings, "of_user", classmethod(lambda cls: pip))
    source = {
        "kind": "pypi",
        "distribution": "pkg",
        "version": "1.0",
        "file": wheel.name,
        "sha256": sha256_of(wheel),
        "member": "pkg/x.h5ad",
    }
    file, record = get(source)
    assert file.read_text() == "payload"
    address = record["steps"][0]["url"]
    assert address == wheel.as_uri()
    wheel.unlink()

    def no_network(cls: type) -> PipSettings:
        raise AssertionError("the index must not be asked for a file that is cached")

    monkeypatch.setattr(PipSettings, "of_user", classmethod(no_network))
    _, again = get(source)
    assert again["steps"][0]["url"] == address  # the cache remembers where the bytes came from
    with pytest.raises(DownloadError, match="expected 0000"):
        get(source | {"member_sha256": "0" * 64})


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({}, None),
        ({"sha256": "0" * 64}, "its member 'pkg/x.h5ad' has the sha256 .*, expected 0000"),
        ({"member": "pkg/y.h5ad"}, "pkg-1.0.whl: has no member 'pkg/y.h5ad'; did you mean"),
        ({"archive_sha256": "0" * 64}, "expected 0000"),
    ],
)
def test_a_file_of_a_method_may_be_a_member_of_a_distribution(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, str], reason: str | None
) -> None:
    monkeypatch.setenv("ANNOBENCH_CACHE", str(tmp_path / "cache"))
    wheel = tmp_path / "pkg-1.0.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("pkg/x.h5ad", "payload")
    pip = PipSettings(f"global.no-index='true'\nglobal.find-links='{tmp_path}'", "")
    monkeypatch.setattr(PipSettings, "of_user", classmethod(lambda cls: pip))
    stated = {"file": "mine.h5ad", "distribution": "pkg", "version": "1.0", "archive": wheel.name}
    stated |= {"member": "pkg/x.h5ad", "archive_sha256": sha256_of(wheel)}
    folder, record, lock = tmp_path / "files", tmp_path / "files.json", tmp_path / "lock.yaml"
    fetch_file("m", "embedding", DownloadSpec.from_params(stated | changes), folder, record, lock_file=lock)
    found = json.loads(record.read_text())
    if reason is None:
        assert (found["status"], found["sha256"]) == ("ok", hashlib.sha256(b"payload").hexdigest())
        assert found["url"] == f"{wheel.as_uri()}: pkg/x.h5ad"
        assert (folder / "mine.h5ad").read_text() == "payload"
        assert found["sha256"] in lock.read_text()  # recorded once, and enforced from then on
    else:
        assert found["status"] == "failed"
        assert re.search(reason, found["reason"])
        assert list(folder.iterdir()) == []


def test_simulate_draws_the_same_again(get) -> None:
    source = load_yaml(ROOT / "config/datasets/simulated_small.yaml")["source"]
    first, _ = get(source)
    hash_one = sha256_of(first)
    second, _ = get(source)
    assert sha256_of(second) == hash_one
    with pytest.raises(DataError, match="'CL:9999999' is not a live term"):
        get(source | {"types": ["CL:0000084", "CL:9999999"]})
