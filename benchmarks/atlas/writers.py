"""Writes an atlas while it is drawn, in bounded memory."""

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd

from . import formats, measure, ours
from .synthetic import GENES, Atlas, Chunk

CHUNK = 47_981  # values in one chunk of an h5ad of 200,000 cells as anndata writes it


def obs_table(atlas: Atlas) -> pd.DataFrame:
    """Study, donor and label of every cell as in CELLxGENE, and `code`, the class number."""
    return pd.DataFrame(
        {
            "study": _names("study", atlas.study),
            "donor": _names("donor", atlas.donor),
            "label": _names("class", atlas.code, len(atlas.profiles)),
            "code": atlas.code,
        },
        index=pd.Index(np.char.add("cell", np.arange(atlas.n).astype("U9")).astype(object), name="cell_id"),
    )


def var_table() -> pd.DataFrame:
    """Ids and names of the genes."""
    ids = pd.Index([f"ENSG{gene:011d}" for gene in range(GENES)], name="feature_id")
    return pd.DataFrame({"feature_name": [f"GENE{gene}" for gene in range(GENES)]}, index=ids)


def _names(kind: str, codes: np.ndarray, n: int | None = None) -> pd.Categorical:
    return pd.Categorical.from_codes(codes, [f"{kind}{i:04d}" for i in range(n or int(codes.max()) + 1)])


class CsrFolder:
    """Raw arrays: indptr.npy int64, indices.u16, counts.u16, obs.npz with the codes."""

    def __init__(self, path: Path, atlas: Atlas) -> None:
        path.mkdir(parents=True, exist_ok=True)
        self.path, self.indptr = path, np.zeros(atlas.n + 1, np.int64)
        self.files = [(path / name).open("wb") for name in ("indices.u16", "counts.u16")]
        np.savez(path / "obs.npz", study=atlas.study, donor=atlas.donor, code=atlas.code)

    def add(self, chunk: Chunk) -> None:
        """Append the cells of a chunk."""
        here = slice(chunk.start + 1, chunk.start + len(chunk.indptr))
        self.indptr[here] = self.indptr[chunk.start] + chunk.indptr[1:]
        for file, values in zip(self.files, (chunk.indices, chunk.counts), strict=True):
            values.tofile(file)

    def close(self) -> None:
        """Finish: a folder without indptr.npy is incomplete."""
        for file in self.files:
            file.close()
        np.save(self.path / "indptr.npy", self.indptr)


class H5adFile:
    """An uncompressed h5ad: X as CSR of float32 and int32."""

    def __init__(self, path: Path, atlas: Atlas) -> None:
        from anndata.io import write_elem

        path.parent.mkdir(parents=True, exist_ok=True)
        self.path, self.indptr = path, np.zeros(atlas.n + 1, np.int64)
        self.file = h5py.File(path.with_suffix(".part"), "w")
        self.file.attrs.update({"encoding-type": "anndata", "encoding-version": "0.1.0"})
        write_elem(self.file, "obs", obs_table(atlas))
        write_elem(self.file, "var", var_table())
        for name in ("layers", "obsm", "obsp", "uns", "varm", "varp"):
            write_elem(self.file, name, {})
        self.x = self.file.create_group("X")
        self.x.attrs.update(
            {"encoding-type": "csr_matrix", "encoding-version": "0.1.0", "shape": np.array([atlas.n, GENES])}
        )
        self.values = [
            self.x.create_dataset(name, (0,), dtype, maxshape=(None,), chunks=(CHUNK,))
            for name, dtype in (("indices", "i4"), ("data", "f4"))
        ]

    def add(self, chunk: Chunk) -> None:
        """Append the cells of a chunk."""
        here = slice(chunk.start + 1, chunk.start + len(chunk.indptr))
        before = self.indptr[chunk.start]
        self.indptr[here] = before + chunk.indptr[1:]
        for dataset, values in zip(self.values, (chunk.indices, chunk.counts), strict=True):
            dataset.resize((before + len(values),))
            dataset[before:] = values.astype(dataset.dtype)

    def close(self) -> None:
        """Finish: the file gets its name only now."""
        self.x.create_dataset("indptr", data=self.indptr)
        self.file.close()
        self.path.with_suffix(".part").rename(self.path)


def make(cells: int, folder: Path, wanted: list[str], seed: int = 0) -> None:
    """Write the wanted formats that are missing; raises ValueError where the folder holds another atlas."""
    _claim(folder, {"cells": cells, "seed": seed})
    missing = [name for name in wanted if not formats.finished(folder, name)]
    direct = [name for name in ("h5ad", "csr") if name in missing]
    if "store" in missing and not formats.finished(folder, "h5ad") and "h5ad" not in missing:
        direct.append("store")
    if direct:
        atlas = Atlas(cells, seed)
        writers = [_writer(name, formats.path(folder, name), atlas) for name in direct]
        for chunk in atlas.chunks():
            for writer in writers:
                writer.add(chunk)
        for writer in writers:
            writer.close()
    for name in missing:
        if name not in direct:
            measure.worker("convert", peer=name in formats.PEERS, format=name, folder=str(folder))


def _claim(folder: Path, atlas: dict[str, int]) -> None:
    note = folder / "atlas.json"
    if note.exists() and (found := json.loads(note.read_text())) != atlas:
        raise ValueError(f"{folder} holds the atlas {found}, expected {atlas}; name another folder")
    folder.mkdir(parents=True, exist_ok=True)
    note.write_text(json.dumps(atlas))


def _writer(name: str, path: Path, atlas: Atlas) -> Any:
    if name == "store":
        return ours.StoreFolder(path, obs_table(atlas), var_table())
    return {"h5ad": H5adFile, "csr": CsrFolder}[name](path, atlas)
