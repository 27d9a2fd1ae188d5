"""Seals of the files between rules: a file that changed after a job had written it is noticed by the next reader.

Every job seals what it wrote, and checks the seals of what it reads. The seal of results/a/b is results/.seals/a/b: the
size, the time of the last change, and SHA-256. Large files that have the time and size of their seal are not read
again, so that checking an atlas costs nothing; small files always are. A file without a seal, such as one that an older
version wrote, is not checked.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path

from annobench.core.errors import DataError
from annobench.core.files import sha256_of

FOLDER = ".seals"
_LARGE = 16 * 2**20  # bytes; below, the time of a file is not trusted
_RECORD = "run.json"  # stands for everything that a fit left beside it


def seal(paths: Iterable[str]) -> None:
    """Seal files that a job has written, and those in folders that it has written.

    Parameters
    ----------
    paths
        Outputs of the job, relative to the folder of the run.
    """
    known: dict[Path, dict[Path, str]] = {}
    for file, output in _files(paths):
        place = _place(file)
        if place is not None:
            if output not in known:
                known[output] = _hashes(output)
            _write(place, file, known[output].get(file))


def check(paths: Iterable[str]) -> None:
    """Check files that a job reads.

    Parameters
    ----------
    paths
        Inputs of the job.

    Raises
    ------
    DataError
        Where a file is not the one that was written; names the file.
    """
    for file, output in _files(paths):
        place = _place(file)
        if place is not None and place.is_file():
            _check(place, file, output)


def _files(paths: Iterable[str]) -> Iterator[tuple[Path, Path]]:
    """Files, and the output that each belongs to: itself, the folder that it lies in, or the run record of its fit."""
    for path in map(Path, dict.fromkeys(paths)):
        inside: Iterable[Path] = [path]
        if path.name == _RECORD and path.parent.is_dir():
            inside = path.parent.iterdir()
        elif path.is_dir():
            inside = path.rglob("*")
        for one in inside:
            is_link = one.is_symlink()  # what it leads to is the user's own
            if one.is_file() and not is_link and one.name != ".snakemake_timestamp":
                yield one, path


def _hashes(path: Path) -> dict[Path, str]:
    """Hashes that the manifest of a store has: its files are not read a second time."""
    from annobench.cells.store.manifest import FORMAT, MANIFEST, Manifest

    manifest = path / MANIFEST
    if not path.is_dir() or not manifest.is_file() or FORMAT not in manifest.read_text(encoding="utf-8")[:10_000]:
        return {}
    return {file: written.sha256 for file, written in Manifest.read(path).files(path)}


def _place(file: Path) -> Path | None:
    """Where the seal of a file lies; None for a file that no rule makes."""
    if file.is_absolute() or len(file.parts) < 2:
        return None
    return Path(file.parts[0], FOLDER, *file.parts[1:])


def _write(place: Path, file: Path, known: str | None) -> None:
    state = file.stat()
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(f"{state.st_size} {state.st_mtime_ns} {known or sha256_of(file)}\n", encoding="ascii")


def _check(place: Path, file: Path, output: Path) -> None:
    written, state = place.read_text(encoding="ascii").split(), file.stat()
    if len(written) == 3:
        same_size = written[0] == str(state.st_size)
        if same_size and state.st_size >= _LARGE and written[1] == str(state.st_mtime_ns):
            return
        if same_size and written[2] == sha256_of(file):
            if state.st_size >= _LARGE:
                _write(place, file, written[2])  # copied elsewhere: the next check trusts its new time
            return
    raise DataError(
        f"{file}: is not what was written here: it was changed or damaged since. Delete {output}, and run again: it is "
        f"made anew. (To go on with the file as it is, delete {place}.)"
    )
