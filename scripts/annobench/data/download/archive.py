"""Extracting one member of a wheel, a zip file or a tar archive."""

import shutil
import tarfile
import zipfile
from pathlib import Path

from annobench.core.errors import DownloadError, nearest
from annobench.core.files import atomic


def extract_member(archive: Path, member: str, destination: Path) -> None:
    """Write `member` of `archive` (.whl, .zip, .tar.gz, .tgz, .tar) to `destination`; raises DownloadError."""
    try:
        if zipfile.is_zipfile(archive):
            with zipfile.ZipFile(archive) as opened:
                if member not in opened.namelist():
                    raise _missing(archive, member, opened.namelist())
                with opened.open(member) as reader, atomic(destination) as path, open(path, "wb") as writer:
                    shutil.copyfileobj(reader, writer)
        elif tarfile.is_tarfile(archive):
            with tarfile.open(archive) as packed:
                names = packed.getnames()
                if member not in names:
                    raise _missing(archive, member, names)
                inside = packed.extractfile(member)
                if inside is None:
                    raise DownloadError(f"{archive.name}: '{member}' is a folder, expected a file")
                with inside, atomic(destination) as path, open(path, "wb") as writer:
                    shutil.copyfileobj(inside, writer)
        else:
            raise DownloadError(f"{archive.name}: neither a zip nor a tar archive; remove `member`, or name an archive")
    except (zipfile.BadZipFile, tarfile.TarError, EOFError) as error:
        raise DownloadError(f"{archive.name}: the archive is damaged: {error}") from error


def _missing(archive: Path, member: str, names: list[str]) -> DownloadError:
    return DownloadError(
        f"{archive.name}: has no member '{member}'{nearest(member, names) if len(names) < 200 else ''}"
    )
