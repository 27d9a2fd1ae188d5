"""Writes each format of an atlas from its h5ad."""

import shutil
from pathlib import Path

from . import formats, ours

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


def convert(folder: Path, name: str) -> None:
    """Write a format from the h5ad beside it, under a temporary name until it is done."""
    source, target = formats.path(folder, "h5ad"), formats.path(folder, name)
    part = target.with_name(f"part-{target.name}")
    for old in (part, target):
        shutil.rmtree(old) if old.is_dir() else old.unlink(missing_ok=True)
    WRITERS[name](source, part)
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


WRITERS = {"copy": _copy, "gzip": _gzip, "zarr": _zarr, "soma": _soma, "csr": _csr, "store": ours.write_store}
