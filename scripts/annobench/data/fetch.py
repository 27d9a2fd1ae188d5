"""Bringing the files of a dataset into its source folder, with a record of where every byte came from."""

from datetime import UTC, datetime
from pathlib import Path

from annobench import __version__
from annobench.cells.store.manifest import fingerprint
from annobench.core.errors import DownloadError
from annobench.core.files import write_json
from annobench.core.progress import Report, silent
from annobench.data.download.lock import changed, enforce, recorded
from annobench.data.spec import Given, SourceSpec


def fetch_dataset(
    name: str,
    source: SourceSpec,
    folder: Path,
    record: Path,
    *,
    lock_file: Path,
    given: Given | None = None,
    report: Report = silent,
) -> None:
    """Fill a folder with the files of a dataset.

    Parameters
    ----------
    name
        Of the dataset; the lock file records hashes under it.
    source
        Its source, of any kind.
    folder
        Is made, and filled.
    record
        The provenance (JSON), written last: source, file, bytes, sha256, steps.
    lock_file
        Keeps the hashes of downloads that state none.
    given
        Files that the inputs of the rule name (`SourceSpec.inputs`).
    report
        Says one line of progress.

    Raises
    ------
    DataError
        Where the source is not what the dataset states.
    DownloadError
        Where a file cannot be had, or is not the one that was declared.
    """
    folder.mkdir(parents=True, exist_ok=True)
    file = source.unverified()
    known = recorded(lock_file, name, file) if file else None
    try:
        fetched = (source.expecting(known) if known else source).fetch(folder, given or {}, report)
    except DownloadError as error:
        raise (changed(error, lock_file, name, str(file)) if known else error) from error
    size, sha256 = fingerprint(fetched.file)
    if fetched.expected not in (None, sha256):
        raise DownloadError(
            f"{name}: {fetched.file.name} has sha256 {sha256}, expected {fetched.expected}; it is not the file that "
            "the dataset was declared with"
        )
    if fetched.unverified:
        enforce(lock_file, name, *fetched.unverified)
    write_json(
        record,
        {
            "dataset": name,
            "source": source.to_params(),
            "file": fetched.file.name,
            "bytes": size,
            "sha256": sha256,
            "steps": fetched.steps,
            "fetched": datetime.now(UTC).isoformat(timespec="seconds"),
            "annobench": __version__,
        },
    )
