"""Writing a store shard by shard, so that an interrupted run can resume."""

import hashlib
import os
import platform
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, BinaryIO, TypeAlias

import numpy as np

from annobench.cells.store import codec
from annobench.cells.store.checks import checked_counts
from annobench.cells.store.ids import hashed, repeated
from annobench.cells.store.lock import locked
from annobench.cells.store.manifest import GENES, MANIFEST, PARTS, SOURCE, Facts, File, Manifest, Shard, whole_shards
from annobench.core.errors import DataError
from annobench.core.files import atomic, disk_full, is_disk_full, read_json, write_json

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa
    from numpy.typing import NDArray
    from scipy.sparse import csr_matrix

    Counts: TypeAlias = csr_matrix | NDArray[np.number]

SHARD_CELLS = 65_536
_PIECE = 8_192  # cells that are encoded at a time


class StoreWriter:
    """Writes a new store, or appends to one.

    Use it as a context manager: skip the first `done` cells of the source, append the others, and call `finish`.

    Parameters
    ----------
    folder
        Of the store.
    genes
        Table with feature_id and feature_name, in the order of the columns of the counts.
    uns
        Kept as it is.
    source
        What the store is written from. An interrupted writer resumes only if it is the same; otherwise it starts again.
    shard_cells
        Cells of a shard.
    threads
        For encoding.

    Attributes
    ----------
    done
        How many cells of the source are written already.

    Raises
    ------
    DataError
        Where another writer is at work, for genes that are not those of the store, for a full disk, and for values
        that are not counts.
    """

    def __init__(
        self,
        folder: Path,
        genes: "pd.DataFrame",
        *,
        uns: Facts | None = None,
        source: Facts | None = None,
        shard_cells: int = SHARD_CELLS,
        threads: int = 1,
    ) -> None:
        self.folder, self.threads, self._shard_cells = Path(folder), threads, shard_cells
        self._lock = locked(self.folder)
        try:
            self._manifest = self._begun(genes, dict(uns or {}), dict(source or {}))
        except BaseException:
            os.close(self._lock)
            raise
        self.done = self._manifest.sources[-1]["cells"] if self._again else sum(shard.cells for shard in self._new)
        self._open: _OpenShard | None = None

    def _begun(self, genes: "pd.DataFrame", uns: dict[str, object], source: dict[str, object]) -> Manifest:
        """The manifest to resume from.

        Sets `_new`, the shards of this source that are written already, and `_again`, whether all of it is in the
        manifest.
        """
        import pandas as pd

        if missing := {"feature_id", "feature_name"} - set(genes.columns):
            raise DataError(f"{self.folder}: the table of the genes has no column {sorted(missing)[0]}")
        path = self.folder / GENES
        finished = (self.folder / MANIFEST).is_file()
        settings = {"source": source, "shard_cells": self._shard_cells, "genes": _fingerprint(genes)}
        begun = read_json(self.folder / SOURCE) if (self.folder / SOURCE).is_file() else {}
        same = {key: begun.get(key) for key in settings} == settings
        if finished:
            manifest = Manifest.read(self.folder)
            if _fingerprint(pd.read_parquet(path)) != settings["genes"]:
                raise DataError(
                    f"{self.folder}: has {manifest.genes} genes, what is appended has {len(genes)}, or others, or in "
                    "another order; write it with the genes of the store"
                )
        else:
            with atomic(path) as temporary:
                genes.to_parquet(temporary)
            manifest = Manifest(len(genes), File.of(path), [], uns)
        self._settings = settings
        self._again = manifest.ends_with(source)  # such as after a kill that came once the manifest was written
        self._new = whole_shards(self.folder, len(manifest.shards)) if same else []
        self._clear(len(manifest.shards) + len(self._new))
        writer = f"process {os.getpid()} on {platform.node()}"
        write_json(self.folder / SOURCE, {**settings, "writer": writer})
        return manifest

    def _clear(self, first: int) -> None:
        """Remove what an interrupted writer left of shards from number `first` on."""
        for path in self.folder.iterdir():
            stem = path.name.lstrip(".").split(".")[0]
            if stem.isdigit() and int(stem) >= first:
                path.unlink()

    def append(self, counts: "Counts", obs: "pd.DataFrame") -> None:
        """Add cells.

        Parameters
        ----------
        counts
            (n, genes), sparse or dense, of any numeric type.
        obs
            Annotations (n, ...), indexed by cell id.
        """
        if counts.shape != (len(obs), self._manifest.genes):
            raise DataError(
                f"{self.folder}: a chunk has shape {counts.shape}, expected ({len(obs)}, {self._manifest.genes})"
            )
        for start in range(0, len(obs), _PIECE):
            self._append(counts[start : start + _PIECE], obs.iloc[start : start + _PIECE])

    def _append(self, counts: "Counts", obs: "pd.DataFrame") -> None:
        matrix = checked_counts(counts, str(self.folder), self.done)
        start = 0
        while start < len(obs):
            if self._open is None:
                number = len(self._manifest.shards) + len(self._new)
                self._open = _OpenShard(self.folder, f"{number:05d}")
            stop = min(len(obs), start + self._shard_cells - self._open.cells)
            self._open.add(matrix[start:stop], obs.iloc[start:stop], self.threads)
            if self._open.cells == self._shard_cells:
                self._close_shard()
            start = stop

    def _close_shard(self) -> None:
        if self._open is not None:
            shards = self._manifest.shards + self._new
            self._new.append(self._open.close(shards[0].path(self.folder, "obs") if shards else None))
            self.done += self._new[-1].cells
            self._open = None

    def finish(self) -> Manifest:
        """Write the last shard and the manifest; raises DataError for duplicate cell ids, and where no cells came."""
        self._close_shard()
        if self._new or not self._again:
            self._manifest.shards += self._new
            cells = sum(shard.cells for shard in self._new)
            self._manifest.sources.append({"source": self._settings["source"], "cells": cells})
            self._new = []
            if not cells:
                raise DataError(f"{self.folder}: no cells were written; the source is empty")
            _check_unique(self.folder, self._manifest)
            self._manifest.write(self.folder)
        (self.folder / SOURCE).unlink(missing_ok=True)
        return self._manifest

    def __enter__(self) -> "StoreWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._open is not None:
            self._open.discard()
        os.close(self._lock)
        if error is not None and not isinstance(error, DataError) and is_disk_full(error):
            raise disk_full(self.folder / MANIFEST) from error


class _OpenShard:
    """The shard that is being written; its files get their final names when they are whole."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder, self.name = folder, name
        self.cells = self.nnz = self.max_count = self.width = self._bytes = 0
        self._hash = hashlib.sha256()
        self._path = folder / f".{name}.records.tmp"
        self._handle: BinaryIO = open(self._path, "wb")  # noqa: SIM115 - closed by close or discard
        self._index: list[NDArray[np.void]] = []
        self._obs: list[pd.DataFrame] = []

    def add(self, matrix: "csr_matrix", obs: "pd.DataFrame", threads: int) -> None:
        """Encode and write some cells."""
        records, index = codec.encode(matrix.indptr, matrix.indices, matrix.data, threads)
        self._handle.write(records.data)
        self._hash.update(records.data)
        index["offset"] += np.uint64(self._bytes)
        self._index.append(index[:-1])
        self._bytes += len(records)
        self._obs.append(obs)
        self.cells += len(obs)
        self.nnz += int(matrix.nnz)
        self.max_count = max(self.max_count, int(matrix.data.max(initial=0)))
        self.width = max(self.width, int(np.diff(matrix.indptr).max(initial=0)))

    def close(self, like: Path | None) -> Shard:
        """Write the other files, then the entry, and return it; `like` is an obs whose columns these must have."""
        import pandas as pd

        obs = pd.concat(self._obs)
        obs.insert(0, "cell_id", obs.index.astype(str), allow_duplicates=True)
        if like is not None or list(obs.columns).count("cell_id") > 1:
            _check_columns(obs, like, self.folder)
        self._handle.flush()
        os.fsync(self._handle.fileno())
        self._handle.close()
        end = np.array([(self._bytes, 0, 0)], dtype=codec.INDEX)
        shard = Shard(self.name, self.cells, self.nnz, self.max_count, self.width, {})
        os.replace(self._path, shard.path(self.folder, "records"))
        with atomic(shard.path(self.folder, "index")) as temporary, open(temporary, "wb") as handle:
            np.save(handle, np.concatenate([*self._index, end]))
        with atomic(shard.path(self.folder, "obs")) as temporary:
            obs.to_parquet(temporary, index=False, compression="zstd")
        shard.files = {part: File.of(shard.path(self.folder, part)) for part in PARTS if part != "records"}
        shard.files["records"] = File(self._bytes, self._hash.hexdigest())
        write_json(self.folder / f"{self.name}.json", asdict(shard))
        return shard

    def discard(self) -> None:
        """Remove what was written."""
        with suppress(OSError):
            self._handle.close()
        self._path.unlink(missing_ok=True)


def _check_columns(obs: "pd.DataFrame", like: Path | None, folder: Path) -> None:
    """Raise DataError where annotations do not have the columns of the first shard."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    if list(obs.columns).count("cell_id") > 1:
        raise DataError(f"{folder}: obs has a column cell_id; the ids are the index of obs, rename the column")
    if like is None:
        return

    def kinds(schema: "pa.Schema") -> dict[str, str]:
        """Name and kind of every column; text by dictionary is text."""
        types = {f.name: f.type.value_type if pa.types.is_dictionary(f.type) else f.type for f in schema}
        return {
            name: "text" if pa.types.is_string(t) or pa.types.is_large_string(t) else str(t)
            for name, t in types.items()
            if not pa.types.is_null(t)
        }

    stored, appended = pq.read_schema(like), pa.Schema.from_pandas(obs, preserve_index=False)
    if odd := sorted(set(stored.names) ^ set(appended.names)):
        whose = "the store" if odd[0] in stored.names else "what is appended"
        raise DataError(
            f"{folder}: only {whose} has the column '{odd[0]}' of obs ({len(odd)} such columns); all studies of a "
            "store have the same columns: add it, empty where nothing is known, or leave it out"
        )
    first, here = kinds(stored), kinds(appended)
    for name in sorted(first.keys() & here.keys()):
        if first[name] != here[name]:
            raise DataError(f"{folder}: column '{name}' of obs holds {here[name]} here and {first[name]} in the store")


def _fingerprint(genes: "pd.DataFrame") -> str:
    """A hash of the genes and their order."""
    rows = zip(genes["feature_id"].astype(str), genes["feature_name"].astype(str), strict=True)
    return hashlib.sha256("\n".join(f"{a}\t{b}" for a, b in rows).encode()).hexdigest()


def _check_unique(folder: Path, manifest: Manifest) -> None:
    """Raise DataError for duplicate cell ids."""
    import pandas as pd

    def blocks() -> "Iterator[NDArray[np.object_]]":
        for shard in manifest.shards:
            yield pd.read_parquet(shard.path(folder, "obs"), columns=["cell_id"])["cell_id"].to_numpy(dtype=object)

    twice = repeated(blocks, manifest.cells)
    if not len(twice):
        return
    number = Counter(name for ids in blocks() for name in ids[np.isin(hashed(ids), twice)])
    again = sorted(name for name, n in number.items() if n > 1)  # other ids may share a hash
    if again:
        raise DataError(
            f"{folder}: {len(again)} duplicate cell ids (such as {again[0]}); cells are matched by id, prefix "
            "them with their dataset"
        )
