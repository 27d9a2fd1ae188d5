"""The formats of an atlas in a folder, and how each is written from its h5ad."""

import shutil
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
# X of the CELLxGENE Census
CENSUS = {
    "tiledb": {
        "create": {
            "capacity": 2**16,
            "cell_order": "row-major",
            "tile_order": "row-major",
            "allows_duplicates": True,
            "dims": {
                "soma_dim_0": {"tile": 2048, "filters": [{"_type": "ZstdFilter", "level": 5}]},
                "soma_dim_1": {"tile": 2048, "filters": ["ByteShuffleFilter", {"_type": "ZstdFilter", "level": 5}]},
            },
            "attrs": {"soma_data": {"filters": ["ByteShuffleFilter", {"_type": "ZstdFilter", "level": 5}]}},
        }
    }
}


def path(folder: Path, name: str) -> Path:
    """Where a format lies."""
    return Path(folder) / FILES[name]


def finished(folder: Path, name: str) -> bool:
    """Whether it has been written to the end."""
    file = path(folder, name)
    last = {"csr": "indptr.npy", "store": "manifest.json"}
    return (file / last[name] if name in last else file).exists()


def size(file: Path) -> int:
    """Bytes of a file or of all files of a folder."""
    return file.stat().st_size if file.is_file() else sum(f.stat().st_size for f in file.rglob("*") if f.is_file())


def convert(folder: Path, name: str) -> None:
    """Write a format from the h5ad beside it, under a temporary name until it is done."""
    source, target = path(folder, "h5ad"), path(folder, name)
    part = target.with_name(f"part-{target.name}")
    for old in (part, target):
        shutil.rmtree(old) if old.is_dir() else old.unlink(missing_ok=True)
    {"copy": _copy, "gzip": _gzip, "zarr": _zarr, "soma": _soma, "csr": _csr, "store": _store}[name](source, part)
    part.rename(target)


def _copy(source: Path, target: Path) -> None:
    import anndata

    anndata.read_h5ad(source).write_h5ad(target)


def _gzip(source: Path, target: Path) -> None:
    import anndata

    anndata.read_h5ad(source).write_h5ad(target, compression="gzip")


def _zarr(source: Path, target: Path) -> None:
    import anndata

    anndata.read_h5ad(source).write_zarr(target)


def _soma(source: Path, target: Path) -> None:
    import tiledbsoma.io

    tiledbsoma.io.from_h5ad(str(target), str(source), measurement_name="RNA", platform_config=CENSUS)


def _csr(source: Path, target: Path) -> None:
    """Sixteen bits for a gene and sixteen for a count, with numpy: what the simplest store would be."""
    import h5py
    import numpy as np

    target.mkdir()
    with (
        h5py.File(source) as file,
        open(target / "indices.u16", "wb") as genes,
        open(target / "counts.u16", "wb") as to,
    ):
        indptr = file["X/indptr"][:]
        for start in range(0, int(indptr[-1]), 2**24):
            file["X/indices"][start : start + 2**24].astype(np.uint16).tofile(genes)
            file["X/data"][start : start + 2**24].astype(np.uint16).tofile(to)
        obs = {name: file[f"obs/{name}/codes"][:] for name in ("study", "donor")}
        np.savez(target / "obs.npz", code=file["obs/code"][:], **obs)
    np.save(target / "indptr.npy", indptr)


def _store(source: Path, target: Path) -> None:
    from . import ours

    ours.write_store(source, target)
