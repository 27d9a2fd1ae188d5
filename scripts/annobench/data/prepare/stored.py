"""From a source file of any size to the cells contract: counts in a store, a block of cells at a time.

obs.parquet is written first, in a pass over the observations alone; then the counts, shard by shard. A run that was
interrupted resumes after the last whole shard.
"""

import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from shutil import rmtree
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from annobench.cells.gene_table import ChosenGenes, chosen_genes
from annobench.cells.matrix import Rounded, check_counts, check_finite
from annobench.cells.not_h5ad import not_h5ad
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
from annobench.core.progress import Report
from annobench.data.prepare.card import write_card
from annobench.data.prepare.notes import no_values, source_notes
from annobench.data.prepare.observations import CellIds, Observations
from annobench.data.prepare.storage import opened
from annobench.data.prepare.task import PreparedFiles, Task
from annobench.ontology import Ontology

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray
    from scipy.sparse import csr_matrix

T = TypeVar("T")

_SAY_EVERY = 30.0  # seconds
Source = H5adFile | StoreFile
Block = tuple["csr_matrix", "pd.DataFrame"]  # counts and annotations of consecutive cells


def prepare_stored(task: Task) -> None:
    """Do what `prepare_dataset` promises, for counts that need not fit into memory."""
    spec, outputs = task.spec, task.outputs
    with ExitStack() as files:
        file = opened(task.source, spec.matrix.slot)
        files.callback(file.close)
        genes = chosen_genes(file.var, spec.genes, lambda: _totals(file), task.file)
        observations = task.observations(file.columns)
        with atomic(outputs.obs) as path:
            _write_obs(path, file, observations, spec.cells.duplicated_ids)
            mapping = observations.finish()
            for text in observations.remarks(mapping):
                task.report(text)
        whole = len(genes.positions) == file.genes
        spatial, unread = task.coordinates(file)
        values = Values(task, file, genes)

        def blocks(start: int) -> Iterator[Block]:
            with ObsTable(outputs.obs) as obs:
                for matrix in values.checked(start):
                    stop = start + matrix.shape[0]
                    table = obs.rows(start, stop)
                    if spatial is not None:
                        for i in range(spatial.shape[1]):
                            table[f"{SPATIAL}{i}"] = np.asarray(spatial[start:stop, i], dtype=np.float64)
                    yield matrix, table
                    start = stop

        origin = _origin(task)
        if isinstance(file, StoreFile) and whole:
            with ObsTable(outputs.obs) as obs:
                link_store(outputs, [task.source], genes.table, obs.rows, origin=origin, uns=task.facts("counts"))
        else:
            cells = Cells(blocks, file.n, genes.table)
            write_store(outputs, cells, origin=origin, uns=task.facts("counts"), report=task.report)
        if not any(shard.nnz for shard in Manifest.read(outputs.store).shards):
            rmtree(outputs.store)
            raise no_values(file, spec.matrix.slot)
    notes = source_notes(task, genes, mapping, observations.organisms) | unread | observations.notes()
    if values.rounded:
        task.report(str(values.rounded))
        notes["converted"] = values.rounded.notes()
    finish_stored(task.name, outputs, task.ontology, genes=genes.table, counts=observations.counts, notes=notes)


def _origin(task: Task) -> dict[str, object]:
    """What the store is written from: a writer that was interrupted resumes only if all of it is the same."""
    settings = json.dumps(task.spec.to_params(), sort_keys=True).encode()
    return {
        "source": task.fetched["sha256"],
        "dataset": sha256(settings).hexdigest(),
        "labels": sha256_of(task.label_table) if task.label_table else None,
        "ontology": task.ontology.release,
        "code": code_hash("annobench.data.prepare.stored"),
    }


# the source


def _read(file: Source, parts: Iterable[T]) -> Iterator[T]:
    """The same parts; whatever goes wrong while they are read is raised as an error of the file."""
    parts = iter(parts)
    while True:
        try:
            part = next(parts)
        except StopIteration:
            return
        except (AnnobenchError, MemoryError):
            raise
        except Exception as error:
            raise not_h5ad(file.path, error) from error
        yield part


class Values:
    """Counts of the genes that are kept, checked; and what rounding did to them.

    A run that resumes counts again what it had rounded before it was interrupted.
    """

    def __init__(self, task: Task, file: Source, genes: ChosenGenes) -> None:
        self._file, self._genes, self._matrix = file, genes, task.spec.matrix
        self._among = genes.among_features()
        self.rounded = Rounded() if self._matrix.state == "fractional_counts" else None

    def checked(self, start: int) -> "Iterator[csr_matrix]":
        """From cell `start` on, as CSR in the type of the file."""
        first = 0 if self.rounded else start
        name, genes = self._file.path.name, self._genes
        for read, _ in _read(self._file, self._file.chunks(first, columns=[])):
            matrix = canonical(read, name)
            if len(genes.features) < self._file.genes:
                matrix = matrix[:, genes.features]
            check_finite(matrix, name, first)
            if self.rounded:
                matrix = self.rounded.round(matrix, name)
            else:
                matrix = check_counts(matrix, self._matrix.tolerance, name, first)
            end = first + matrix.shape[0]
            if end > start:
                kept = matrix[max(start - first, 0) :]
                yield kept if len(self._among) == len(genes.features) else kept[:, self._among]
            first = end


def _totals(file: Source) -> "NDArray[np.float64]":
    """Sum of every column of the matrix, in a pass of its own."""
    totals = np.zeros(file.genes)
    for matrix, _ in _read(file, file.chunks(columns=[])):
        totals += np.bincount(matrix.indices, matrix.data, file.genes)
    return totals


def _write_obs(path: Path, file: Source, observations: Observations, duplicated_ids: str) -> None:
    """Write obs.parquet block by block."""
    starts = range(0, file.n, ROW_GROUP)

    def read(columns: list[str]) -> Iterator["pd.DataFrame"]:
        return _read(file, (file.obs(start, min(start + ROW_GROUP, file.n), columns) for start in starts))

    ids = CellIds(lambda: (block.index for block in read([])), file.n, duplicated_ids, file.path.name)
    with ColumnWriter(path) as writer:
        for block in read(observations.needed):
            writer.write({"cell_id": ids.block(block.index), **observations.block(block)})
    ids.finish()


# the store


class ObsTable:
    """obs.parquet as tables of consecutive cells; read in order, every part of the file is read once."""

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

        tables: list[pd.DataFrame] = []
        while start < stop:
            group = int(np.searchsorted(self._ends, start, side="right"))
            if group != self._group:
                self._group, self._table = group, self._file.read_row_group(group).to_pandas()
            first = int(self._ends[group]) - len(self._table)
            end = min(stop, int(self._ends[group]))
            tables.append(self._table.iloc[start - first : end - first])
            start = end
        return pd.concat(tables).set_index("cell_id")


@dataclass(frozen=True)
class Cells:
    """Cells to be written: `blocks` gives, from a cell on, counts over `genes` and annotations; `n` are all of them."""

    blocks: Callable[[int], Iterator[Block]]
    n: int
    genes: "pd.DataFrame"


def write_store(
    outputs: PreparedFiles, cells: Cells, *, origin: Mapping[str, object], uns: Mapping[str, object], report: Report
) -> None:
    """Write the store beside cells.h5ad, resuming where an interrupted run with the same `origin` stopped."""
    begun = outputs.begun
    if (begun / MANIFEST).is_file() and not Manifest.read(begun).ends_with(dict(origin)):
        rmtree(begun)  # of another source, which was killed before the last line of this function
    with StoreWriter(begun, cells.genes, uns=uns, source=origin) as writer:
        done = stop = writer.done
        begin = said = time.monotonic()
        if done:
            report(f"resuming after {done:,} of {cells.n:,} cells, which an interrupted run has written")
        for matrix, obs in cells.blocks(done):
            writer.append(matrix, obs)
            stop += len(obs)
            if time.monotonic() - said > _SAY_EVERY:
                said = time.monotonic()
                left = (cells.n - stop) * (said - begin) / (stop - done) / 60
                report(f"{stop:,} of {cells.n:,} cells written, about {left:.0f} minutes left")
        writer.finish()
    rmtree(outputs.store, ignore_errors=True)
    begun.rename(outputs.store)


def link_store(
    outputs: PreparedFiles,
    parts: Sequence[Path],
    genes: "pd.DataFrame",
    annotations: "Callable[[int, int], pd.DataFrame]",
    *,
    origin: Mapping[str, object],
    uns: Mapping[str, object],
) -> None:
    """Make the store beside cells.h5ad of stores whose counts stay as they are: only annotations are written."""
    link_stores(parts, outputs.begun, uns=uns, source=origin, genes=genes, annotations=annotations)
    rmtree(outputs.store, ignore_errors=True)
    outputs.begun.rename(outputs.store)


def finish_stored(
    name: str,
    outputs: PreparedFiles,
    ontology: Ontology,
    *,
    genes: "pd.DataFrame",
    counts: Mapping[str, Mapping[str, int]],
    notes: Mapping[str, object],
) -> None:
    """Write cells.h5ad, which names the store and holds no cells, and the card."""
    import pandas as pd
    from anndata import AnnData

    from annobench.cells.store.store import Store

    store = Store.open(outputs.store)
    manifest = store.manifest
    cells = AnnData(obs=pd.DataFrame(index=pd.Index([], name="cell_id", dtype=object)), var=genes)
    cells.uns["annobench"] = {**manifest.uns, STORE: outputs.store.name, DIGEST: manifest.digest}
    with atomic(outputs.cells) as path:
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
    write_card(name, outputs, ontology, genes=genes, counts=counts, facts=facts)
