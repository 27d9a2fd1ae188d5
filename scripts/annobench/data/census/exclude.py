"""Cells that are left out by their number, such as those of a published erratum."""

import csv
import io
import zipfile
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from annobench.core.errors import DataError, nearest
from annobench.core.files import sha256_of
from annobench.data.census.filters import local_file
from annobench.data.census.release import Report
from annobench.data.download.http import verified_file

if TYPE_CHECKING:
    from numpy.typing import NDArray


def excluded_ids(settings: Mapping[str, Any], report: Report) -> "tuple[NDArray[np.int64], dict[str, Any]]":
    """The numbers in a column of a .csv (also inside a .zip), and what the record says of them. Raises DataError."""
    if settings.get("path"):
        path = local_file(settings["path"])
        if not path.is_file():
            raise DataError(f"source.exclude.path: no file {path} (from '{settings['path']}')")
        found = sha256_of(path)
        if settings.get("sha256") not in (None, found):
            raise DataError(f"source.exclude: {path} has sha256 {found}, expected {settings['sha256']}")
        origin = {"path": settings["path"]}
    else:
        path, step = verified_file(settings, report)
        found, origin = step["sha256"], {"url": step["url"]}
    ids = _numbers(path, settings["column"])
    return ids, {**origin, "sha256": found, "listed": len(ids)}


def _numbers(path: Any, column: str) -> "NDArray[np.int64]":
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                names = archive.namelist()  # a .zip of a Mac holds more than what was put in
                text = archive.read(next((name for name in names if name.endswith(".csv")), names[0])).decode()
        else:
            text = path.read_text(encoding="utf-8")
        rows = csv.DictReader(io.StringIO(text))
        if column not in (rows.fieldnames or []):
            raise DataError(f"{path}: there is no column '{column}'{nearest(column, rows.fieldnames or [])}")
        return np.unique(np.array([int(row[column]) for row in rows], dtype=np.int64))
    except (ValueError, IndexError, zipfile.BadZipFile) as error:
        raise DataError(f"{path}: is no list of whole numbers ({error}); expected a .csv, or a .zip of one") from error
