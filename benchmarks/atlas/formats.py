"""Names, places and sizes of the formats of an atlas in a folder."""

from pathlib import Path

FILES = {
    "h5ad": "atlas.h5ad",
    "copy": "atlas.copy.h5ad",
    "gzip": "atlas.gzip.h5ad",
    "zarr": "atlas.zarr",
    "soma": "atlas.soma",
    "csr": "csr",
    "store": "store",
}
PEERS = ("soma",)  # what only the environment of the peers can write


def path(folder: Path, name: str) -> Path:
    """Where a format lies."""
    return Path(folder) / FILES[name]


def finished(folder: Path, name: str) -> bool:
    """Whether a format was written to its end."""
    file = path(folder, name)
    last = {"csr": "indptr.npy", "store": "manifest.json"}
    return (file / last[name] if name in last else file).exists()


def size(file: Path) -> int:
    """Bytes of a file or of all files of a folder."""
    return file.stat().st_size if file.is_file() else sum(f.stat().st_size for f in file.rglob("*") if f.is_file())
