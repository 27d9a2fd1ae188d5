"""What a file is that cannot be read as an h5ad file, and what to do with it."""

import gzip
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from annobench.core.errors import DataError

if TYPE_CHECKING:
    import h5py

HDF5 = b"\x89HDF\r\n\x1a\n"
_BEGINNING = 4096  # bytes that are looked at
_ZARR = (".zgroup", ".zattrs", "zarr.json", ".zmetadata")
_UNPACK = {
    b"BZh": ("bzip2", "bunzip2"),
    b"\xfd7zXZ\x00": ("xz", "unxz"),
    b"\x28\xb5\x2f\xfd": ("Zstandard", "unzstd"),
}
_MAGIC: list[tuple[bytes, str]] = [
    (b"version https://git-lfs", "is a pointer of Git LFS, not the file itself: run `git lfs pull` where it came from"),
    (b"%%MatrixMarket", "is a MatrixMarket file: name its folder in source.path with source.format: tenx_mtx"),
    (b"PAR1", "is a Parquet file: write the cells as h5ad"),
    (b"ARROW1", "is a Feather or Arrow file: write the cells as h5ad"),
    (b"\x80\x04", "is a Python pickle, which is never opened here: write the cells as h5ad"),
    (b"\x93NUMPY", "is a NumPy array, without names of cells and genes: write the cells as h5ad"),
    (b"PK\x03\x04", "is a zip archive (or an .xlsx): unpack it; a download names the file inside it by source.member"),
    (b"MATLAB", "is a MATLAB file: write the cells as h5ad"),
    (b"RDX", "is R data: write the cells as h5ad in R, with zellkonverter or SeuratDisk"),
    (b"RDA", "is R data: write the cells as h5ad in R, with zellkonverter or SeuratDisk"),
    (b"X\n\x00\x00\x00", "is R data (rds): write the cells as h5ad in R, with zellkonverter or SeuratDisk"),
]
_KINDS: list[tuple[Callable[["h5py.File"], bool], str]] = [
    (
        lambda file: "barcodes" in file.get("matrix", ()) if not hasattr(file.get("matrix"), "dtype") else False,
        "is the HDF5 file of Cell Ranger: a dataset reads it by source.format: tenx_h5",
    ),
    (
        lambda file: {"matrix", "row_attrs", "col_attrs"} <= set(file),
        "is a loom file: a dataset reads it by source.format: loom",
    ),
    (
        lambda file: "mod" in file,
        "is an h5mu file of several modalities: write the one with the genes as h5ad (mdata.mod['rna'].write_h5ad)",
    ),
    (
        lambda file: {"assays", "cell.names"} & set(file) != set(),
        "is an h5Seurat file: turn it into h5ad by SeuratDisk::Convert(FILE, dest = 'h5ad')",
    ),
    (
        lambda file: any(hasattr(group, "keys") and {"barcodes", "genes"} <= set(group) for group in file.values()),
        "is an HDF5 file of Cell Ranger 2: a dataset reads it by source.format: tenx_h5",
    ),
]


def not_h5ad(path: Path, error: Exception | None = None) -> DataError:
    """The error for something that is not a readable h5ad file: it says what it is and what to do.

    Parameters
    ----------
    path
        A file or a folder.
    error
        What was raised while it was read.
    """
    return DataError(f"{path.name}: is not a readable h5ad file: it {_what(path, error)}")


def _what(path: Path, error: Exception | None) -> str:
    if isinstance(error, PermissionError):
        return "may not be read by you; ask its owner, or change its mode"
    if path.is_dir():
        return _folder(path)
    if not path.exists():
        return "does not exist"
    size = path.stat().st_size
    if not size:
        return "is empty (0 bytes); fetch it again"
    locked = str(error).lower()
    if "lock" in locked and ("errno" in locked or "unable to lock" in locked):
        return (
            f"cannot be locked ({error}): another program writes it, or its file system has no locks; then set "
            "HDF5_USE_FILE_LOCKING=FALSE"
        )
    try:
        with open(path, "rb") as handle:
            beginning = handle.read(_BEGINNING)
    except OSError as refused:
        return f"cannot be read ({refused})"
    if beginning.startswith(HDF5):
        return _hdf5(path, size, error)
    return told_by(beginning, path) or f"is of an unknown format ({size} bytes; {error}); fetch it again"


def _folder(path: Path) -> str:
    if any((path / name).exists() for name in _ZARR):
        return "is a Zarr folder: a dataset reads it by source.format: zarr"
    if any(path.glob("*matrix.mtx*")):
        return "is a folder of Cell Ranger: a dataset reads it by source.format: tenx_mtx"
    return "is a folder; name the file"


def _hdf5(path: Path, size: int, error: Exception | None) -> str:
    import h5py

    try:
        with h5py.File(path, "r") as file:
            for is_it, what in _KINDS:
                if is_it(file):
                    return what
            if not {"obs", "var"} <= set(file):
                parts = ", ".join(list(file)[:6]) or "nothing"
                return f"is an HDF5 file without obs or var (it has {parts}); write the cells as h5ad"
    except (OSError, RuntimeError, KeyError) as broken:
        error = error or broken
    if cut := re.search(r"eof = (\d+).*stored_eof = (\d+)", str(error)):
        return f"is cut off: {cut[1]} of {cut[2]} bytes are there; fetch it again"
    return f"is damaged or cut off ({size} bytes; {error}); fetch it again"


def told_by(beginning: bytes, path: Path) -> str | None:
    """What a file is by its first bytes, and what to do; None for what is not known."""
    for magic, what in _MAGIC:
        if beginning.startswith(magic):
            return what
    for magic, (name, command) in _UNPACK.items():
        if beginning.startswith(magic):
            return f"is compressed by {name}: unpack it with `{command}` and name the unpacked file"
    if beginning.startswith(b"\x1f\x8b"):
        return _gzip(path)
    if beginning[257:262] == b"ustar":
        return "is a tar archive: unpack it; a download names the file inside it by source.member"
    return _text(beginning)


def _gzip(path: Path) -> str:
    try:
        with gzip.open(path) as handle:
            inside = handle.read(_BEGINNING)
    except (OSError, EOFError, ValueError):
        return "is a gzip file that is damaged or cut off; fetch it again"
    if inside.startswith(HDF5):
        return "is compressed by gzip: a dataset reads it by source.format: h5ad_gz, or unpack it with `gunzip`"
    what = told_by(inside, path) if not inside.startswith(b"\x1f\x8b") else None
    return f"is compressed by gzip, and inside it {what}" if what else "is compressed by gzip: unpack it with `gunzip`"


def _text(beginning: bytes) -> str | None:
    try:
        text = beginning.decode("utf-8-sig", errors="strict" if len(beginning) < _BEGINNING else "ignore")
    except UnicodeDecodeError:
        return None
    if "\x00" in text:
        return None
    start = text.lstrip()[:200].lower()
    if start.startswith(("<!doctype html", "<html", "<head", "<?xml", "<error")):
        title = re.search(r"<(?:title|message)>(.*?)<", text, re.IGNORECASE | re.DOTALL)
        said = f" ('{' '.join(title[1].split())[:80]}')" if title else ""
        return f"is a web page{said}: the address leads to a page, a login or an error, take the one of the file itself"
    if start.startswith(("{", "[")):
        return f"is JSON ({' '.join(start.split())[:60]}), the answer of a server rather than the file; fetch it again"
    line = text.split("\n", 1)[0]
    if "\t" in line or "," in line or ";" in line:
        kind = "tsv" if "\t" in line else "csv"
        return f"is a table of texts: for counts of cells a dataset reads it by source.format: {kind}"
    return None
