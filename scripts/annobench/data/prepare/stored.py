"""From a source file of any size to the cells contract: counts in a store, a block of cells at a time.

obs.parquet is written first, in a pass over the observations alone; then the counts, shard by shard. A run that was
interrupted goes on after the last whole shard.
"""

import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from hashlib import sha256
from pathlib import Path
from shutil import rmtree
from typing import TYPE_CHECKING, Any

import numpy as np

from annobench.cells.gene_table import gene_index, gene_keys, gene_table, keep_one_each, required_genes
from annobench.cells.matrix import check_counts, check_finite
from annobench.cells.store.checks import canonical
from annobench.cells.store.h5ad import H5adFile
from annobench.cells.store.link import link_stores
from annobench.cells.store.manifest import MANIFEST, Manifest
from annobench.cells.store.source import StoreFile
from annobench.cells.store.writer import StoreWriter
from annobench.cells.stored_cells import DIGEST, SPATIAL, STORE
from annobench.core.codehash import code_hash
from annobench.core.errors import AnnobenchError
from annobench.core.files import atomic, sha256_of
from annobench.core.parquet import ROW_GROUP, ColumnWriter
from annobench.data.prepare.card import source_notes, write_card
from annobench.data.prepare.observations import CellIds, Observations
from annobench.data.prepare.storage import opened, store_of, unreadable
from annobench.ontology import Ontology

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

_SAY_EVERY = 30.0  # seconds
Report = Callable[[str], None]


def prepare_stored(
    name: str,
    dataset: Mapping[str, Any],
    source: Path,
    fetched: Mapping[str, Any],
    ontology: Ontology,
    label_table: Path | None,
    outputs: Mapping[str, Path],
    report: Report = lambda text: None,
) -> None:
    """What `prepare_dataset` does, for counts that need not fit into memory."""
    with ExitStack() as files:
        file = opened(source, dataset["matrix"]["slot"])
        files.callback(file.close)
        genes, columns, notes = _genes(file, dataset["genes"], fetched)
        found = Observations(name, dataset["cells"], file.columns, ontology, label_table, source.name)
        with atomic(outputs["obs"]) as path:
            _write_obs(path, file, found, dataset["cells"]["duplicated_ids"])
            mapping = found.finish()
        origin = {
            "source": fetched["sha256"],
            "dataset": sha256(json.dumps(dataset, sort_keys=True).encode()).hexdigest(),
            "labels": sha256_of(label_table) if label_table else None,
            "ontology": ontology.release,
            "code": code_hash("annobench.data.prepare.stored"),
        }
        spatial = _coordinates(source, files)
        tolerance = dataset["matrix"]["tolerance"]

        def blocks(start: int) -> Iterator[tuple[Any, "pd.DataFrame"]]:
            with ObsTable(outputs["obs"]) as obs:
                for matrix in _checked(file, start, tolerance):
                    stop = start + matrix.shape[0]
                    table = obs.rows(start, stop)
                    for i in range(0 if spatial is None else spatial.shape[1]):
                        table[f"{SPATIAL}{i}"] = np.asarray(spatial[start:stop, i], dtype=np.float64)
                    yield matrix if columns is None else matrix[:, columns], table
                    start = stop

        if isinstance(file, StoreFile) and columns is None:
            with ObsTable(outputs["obs"]) as obs:
                link_store(outputs["cells"], [source], genes, obs.rows, origin, ontology)
        else:
            write_store(outputs["cells"], genes, blocks, file.n, origin, ontology, report)
    notes |= {"labels_unmapped": mapping.unmapped, "labels_replaced": mapping.replaced}
    finish_stored(name, outputs, ontology, genes, found.counts, notes)


# the source


def _read(file: H5adFile | StoreFile, parts: Iterable[Any]) -> Iterator[Any]:
    """The same parts; whatever goes wrong while they are read is an error of the file."""
    parts = iter(parts)
    while True:
        try:
            part = next(parts)
        except StopIteration:
            return
        except (AnnobenchError, MemoryError):
            raise
        except Exception as error:
            raise unreadable(file.path, error) from error
        yield part


def _checked(file: H5adFile | StoreFile, start: int, tolerance: float) -> Iterator[Any]:
    """Counts from cell `start` on as CSR in the type of the file, checked."""
    for matrix, _ in _read(file, file.chunks(start, columns=[])):
        matrix = canonical(matrix, file.path.name)
        check_finite(matrix, file.path.name, start)
        yield check_counts(matrix, tolerance, file.path.name, start)
        start += matrix.shape[0]


def _genes(
    file: H5adFile | StoreFile, settings: Mapping[str, Any], fetched: Mapping[str, Any]
) -> "tuple[pd.DataFrame, NDArray[np.intp] | None, dict[str, Any]]":
    """The genes that are kept, their columns in the file (None where they are all), and what the card says of it."""
    name = file.path.name
    genes = gene_table(file.var, dict(settings), name)
    required = np.flatnonzero(required_genes(file.var, settings["require"], name))
    genes = genes.iloc[required].reset_index(drop=True)
    keep, duplicates = np.arange(len(genes)), 0
    if gene_keys(genes).duplicated().any():  # which of them have most counts takes a pass of its own
        totals = np.zeros(file.genes)
        for matrix, _ in _read(file, file.chunks(columns=[])):
            totals += np.bincount(matrix.indices, matrix.data, file.genes)
        keep, duplicates = keep_one_each(genes, totals[required])
    genes = genes.iloc[keep].reset_index(drop=True)
    genes.index = gene_index(genes)
    columns = required[keep]
    notes = source_notes(fetched, file.genes - len(required), duplicates)
    return genes, None if len(columns) == file.genes else columns, notes


def _write_obs(path: Path, file: H5adFile | StoreFile, found: Observations, duplicated_ids: str) -> None:
    """Write obs.parquet block by block."""
    starts = range(0, file.n, ROW_GROUP)

    def read(columns: list[str]) -> Iterator["pd.DataFrame"]:
        return _read(file, (file.obs(start, min(start + ROW_GROUP, file.n), columns) for start in starts))

    ids = CellIds(lambda: (block.index for block in read([])), file.n, duplicated_ids, file.path.name)
    with ColumnWriter(path) as writer:
        for block in read(found.needed):
            writer.write({"cell_id": ids.block(block.index), **found.block(block)})
    ids.finish()


def _coordinates(source: Path, files: ExitStack) -> Any:
    """Where the cells lie, an array (cells, dimensions) that is read in parts; None where the source does not say."""
    import h5py
    from anndata.io import read_elem

    if source.is_dir():
        return None
    element = files.enter_context(h5py.File(source, "r")).get("obsm/spatial")
    return element if element is None or isinstance(element, h5py.Dataset) else np.asarray(read_elem(element))


# the store


class ObsTable:
    """obs.parquet as tables of consecutive cells; whoever reads on in order reads every part of the file once."""

    def __init__(self, path: Path) -> None:
        import pandas as pd
        import pyarrow.parquet as pq

        names = [name for name in pq.read_schema(path).names if name != "cell_id"]
        self._file = pq.ParquetFile(path, read_dictionary=names)
        sizes = [self._file.metadata.row_group(i).num_rows for i in range(self._file.metadata.num_row_groups)]
        self._ends = np.cumsum(sizes)
        self._group, self._table = -1, pd.DataFrame()

    def __enter__(self) -> "ObsTable":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def rows(self, start: int, stop: int) -> "pd.DataFrame":
        """Some cells, indexed by id."""
        import pandas as pd

        found: list[pd.DataFrame] = []
        while start < stop:
            group = int(np.searchsorted(self._ends, start, side="right"))
            if group != self._group:
                self._group, self._table = group, self._file.read_row_group(group).to_pandas()
            first = int(self._ends[group]) - len(self._table)
            end = min(stop, int(self._ends[group]))
            found.append(self._table.iloc[start - first : end - first])
            start = end
        return pd.concat(found).set_index("cell_id")


def write_store(
    cells: Path,
    genes: "pd.DataFrame",
    blocks: Callable[[int], Iterator[tuple[Any, "pd.DataFrame"]]],
    n: int,
    origin: Mapping[str, Any],
    ontology: Ontology,
    report: Report,
) -> Manifest:
    """Write the store beside `cells`, going on where an interrupted run with the same `origin` stopped.

    `blocks` gives, from a cell on, counts over `genes` and the annotations of consecutive cells; `n` are all of them.
    """
    finished, begun = store_of(cells)
    if (begun / MANIFEST).is_file() and not Manifest.read(begun).ends_with(dict(origin)):
        rmtree(begun)  # of another source, which was killed before the last line of this function
    uns = {"matrix": "counts", "ontology": ontology.release}
    with StoreWriter(begun, genes, uns=uns, source=origin) as writer:
        done = stop = writer.done
        begin = said = time.monotonic()
        if done:
            report(f"going on after {done:,} of {n:,} cells, which an interrupted run has written")
        for matrix, obs in blocks(done):
            writer.append(matrix, obs)
            stop += len(obs)
            if time.monotonic() - said > _SAY_EVERY:
                said = time.monotonic()
                left = (n - stop) * (said - begin) / (stop - done) / 60
                report(f"{stop:,} of {n:,} cells written, about {left:.0f} minutes left")
        manifest = writer.finish()
    rmtree(finished, ignore_errors=True)
    begun.rename(finished)
    return manifest


def link_store(
    cells: Path,
    parts: Sequence[Path],
    genes: "pd.DataFrame",
    annotations: "Callable[[int, int], pd.DataFrame]",
    origin: Mapping[str, Any],
    ontology: Ontology,
) -> None:
    """The store beside `cells` of stores whose counts stay as they are: nothing but annotations is written."""
    finished, begun = store_of(cells)
    uns = {"matrix": "counts", "ontology": ontology.release}
    link_stores(parts, begun, uns=uns, source=origin, genes=genes, annotations=annotations)
    rmtree(finished, ignore_errors=True)
    begun.rename(finished)


def finish_stored(
    name: str,
    outputs: Mapping[str, Path],
    ontology: Ontology,
    genes: "pd.DataFrame",
    counts: Mapping[str, Mapping[Any, int]],
    notes: Mapping[str, Any],
) -> None:
    """Write cells.h5ad, which names the store and holds no cells, and the card."""
    import pandas as pd
    from anndata import AnnData

    from annobench.cells.store.store import Store

    folder, _ = store_of(outputs["cells"])
    store = Store.open(folder)
    manifest = store.manifest
    cells = AnnData(obs=pd.DataFrame(index=pd.Index([], name="cell_id", dtype=object)), var=genes)
    cells.uns["annobench"] = {**manifest.uns, STORE: folder.name, DIGEST: manifest.digest}
    with atomic(outputs["cells"]) as path:
        cells.write_h5ad(path)
    empty = sum(int((store.index(i)["nnz"][:-1] == 0).sum()) for i in range(len(manifest.shards)))
    size = sum(file.bytes for shard in manifest.shards for file in shard.files.values())
    facts = {
        "matrix": "counts",
        "storage": "store",
        "store": {
            "digest": manifest.digest,
            "shards": len(manifest.shards),
            "values": sum(shard.nnz for shard in manifest.shards),
            "bytes": size + manifest.genes_file.bytes,
        },
        "cells": manifest.cells,
        "cells_without_counts": empty,
        **notes,
    }
    write_card(name, outputs, ontology, facts, genes, counts)
