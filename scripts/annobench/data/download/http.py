"""Downloads: atomic, verified, resumed, retried with back-off, tried on every mirror, with progress."""

import fcntl
import hashlib
import json
import os
import re
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypedDict
from urllib.parse import unquote, urlsplit

import requests

from annobench.core.errors import DownloadError
from annobench.core.files import disk_full, expanded, inside, is_disk_full, read_json, sha256_of, write_json
from annobench.core.progress import Report, silent

_CHUNK = 1 << 16  # what a broken connection loses at most
_FINAL = {401, 403, 404, 410, 451}  # another try at the same address will not help


class Received(TypedDict):
    """Record of a file that was downloaded: address without password, size, hash, whether it was cached."""

    url: str | None
    bytes: int
    sha256: str
    cached: bool


class DownloadStep(Received):
    """The same as a step in source.json."""

    step: str
    file: str


@dataclass
class Connection:
    """How to reach servers: what the user's own configuration says, plus patience."""

    verify: bool | str = True
    proxies: dict[str, str] = field(default_factory=dict)
    timeout: float = 60.0
    attempts: int = 5
    first_wait: float = 1.0

    def get(self, url: str, **options: Any) -> requests.Response:
        """One GET request; netrc and the proxy variables of the environment are honoured by requests."""
        return requests.get(url, verify=self.verify, proxies=self.proxies or None, timeout=self.timeout, **options)


def cache_folder() -> Path:
    """Where verified downloads are kept: $ANNOBENCH_CACHE, else `annobench` in the user's cache folder."""
    own = os.environ.get("ANNOBENCH_CACHE")
    base = Path(own) if own else Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser() / "annobench"
    base.mkdir(parents=True, exist_ok=True)
    return base


@contextmanager
def _only_one(path: Path) -> Iterator[None]:
    """Let one process at a time work on a file; the system releases the lock when the process ends."""
    with open(path.with_name(path.name + ".lock"), "w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def download(
    urls: Sequence[str],
    destination: Path,
    sha256: str | None = None,
    *,
    connection: Connection | None = None,
    report: Report = silent,
) -> Received:
    """Fetch one file to `destination` and return its record (url, bytes, sha256, cached).

    A finished file with the right hash is not fetched again; `<destination>.origin.json` has its address and hash.
    Bytes arrive in `<destination>.part`, which is resumed after an interruption and renamed when complete and verified.
    Nothing is taken that is empty, a web page, or a pointer to a file instead of the file.
    Raises DownloadError.
    """
    connection = connection or Connection()
    destination.parent.mkdir(parents=True, exist_ok=True)
    with _only_one(destination):
        if destination.is_file():
            there, origin = sha256_of(destination), _origin(destination)
            expected = sha256 or origin.get("sha256") or there
            if there == expected:
                return _record(origin.get("url"), destination, there, cached=True)
            report(f"{destination}: has the sha256 {there}, expected {expected}: it is fetched again")
            destination.unlink()
        problems: list[str] = []
        for url in urls:
            try:
                digest = _fetch(url, destination, sha256, connection, report)
            except DownloadError as error:
                problems.append(str(error))
                report(str(error))
                continue
            write_json(_origin_file(destination), {"url": without_password(url), "sha256": digest})
            return _record(url, destination, digest, cached=False)
        raise DownloadError(
            f"{destination.name}: could not be downloaded.\n  " + "\n  ".join(problems) + "\n"
            "Check the network and the address, then run the same command again; finished parts are kept."
        )


def verified_file(
    urls: Sequence[str], file: str, sha256: str | None = None, report: Report = silent
) -> tuple[Path, DownloadStep]:
    """The file behind some addresses, in the cache, and the step that brought it there.

    `sha256` is checked where it is stated.
    """
    # the folder in the cache is keyed by the address: two sources may call their files the same
    folder, by_address = cache_folder() / "url", hashlib.sha256(urls[0].encode()).hexdigest()
    cached = inside(folder / by_address[:16], file)
    if sha256 and not cached.is_file():
        cached = inside(folder / sha256[:16], file)
    # a file:// address may lie under a variable such as $ANNOBENCH_DATA
    local = "file://"
    addresses = [
        expanded(url.removeprefix(local)).absolute().as_uri() if url.startswith(local) else url for url in urls
    ]
    received = download(addresses, cached, sha256, report=report)
    return cached, {"step": "download", "file": file, **received}


def _origin_file(path: Path) -> Path:
    return path.with_name(path.name + ".origin.json")


def _origin(path: Path) -> dict[str, str]:
    """Address and hash of a finished file when it was fetched; empty if it came there by other means."""
    return read_json(_origin_file(path)) if _origin_file(path).is_file() else {}


def _record(url: str | None, path: Path, sha256: str, *, cached: bool) -> Received:
    return {"url": url and without_password(url), "bytes": path.stat().st_size, "sha256": sha256, "cached": cached}


def _fetch(url: str, destination: Path, sha256: str | None, connection: Connection, report: Report) -> str:
    """Bring one address to `destination`; returns the hash."""
    part = destination.with_name(destination.name + ".part")
    wait = connection.first_wait
    for attempt in range(1, connection.attempts + 1):
        try:
            _receive(url, part, connection, report)
        except requests.RequestException as error:
            status = error.response.status_code if error.response is not None else None
            reason = f"HTTP status {status}" if status else f"{type(error).__name__}: {error}"
            if status in _FINAL or attempt == connection.attempts:
                raise DownloadError(
                    f"{without_password(url)}: {reason} (attempt {attempt} of {connection.attempts})"
                ) from error
            report(
                f"{without_password(url)}: {reason}; trying again in {wait:.0f} s (attempt {attempt} of "
                f"{connection.attempts})"
            )
            time.sleep(wait)
            wait *= 2
            continue
        except OSError as error:
            if is_disk_full(error):
                raise disk_full(part) from error
            raise DownloadError(f"{without_password(url)}: {error}") from error
        digest = sha256_of(part)
        _state(part).unlink(missing_ok=True)
        problem = None if digest == sha256 else _no_file(part, destination.name)
        if problem is None and sha256 not in (None, digest):
            problem = f"sha256 is {digest}, expected {sha256}"
        if problem is None:
            os.replace(part, destination)
            return digest
        part.unlink()
        raise DownloadError(f"{without_password(url)}: {problem}; the bytes were discarded")
    raise AssertionError("unreachable")


_PAGES = (b"<!doctype html", b"<html")
_POINTER = b"version https://git-lfs.github.com/"


def _no_file(part: Path, name: str) -> str | None:
    """What came in place of a file, such as the page of a server that asks for a password; None for a file."""
    with open(part, "rb") as handle:
        head = handle.read(512).removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if not head:
        return "the answer is empty"
    if head.startswith(_PAGES) and not name.lower().endswith((".html", ".htm")):
        return "the answer is a web page, not a file: a server that asks for a password, or another address, sends one"
    if head.startswith(_POINTER):
        return "the answer is a pointer of Git LFS, not the file; use the address of the file itself"
    return None


def _state(part: Path) -> Path:
    return part.with_name(part.name + ".json")


def _receive(url: str, part: Path, connection: Connection, report: Report) -> None:
    """Append to `part` what is missing of `url`; raises requests.RequestException if it stays incomplete."""
    if urlsplit(url).scheme == "file":
        shutil.copyfile(unquote(urlsplit(url).path), part)
        return
    state = json.loads(_state(part).read_text()) if _state(part).is_file() and part.is_file() else {}
    have = part.stat().st_size if state.get("url") == url and state.get("tag") else 0
    headers = {"Accept-Encoding": "identity"}
    if have:
        # If-Range: a file that changed since is sent whole, so that two versions are never joined
        headers |= {"Range": f"bytes={have}-", "If-Range": state["tag"]}
    with connection.get(url, headers=headers, stream=True) as response:
        if response.status_code == 416:  # nothing is left to fetch, or the file shrank: the hash decides
            return
        response.raise_for_status()
        resumed = response.status_code == 206
        have = have if resumed else 0
        tag = response.headers.get("ETag") or response.headers.get("Last-Modified")
        _state(part).write_text(json.dumps({"url": url, "tag": None if (tag or "").startswith("W/") else tag}))
        # an answer that is compressed on the way has the length of what is sent, and cannot be resumed
        packed = response.headers.get("Content-Encoding", "identity") != "identity"
        if packed:
            _state(part).unlink()
        length = response.headers.get("Content-Length", "")
        total = have + int(length) if length.isascii() and length.isdigit() and not packed else None
        tell = _Progress(part.name.removesuffix(".part"), have, total, report)
        with open(part, "ab" if resumed else "wb") as handle:
            for block in response.iter_content(_CHUNK):
                handle.write(block)
                tell.add(len(block))
        received = response.raw.tell() if packed else 0
    got = part.stat().st_size
    if total is not None and got != total:
        raise requests.ConnectionError(f"the connection ended after {got} of {total} bytes")
    if packed and length.isdigit() and received != int(length):
        raise requests.ConnectionError(f"the connection ended after {received} of {length} compressed bytes")


class _Progress:
    """Reports every three seconds the progress of a download and the time left."""

    def __init__(self, name: str, have: int, total: int | None, report: Report) -> None:
        self.name, self.begun, self.have, self.total, self.report = name, have, have, total, report
        self.start = self.last = time.monotonic()

    def add(self, size: int) -> None:
        self.have += size
        now = time.monotonic()
        if now - self.last > 3:
            self.last = now
            rate = (self.have - self.begun) / (now - self.start)
            left = (
                f" of {self.total / 1e6:.1f} MB, about {(self.total - self.have) / rate:.0f} s left"
                if self.total
                else " MB"
            )
            self.report(f"{self.name}: {self.have / 1e6:.1f}{left} ({rate / 1e6:.1f} MB/s)")


def without_password(url: str) -> str:
    """An address without its password, for messages and records."""
    return re.sub(r"//[^/@]*@", "//****@", url)
