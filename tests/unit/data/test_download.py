"""What is promised: a download is atomic, verified, resumed, retried and mirrored, whatever the server does."""

import gzip
import hashlib
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from annobench.core.errors import DownloadError
from annobench.data.download.http import Connection, download, without_password
from helpers import http_server

CONTENT = bytes(range(256)) * 4000
SHA = hashlib.sha256(CONTENT).hexdigest()
QUICK = Connection(first_wait=0.01, attempts=3, timeout=5)


def send(handler: BaseHTTPRequestHandler, content: bytes, *, tag: str = '"v1"', cut: int | None = None) -> None:
    """Answer with content, honouring Range and If-Range; `cut` closes the connection after so many bytes."""
    start = 0
    wanted, condition = handler.headers.get("Range"), handler.headers.get("If-Range")
    if wanted and condition == tag:
        start = int(wanted.removeprefix("bytes=").rstrip("-"))
    handler.send_response(206 if start else 200)
    handler.send_header("ETag", tag)
    handler.send_header("Content-Length", str(len(content) - start))
    handler.end_headers()
    handler.wfile.write(content[start : None if cut is None else start + cut])
    if cut is not None:
        handler.connection.close()


def test_a_plain_download_is_verified_and_recorded(tmp_path: Path) -> None:
    with http_server(lambda handler: send(handler, CONTENT)) as address:
        record = download([f"{address}/f"], tmp_path / "f", SHA, connection=QUICK)
        assert (tmp_path / "f").read_bytes() == CONTENT
        assert record == {"url": f"{address}/f", "bytes": len(CONTENT), "sha256": SHA, "cached": False}
    again = download(["http://127.0.0.1:9/f"], tmp_path / "f", SHA, connection=QUICK)  # no server is asked
    assert again["cached"]


def test_a_wrong_hash_leaves_nothing_behind(tmp_path: Path) -> None:
    with http_server(lambda handler: send(handler, CONTENT)) as address:
        with pytest.raises(DownloadError, match=f"sha256 is {SHA}, expected {'0' * 64}"):
            download([f"{address}/f"], tmp_path / "f", "0" * 64, connection=QUICK)
    assert {path.name for path in tmp_path.iterdir()} == {"f.lock"}


def test_a_file_of_the_cache_with_another_hash_is_fetched_anew(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"old")
    with http_server(lambda handler: send(handler, CONTENT)) as address:
        assert not download([f"{address}/f"], tmp_path / "f", SHA, connection=QUICK)["cached"]
    assert (tmp_path / "f").read_bytes() == CONTENT


def test_a_cut_connection_is_resumed_where_it_ended(tmp_path: Path) -> None:
    starts = []

    def answer(handler: BaseHTTPRequestHandler) -> None:
        starts.append(handler.headers.get("Range"))
        send(handler, CONTENT, cut=400_000 if len(starts) == 1 else None)

    said: list[str] = []
    with http_server(answer) as address:
        download([f"{address}/f"], tmp_path / "f", SHA, connection=QUICK, report=said.append)
    assert (tmp_path / "f").read_bytes() == CONTENT
    assert starts[0] is None
    assert int(starts[1].removeprefix("bytes=").rstrip("-")) > 0
    assert any("trying again" in line for line in said)


def test_a_killed_download_is_resumed_by_the_next_run(tmp_path: Path) -> None:
    starts = []

    def answer(handler: BaseHTTPRequestHandler) -> None:
        starts.append(handler.headers.get("Range"))
        send(handler, CONTENT, cut=500_000 if len(starts) == 1 else None)

    with http_server(answer) as address:
        with pytest.raises(DownloadError):
            download([f"{address}/f"], tmp_path / "f", SHA, connection=Connection(attempts=1))
        assert not (tmp_path / "f").exists()
        assert (tmp_path / "f.part").stat().st_size > 0
        download([f"{address}/f"], tmp_path / "f", SHA, connection=QUICK)
    assert starts[1] is not None
    assert (tmp_path / "f").read_bytes() == CONTENT


def test_two_versions_of_a_file_are_never_joined(tmp_path: Path) -> None:
    new = CONTENT[::-1]
    calls = []

    def answer(handler: BaseHTTPRequestHandler) -> None:
        calls.append(1)
        if len(calls) == 1:
            send(handler, CONTENT, tag='"v1"', cut=300_000)
        else:
            send(handler, new, tag='"v2"')

    with http_server(answer) as address:
        download([f"{address}/f"], tmp_path / "f", hashlib.sha256(new).hexdigest(), connection=QUICK)
    assert (tmp_path / "f").read_bytes() == new


@pytest.mark.parametrize("status", [500, 503])
def test_server_errors_are_retried_with_back_off(tmp_path: Path, status: int) -> None:
    calls = []

    def answer(handler: BaseHTTPRequestHandler) -> None:
        calls.append(1)
        handler.send_error(status) if len(calls) < 3 else send(handler, CONTENT)

    with http_server(answer) as address:
        download([f"{address}/f"], tmp_path / "f", SHA, connection=QUICK)
    assert len(calls) == 3


@pytest.mark.parametrize(("status", "calls_expected"), [(404, 1), (410, 1), (500, 3)])
def test_what_will_not_help_is_not_repeated(tmp_path: Path, status: int, calls_expected: int) -> None:
    calls = []

    def answer(handler: BaseHTTPRequestHandler) -> None:
        calls.append(1)
        handler.send_error(status)

    with http_server(answer) as address:
        with pytest.raises(DownloadError, match=rf"HTTP status {status}[\s\S]*run the same command again"):
            download([f"{address}/f"], tmp_path / "f", SHA, connection=QUICK)
    assert len(calls) == calls_expected


def test_mirrors_are_tried_in_turn(tmp_path: Path) -> None:
    asked = []

    def answer(handler: BaseHTTPRequestHandler) -> None:
        asked.append(handler.path)
        send(
            handler, b"damaged" if handler.path == "/damaged" else CONTENT
        ) if handler.path != "/gone" else handler.send_error(404)

    with http_server(answer) as address:
        urls = [f"{address}/gone", f"{address}/damaged", f"{address}/good"]
        record = download(urls, tmp_path / "f", SHA, connection=QUICK)
    assert record["url"].endswith("/good")
    assert asked == ["/gone", "/damaged", "/good"]


def test_no_server_at_all_is_a_message(tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match="Check the network"):
        download(["http://127.0.0.1:9/f"], tmp_path / "f", SHA, connection=Connection(attempts=2, first_wait=0.01))


def test_two_jobs_that_want_the_same_file_fetch_it_once(tmp_path: Path) -> None:
    calls = []

    def answer(handler: BaseHTTPRequestHandler) -> None:
        calls.append(1)
        send(handler, CONTENT)

    with http_server(answer) as address:
        jobs = [
            threading.Thread(
                target=download, args=([f"{address}/f"], tmp_path / "f", SHA), kwargs={"connection": QUICK}
            )
            for _ in range(4)
        ]
        for job in jobs:
            job.start()
        for job in jobs:
            job.join()
    assert len(calls) == 1


def test_file_addresses_are_copied_and_verified(tmp_path: Path) -> None:
    (tmp_path / "source").write_bytes(CONTENT)
    download([(tmp_path / "source").as_uri()], tmp_path / "f", SHA)
    assert (tmp_path / "f").read_bytes() == CONTENT
    with pytest.raises(DownloadError, match="could not be downloaded"):
        download([(tmp_path / "nowhere").as_uri()], tmp_path / "g", SHA)


def test_progress_says_how_much_and_how_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(0, 4000, 4))
    monkeypatch.setattr("annobench.data.download.http.time.monotonic", lambda: next(clock))
    said: list[str] = []
    with http_server(lambda handler: send(handler, CONTENT)) as address:
        download([f"{address}/f"], tmp_path / "f", SHA, connection=QUICK, report=said.append)
    assert said
    assert "of 1.0 MB, about" in said[0]


def test_passwords_are_not_written_down() -> None:
    assert without_password("https://me:secret@host/simple/") == "https://****@host/simple/"


def answering(body: bytes, **headers: str) -> Callable[[BaseHTTPRequestHandler], None]:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()
        handler.wfile.write(body)
        handler.close_connection = True

    return answer


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "the answer is empty"),
        (b"\n<!DOCTYPE html><title>Please log in</title>", "the answer is a web page"),
        (b"\xef\xbb\xbf<html><body>sign in", "the answer is a web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n", "a pointer of Git LFS"),
    ],
)
def test_what_is_no_file_is_never_kept_and_a_mirror_helps(tmp_path: Path, body: bytes, message: str) -> None:
    with http_server(answering(body, Content_Type="application/octet-stream")) as address:
        with pytest.raises(DownloadError, match=message):
            download([f"{address}/f.h5ad"], tmp_path / "f.h5ad", connection=QUICK)
        assert {path.name for path in tmp_path.iterdir()} == {"f.h5ad.lock"}
        with http_server(lambda handler: send(handler, CONTENT)) as mirror:
            record = download([f"{address}/f.h5ad", f"{mirror}/f.h5ad"], tmp_path / "f.h5ad", connection=QUICK)
    assert record["sha256"] == SHA


def test_a_page_may_be_what_is_wanted(tmp_path: Path) -> None:
    with http_server(answering(b"<html>")) as address:
        assert download([f"{address}/f.html"], tmp_path / "f.html", connection=QUICK)["bytes"] == 6


@pytest.mark.parametrize("length", ["many", "-1", "1e3", "\u0663", " "])
def test_a_length_that_is_no_number_is_no_length(tmp_path: Path, length: str) -> None:
    with http_server(answering(CONTENT, Content_Length=length.encode().decode("latin-1"))) as address:
        assert download([f"{address}/f"], tmp_path / "f", SHA, connection=QUICK)["sha256"] == SHA


def test_an_answer_that_is_compressed_on_the_way(tmp_path: Path) -> None:
    packed = gzip.compress(CONTENT)
    whole = answering(packed, Content_Encoding="gzip", Content_Length=str(len(packed)), ETag='"v1"')
    with http_server(whole) as address:
        assert download([f"{address}/f"], tmp_path / "f", connection=QUICK)["sha256"] == SHA
    with http_server(answering(packed[:-9], Content_Encoding="gzip", Content_Length=str(len(packed)))) as address:
        with pytest.raises(DownloadError, match="could not be downloaded"):
            download([f"{address}/g"], tmp_path / "g", connection=QUICK)
    assert not (tmp_path / "g").exists()


def test_rot_of_the_cache_is_noticed_without_a_stated_hash(tmp_path: Path) -> None:
    said: list[str] = []
    with http_server(lambda handler: send(handler, CONTENT)) as address:
        download([f"{address}/f"], tmp_path / "f", connection=QUICK)
        (tmp_path / "f").write_bytes(CONTENT[:-1] + b"x")
        record = download([f"{address}/f"], tmp_path / "f", connection=QUICK, report=said.append)
    assert (record["cached"], record["sha256"]) == (False, SHA)
    assert "it is fetched again" in said[0]
