"""Cells that are excluded by number, such as the cells of a published erratum."""

import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from annobench.core.errors import DataError
from annobench.core.files import sha256_of
from annobench.core.progress import Report
from annobench.core.records import Records, text_of
from annobench.data.census.filters import local_file
from annobench.data.census.spec import CellList
from annobench.data.download.http import verified_file
from annobench.data.spec import Step

if TYPE_CHECKING:
    from numpy.typing import NDArray


def excluded_ids(cells: CellList, report: Report) -> "tuple[NDArray[np.int64], Step]":
    """The numbers of the cells, and what the record says of them. Raises DataError."""
    origin: Step
    if cells.path:
        path = local_file(cells.path)
        if not path.is_file():
            raise DataError(f"source.exclude.path: no file {path} (from '{cells.path}')")
        sha256 = sha256_of(path)
        if cells.sha256 not in (None, sha256):
            raise DataError(f"source.exclude: {path} has sha256 {sha256}, expected {cells.sha256}")
        origin = {"path": cells.path}
    else:
        assert cells.file is not None  # `check_census` asks for it beside `urls`
        path, step = verified_file(cells.urls, cells.file, cells.sha256, report)
        sha256, origin = step["sha256"], {"url": step["url"]}
    ids = _numbers(path, cells.column)
    return ids, {**origin, "sha256": sha256, "listed": len(ids)}


def _numbers(path: Path, column: str) -> "NDArray[np.int64]":
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                names = archive.namelist()  # archives made on macOS hold more than what was put in
                content = archive.read(next((name for name in names if name.endswith(".csv")), names[0]))
        else:
            content = path.read_bytes()
        rows = Records.of(text_of(content, path.name), path.name).table([column])
        return np.unique(np.array([int(value) for _, (value,) in rows], dtype=np.int64))
    except (ValueError, IndexError, zipfile.BadZipFile) as error:
        raise DataError(
            f"{path}: is not a list of whole numbers ({error}); expected a .csv, or a .zip of one"
        ) from error
