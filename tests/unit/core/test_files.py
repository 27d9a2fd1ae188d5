"""What is promised: a file of a method is verified and recorded; one that cannot be had is a reason, not an error."""

import hashlib
import json
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
import yaml

from annobench.config.entities import load_method
from annobench.core.errors import ConfigError, DataError
from annobench.core.paths import ROOT
from annobench.data.download.http import Connection
from annobench.data.model_files import fetch_file
from annobench.data.spec import DownloadSpec
from annobench.fit.downloads import downloaded, with_paths
from annobench.ontology import Ontology
from annobench.ontology.labels import read_table
from helpers import clone, http_server

CONTENT = b"a model" * 1000
SHA = hashlib.sha256(CONTENT).hexdigest()
QUICK = Connection(first_wait=0.01, attempts=2, timeout=5)
Fetch = Callable[..., dict[str, Any]]


@pytest.fixture
def fetch(tmp_path: Path) -> Fetch:
    """Fetch a file by an entry of `downloads`; gives the record."""

    def run(**source: Any) -> dict[str, Any]:
        whole = DownloadSpec.from_params({"file": "m.pkl"} | source)
        record = tmp_path / "files" / "model.json"
        lock = tmp_path / "sources.lock.yaml"
        fetch_file("own", "model", whole, tmp_path / "files" / "model", record, lock_file=lock, connection=QUICK)
        return json.loads(record.read_text())

    return run


def answers(pages: dict[str, bytes]) -> Callable[[BaseHTTPRequestHandler], None]:
    """A server with these pages; anything else is not found."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        content = pages.get(handler.path)
        if content is None:
            handler.send_error(404)
            return
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(content)))
        handler.end_headers()
        handler.wfile.write(content)

    return answer


def test_a_file_is_fetched_recorded_and_locked(fetch: Fetch, tmp_path: Path) -> None:
    with http_server(answers({"/m": CONTENT})) as address:
        record = fetch(urls=[f"{address}/gone", f"{address}/m"])
    assert (record["status"], record["reason"], record["sha256"]) == ("ok", None, SHA)
    assert record["url"] == f"{address}/m"
    assert (tmp_path / "files" / "model" / "m.pkl").read_bytes() == CONTENT
    assert yaml.safe_load((tmp_path / "sources.lock.yaml").read_text()) == {"methods/own": {"m.pkl": SHA}}
    assert fetch(urls=[f"{address}/gone", f"{address}/m"])["status"] == "ok"  # from the cache, without a server
    paths, facts, missing = downloaded([tmp_path / "files" / "model.json"])
    assert paths == {"model": str(tmp_path / "files" / "model" / "m.pkl")}
    assert facts["model"] == {"file": "m.pkl", "sha256": SHA, "url": f"{address}/m"}
    assert missing is None
    (tmp_path / "files" / "model" / "m.pkl").unlink()
    with pytest.raises(DataError, match=r"m\.pkl: is gone; delete .*model\.json, and the next run fetches it again"):
        downloaded([tmp_path / "files" / "model.json"])


def test_a_changed_file_is_refused_by_the_lock(fetch: Fetch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pages = {"/m": CONTENT}
    with http_server(answers(pages)) as address:
        fetch(urls=[f"{address}/m"])
        pages["/m"] = b"another"
        monkeypatch.setenv("ANNOBENCH_CACHE", str(tmp_path / "another_machine"))
        record = fetch(urls=[f"{address}/m"])
    assert record["status"] == "failed"
    assert "the source has changed" in record["reason"]
    assert downloaded([tmp_path / "files" / "model.json"]) == ({}, {}, record["reason"])


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ({"urls": ["http://127.0.0.1:9/m"]}, "m.pkl: could not be downloaded."),
        ({"urls": ["{}/gone"]}, "HTTP status 404"),
        ({"urls": ["{}/m"], "sha256": "0" * 64}, f"sha256 is {SHA}, expected {'0' * 64}"),
        ({"index": "{}/gone"}, "HTTP status 404"),
        ({"index": "{}/m"}, "is not a model index"),
        ({"index": "{}/list"}, "is not a model index (TypeError"),
        ({"index": "{}/models.json", "file": "n.pkl"}, "does not list the file 'n.pkl'; did you mean 'own.pkl'?"),
        ({"index": "{}/models.json", "version": "v1"}, "has version v2 of m.pkl, expected v1"),
        ({"index": "{}/models.json", "file": "own.pkl"}, "the address of own.pkl is 'file:///etc/passwd', expected"),
    ],
)
def test_what_cannot_be_had_is_a_record_with_a_reason(fetch: Fetch, source: dict[str, Any], reason: str) -> None:
    models = [{"filename": "m.pkl", "url": "x", "version": "v2"}, {"filename": "own.pkl", "url": "file:///etc/passwd"}]
    pages = {"/m": CONTENT, "/models.json": json.dumps({"models": models}).encode(), "/list": b"[]"}
    with http_server(answers(pages)) as address:
        filled = json.loads(json.dumps(source).replace("{}", address))
        record = fetch(**filled)
    assert record["status"] == "failed"
    assert reason in record["reason"]
    assert "\n" not in record["reason"]


def test_an_official_model_is_found_by_its_name(fetch: Fetch) -> None:
    pages = {"/models/Some_Atlas/v2/m.pkl": CONTENT}
    with http_server(answers(pages)) as address:
        entry = {"filename": "m.pkl", "url": f"{address}/models/Some_Atlas/v2/m.pkl", "version": "v2"}
        pages["/models.json"] = json.dumps({"description": "d", "models": [entry]}).encode()
        record = fetch(urls=[f"{address}/moved.pkl"], index=f"{address}/models.json", version="v2")
    assert (record["status"], record["url"]) == ("ok", entry["url"])


def test_parameters_get_the_path() -> None:
    given = {"model": "download:model", "labels": None, "k": 3, "other": "downloads"}
    assert with_paths(given, {"model": "/x/m.pkl"}) == given | {"model": "/x/m.pkl"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"parameters": {"model": "download:modl"}}, "'download:modl' is not declared; did you mean 'model'?"),
        ({"parameters": {"model": "x.pkl"}}, "downloads.model: no parameter uses it"),
        ({"downloads": {"model": {"file": "m.pkl"}}}, "downloads.model: give `urls`, or an `index`, or both"),
        (
            {"downloads": {"model": {"file": "m.pkl", "distribution": "pkg", "member": "x"}}},
            "downloads.model: a `distribution` needs the `archive`, one of its files, and its `member`",
        ),
        ({"downloads": {"model": {"file": "../m.pkl", "urls": ["http://x/m"]}}}, "'../m.pkl' does not match"),
        ({"downloads": {"model": {"file": "m.pkl", "url": "http://x/m"}}}, "unknown key 'url'; did you mean 'urls'?"),
    ],
)
def test_wrong_declarations_are_refused(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    repo = clone(tmp_path)
    file = repo / "config" / "methods" / "celltypist_lung_atlas.yaml"
    file.write_text(yaml.safe_dump(yaml.safe_load(file.read_text()) | changes))
    with pytest.raises(ConfigError) as error:
        load_method("celltypist_lung_atlas", repo, "study.yaml")
    assert message in str(error.value)


def test_the_official_lung_model_is_declared() -> None:
    method = load_method("celltypist_lung_atlas", ROOT, "")
    assert method["parameters"]["model"] == "download:model"
    assert method["downloads"]["model"]["urls"][0].endswith("/v2/Human_Lung_Atlas.pkl")


def test_names_of_the_lung_model_are_mapped_by_a_valid_table(ontology: Ontology) -> None:
    table = read_table(ROOT / "config" / "labels" / "celltypist_lung_atlas.tsv", ontology)
    assert len({name.replace("Mφ", "Mph") for name in table}) >= 61
    assert "unknown" not in table.values()
