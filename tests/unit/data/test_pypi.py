"""What is promised: files of the index are found through pip's own settings, and nothing of them is executed."""

import hashlib
import io
import tarfile
import zipfile
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from annobench.core.errors import DownloadError
from annobench.data.download.archive import extract_member
from annobench.data.download.http import download
from annobench.data.download.pypi import PipSettings, find_file, links
from helpers import http_server

HELP = "  -i, --index-url <url>  Base URL of the Python Package Index (default https://index.example/simple). This ..."


def settings(*lines: str) -> PipSettings:
    return PipSettings("\n".join(lines), HELP)


def test_defaults_come_from_pip_itself() -> None:
    found = settings()
    assert found.indexes == ["https://index.example/simple"]
    assert found.connection.verify is True
    assert PipSettings.of_user().indexes  # the pip of this environment answers


def test_environment_goes_before_files() -> None:
    found = settings(
        "global.index-url='https://global/simple'",
        ":env:.index-url='https://env/simple'",
        "download.cert='/etc/cert.pem'",
        "global.extra-index-url='https://a/simple https://b/simple'",
        "global.find-links='/wheels'",
        "global.proxy='http://proxy:3128'",
        "global.default-timeout='7'",
    )
    assert found.indexes == ["https://env/simple", "https://a/simple", "https://b/simple"]
    assert found.find_links == ["/wheels"]
    assert found.connection.verify == "/etc/cert.pem"
    assert found.connection.proxies["https"] == "http://proxy:3128"
    assert found.connection.timeout == 7


def test_no_index_is_respected() -> None:
    assert settings("global.no-index='true'").indexes == []


def test_links_are_made_absolute_and_lose_their_fragment() -> None:
    page = '<a href="../../files/x-1.0.tar.gz#sha256=ab">x</a> <a href="https://h/y%2B1.whl">y</a> <a>nothing</a>'
    assert links(page, "https://host/simple/x/") == {
        "x-1.0.tar.gz": "https://host/files/x-1.0.tar.gz",
        "y+1.whl": "https://h/y%2B1.whl",
    }


def sdist(trap: Path) -> bytes:
    """A source distribution whose build script would leave a trace."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, text in (("pkg-1.0/setup.py", f"open({str(trap)!r}, 'w')"), ("pkg-1.0/data/x.txt", "payload")):
            info = tarfile.TarInfo(name)
            info.size = len(text)
            archive.addfile(info, io.BytesIO(text.encode()))
    return buffer.getvalue()


def test_a_source_distribution_is_found_fetched_and_never_executed(tmp_path: Path) -> None:
    trap = tmp_path / "executed"
    content = sdist(trap)

    def answer(handler: BaseHTTPRequestHandler) -> None:
        page = b'<a href="/files/Pkg-1.0.tar.gz#sha256=00">Pkg-1.0.tar.gz</a>'
        body = {"/simple/my-pkg/": page, "/files/Pkg-1.0.tar.gz": content}.get(handler.path)
        if body is None:
            handler.send_error(404)
            return
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    with http_server(answer) as address:
        found = settings(f":env:.index-url='{address}/simple'", "global.extra-index-url='http://127.0.0.1:9/simple'")
        urls = find_file("My_Pkg", "Pkg-1.0.tar.gz", found)  # the name is normalised as pip does
        assert urls == [f"{address}/files/Pkg-1.0.tar.gz"]
        download(urls, tmp_path / "Pkg-1.0.tar.gz", hashlib.sha256(content).hexdigest())
        with pytest.raises(DownloadError, match=r"Pkg-2\.0\.tar\.gz of My_Pkg is in none"):
            find_file("My_Pkg", "Pkg-2.0.tar.gz", found)
    extract_member(tmp_path / "Pkg-1.0.tar.gz", "pkg-1.0/data/x.txt", tmp_path / "x.txt")
    assert (tmp_path / "x.txt").read_text() == "payload"
    assert not trap.exists()


def test_local_folders_serve_as_index_and_links(tmp_path: Path) -> None:
    (tmp_path / "simple" / "pkg").mkdir(parents=True)
    (tmp_path / "simple" / "pkg" / "index.html").write_text('<a href="../../pkg-1.0-py3-none-any.whl">w</a>')
    (tmp_path / "pkg-1.0-py3-none-any.whl").write_bytes(b"w")
    expected = [(tmp_path / "pkg-1.0-py3-none-any.whl").as_uri()]
    by_index = settings("global.no-index='0'", f":env:.index-url='{(tmp_path / 'simple').as_uri()}'")
    assert find_file("pkg", "pkg-1.0-py3-none-any.whl", by_index) == expected
    by_links = settings("global.no-index='true'", f"global.find-links='{tmp_path}'")
    assert find_file("pkg", "pkg-1.0-py3-none-any.whl", by_links) == expected


def test_members_of_archives(tmp_path: Path) -> None:
    wheel = tmp_path / "a.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("pkg/data.h5ad", "payload")
    extract_member(wheel, "pkg/data.h5ad", tmp_path / "out")
    assert (tmp_path / "out").read_text() == "payload"
    with pytest.raises(DownloadError, match=r"no member 'pkg/dat\.h5ad'; did you mean 'pkg/data\.h5ad'"):
        extract_member(wheel, "pkg/dat.h5ad", tmp_path / "out2")
    (tmp_path / "no.tar.gz").write_bytes(b"not an archive")
    with pytest.raises(DownloadError, match="neither a zip nor a tar archive"):
        extract_member(tmp_path / "no.tar.gz", "x", tmp_path / "out3")
    cut = tmp_path / "cut.tar.gz"
    cut.write_bytes(sdist(tmp_path / "t")[:-40])
    with pytest.raises(DownloadError, match="damaged"):
        extract_member(cut, "pkg-1.0/data/x.txt", tmp_path / "out4")
    assert not list(tmp_path.glob("out[234]"))
