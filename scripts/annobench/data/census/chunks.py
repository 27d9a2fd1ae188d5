"""Counts of a part of the selected cells: one job, which resumes where an interrupted one stopped."""

import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from shutil import rmtree
from typing import TYPE_CHECKING, TypedDict

import numpy as np

from annobench.cells.store.manifest import MANIFEST, Manifest
from annobench.cells.store.writer import SHARD_CELLS, StoreWriter
from annobench.core.errors import DataError
from annobench.core.files import read_json
from annobench.core.parquet import read_columns
from annobench.core.progress import Report, silent
from annobench.data.census.genes import NOT_THERE
from annobench.data.census.release import Place, Release, with_patience
from annobench.data.census.rows import ID, batches
from annobench.data.census.spec import ChunkSpec, SelectionFiles

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray
    from scipy.sparse import csr_matrix

BLOCK = 8_192  # cells that are read at a time: 2,000 values of 20 bytes for each of them are 330 MB
_FEW_GENES = 0.25  # share of a release's genes: fewer are asked for by name, more as whole rows, which lie together
_SAY_EVERY = 30.0  # seconds


class _Record(TypedDict):
    """What is used of the record of a selection."""

    release: str
    uri: str
    cells: int
    sha256: dict[str, str]


def fetch_chunk(
    source: ChunkSpec,
    chunk: int,
    selection: SelectionFiles,
    folder: Path,
    *,
    uri: str | None,
    report: Report = silent,
    block: int = BLOCK,
    shard_cells: int = SHARD_CELLS,
) -> None:
    """Write the store of one part of a selection.

    Parameters
    ----------
    source
        Says which release, and into how many chunks the selection is cut.
    chunk
        Number of the part.
    selection
        What `select_cells` wrote.
    folder
        Of the store, which is written beside it and renamed when it is whole.
    uri
        Where the release lies; None for the Census's own.
    report
        Says one line of progress.
    block
        Cells that are read at a time.
    shard_cells
        Cells of a shard of the store.

    Raises
    ------
    DataError
        Also where the release no longer has the cells that were selected.
    DownloadError
        Where the release cannot be read.
    """
    record: _Record = read_json(selection.record)
    start, stop = chunk_bounds(record["cells"], source.chunks)[chunk]
    obs, genes = _part(selection.cells, start, stop), _genes(selection.genes)
    origin = {
        "release": record["release"],
        "selection": record["sha256"],
        "chunk": chunk,
        "of": source.chunks,
        "cells": [start, stop],
    }
    begun = folder.with_name(f"{folder.name}.part")
    if (begun / MANIFEST).is_file() and not Manifest.read(begun).ends_with(origin):
        rmtree(begun)  # of another selection, which was killed before the last line of this function
    place = Place(source.release, uri, source.organism, source.tiledb)

    def read() -> None:
        with place.opened() as release:
            _check_release(release, record, obs)
            counts = _Counts(release, genes)
            with StoreWriter(begun, genes, uns={"matrix": "counts"}, source=origin, shard_cells=shard_cells) as writer:
                tell = _Progress(writer.done, len(obs), report)
                for part in _blocks(writer.done, len(obs), block):
                    writer.append(counts.of(obs[ID].to_numpy()[part]), _annotations(obs.iloc[part]))
                    tell.at(part.stop)
                manifest = writer.finish()
        if manifest.cells != len(obs):
            raise DataError(f"{folder}: {manifest.cells} cells were written, expected {len(obs)}; run it again")

    # a lost connection costs the cells since the last whole shard
    with_patience(read, uri=uri, report=report)
    rmtree(folder, ignore_errors=True)
    begun.rename(folder)


def chunk_bounds(cells: int, chunks: int) -> list[tuple[int, int]]:
    """First and last (excluded) cell of every chunk: as equal as whole numbers allow."""
    ends = [cells * i // chunks for i in range(chunks + 1)]
    return list(pairwise(ends))


def _blocks(start: int, stop: int, size: int) -> Iterator[slice]:
    for first in range(start, stop, size):
        yield slice(first, min(first + size, stop))


def _part(path: Path, start: int, stop: int) -> "pd.DataFrame":
    """Some consecutive cells of the selection."""
    import pandas as pd
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        rows = np.zeros(file.metadata.num_rows, dtype=bool)
    rows[start:stop] = True
    return pd.DataFrame(read_columns(path, rows=rows))


def _annotations(obs: "pd.DataFrame") -> "pd.DataFrame":
    """The annotations that the store keeps; the number of a cell in the release is its id."""
    kept = obs.drop(columns=ID)
    kept.index = obs[ID].astype(str).rename("cell_id")
    return kept


def _genes(path: Path) -> "pd.DataFrame":
    import pandas as pd

    genes = pd.DataFrame(read_columns(path))
    genes.index = pd.Index(genes["feature_id"].to_numpy())
    return genes


def _check_release(release: Release, record: _Record, obs: "pd.DataFrame") -> None:
    """Raise DataError where the release does not have the selected cells any more."""
    wanted = obs[ID].to_numpy()
    tables = list(batches(release.obs, [ID, "dataset_id"], coords=wanted))
    there = np.concatenate([table[ID].to_numpy() for table in tables])
    datasets = np.concatenate([np.asarray(table["dataset_id"].to_pylist(), dtype=object) for table in tables])
    order = np.argsort(there)
    same = len(there) == len(wanted) and (there[order] == wanted).all()
    if not same:
        raise DataError(
            f"{release.where}: has {len(there)} of the {len(wanted)} cells that were selected; the release changed, "
            "select again: --forcerun select_census_cells"
        )
    if moved := int((datasets[order] != obs["dataset_id"].to_numpy()).sum()):
        raise DataError(
            f"{release.where}: {moved} of {len(wanted)} cells belong to another dataset than when they were selected "
            f"from {record['uri']}; numbers of cells differ between releases. Select again: --forcerun "
            "select_census_cells"
        )


class _Counts:
    """Reads counts of cells over the genes of the selection."""

    def __init__(self, release: Release, genes: "pd.DataFrame") -> None:
        self._array, self._genes = release.counts, len(genes)
        number = genes[ID].to_numpy()
        there = number != NOT_THERE
        # not the shape of the array, which leaves room to grow: 2 billion genes in old releases
        size = max(int(table[ID].to_numpy().max()) for table in batches(release.var, [ID])) + 1
        self._place = np.full(size, -1, dtype=np.int64)
        self._place[number[there]] = np.flatnonzero(there)
        self._asked: NDArray[np.int64] | slice = (
            np.sort(number[there]) if there.sum() < _FEW_GENES * size else slice(None)
        )

    def of(self, cells: "NDArray[np.int64]") -> "csr_matrix":
        """CSR of cells by genes; `cells` are numbers of the release, ascending."""
        from scipy.sparse import csr_matrix

        parts = []
        for table in self._array.read((cells, self._asked)).tables():
            gene = self._place[table["soma_dim_1"].to_numpy()]
            kept = gene >= 0
            row = np.searchsorted(cells, table["soma_dim_0"].to_numpy()[kept])
            parts.append((table["soma_data"].to_numpy()[kept], row.astype(np.int32), gene[kept].astype(np.int32)))
        if not parts:
            return csr_matrix((len(cells), self._genes), dtype=np.float32)
        values, row, gene = (np.concatenate(part) for part in zip(*parts, strict=True))
        return csr_matrix((values, (row, gene)), shape=(len(cells), self._genes))


class _Progress:
    """Reports every half minute how far a chunk is, how fast, and how long it will still take."""

    def __init__(self, done: int, cells: int, report: Report) -> None:
        self._first, self._cells, self._report = done, cells, report
        self._begin = self._said = time.monotonic()
        if done:
            report(f"resuming after {done:,} of {cells:,} cells, which an interrupted run has written")

    def at(self, done: int) -> None:
        """So many cells are written."""
        now = time.monotonic()
        if now - self._said > _SAY_EVERY or done == self._cells:
            self._said = now
            rate = (done - self._first) / max(now - self._begin, 1e-6)
            left = (self._cells - done) / rate / 60
            self._report(f"{done:,} of {self._cells:,} cells, {rate:,.0f} a second, about {left:.0f} minutes left")
