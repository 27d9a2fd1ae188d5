"""The files of a store.

    manifest.json            format, genes, shards with the size and sha256 of every file; written last
    genes.parquet            one row for every gene: feature_id, feature_name and whatever else var had
    00000.records            the records of a shard, see `codec`
    00000.index.npy          offset, nnz and number of wide counts of every record, and the end
    00000.obs.parquet        one row for every cell: cell_id and the columns of obs
    00000.json               the shard's entry of the manifest; written last of the four
    source.json              only while a store is written: who writes, and from what
    writer.lock              empty; locked by whoever writes

A folder without a manifest is unfinished: a writer that is started again resumes after its last whole shard. An
appended study becomes visible when the new manifest replaces the old one.
"""

import hashlib
import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from annobench.core.errors import DataError
from annobench.core.files import read_json, sha256_of, write_json

Facts: TypeAlias = Mapping[str, object]  # what can be written as JSON
FORMAT, VERSION = "annobench.store", 1
MANIFEST, GENES, SOURCE, LOCK = "manifest.json", "genes.parquet", "source.json", "writer.lock"
_READERS = 4  # files that are hashed at a time
PARTS = {"records": "records", "index": "index.npy", "obs": "obs.parquet"}


@dataclass
class File:
    """Size and sha256 of a file."""

    bytes: int
    sha256: str

    @classmethod
    def of(cls, path: Path) -> "File":
        """Of an existing file."""
        return cls(path.stat().st_size, sha256_of(path))


@dataclass
class Shard:
    """Some consecutive cells: their number, non-zeros, largest count, longest row (`width`), and files by part."""

    name: str
    cells: int
    nnz: int
    max_count: int
    width: int
    files: dict[str, File]

    def path(self, folder: Path, part: str) -> Path:
        """One of its files."""
        return folder / f"{self.name}.{PARTS[part]}"

    @classmethod
    def read(cls, entry: Mapping[str, Any]) -> "Shard":
        """From an entry of the manifest."""
        files = {part: File(**entry["files"][part]) for part in PARTS}
        return cls(**{**entry, "files": files})


@dataclass
class Manifest:
    """Everything that a reader needs to know before it opens a file.

    Attributes
    ----------
    genes, genes_file
        Number of genes, and the file that lists them.
    shards
        The shards, in the order of the cells.
    uns
        What the cells contract keeps in uns.
    sources
        What the store was written from, one source after the other, and how many cells each gave.
    """

    genes: int
    genes_file: File
    shards: list[Shard] = field(default_factory=list)
    uns: dict[str, object] = field(default_factory=dict)
    sources: list[dict[str, Any]] = field(default_factory=list)

    @property
    def cells(self) -> int:
        """Number of cells."""
        return sum(shard.cells for shard in self.shards)

    @property
    def digest(self) -> str:
        """SHA-256 over the hashes of all files and all other entries but `sources`: it stands for the whole store."""
        content = {key: value for key, value in asdict(self).items() if key != "sources"}
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    def files(self, folder: Path) -> list[tuple[Path, File]]:
        """All files of the store in a folder, and what was recorded of them."""
        files = [(folder / GENES, self.genes_file)]
        for shard in self.shards:
            files += [(shard.path(folder, part), file) for part, file in shard.files.items()]
        return files

    def ends_with(self, source: Facts) -> bool:
        """Whether the last cells were written from a source."""
        return bool(source) and bool(self.sources) and self.sources[-1]["source"] == dict(source)

    def write(self, folder: Path) -> None:
        """Write manifest.json atomically."""
        document = {"format": FORMAT, "version": VERSION, "cells": self.cells, "digest": self.digest, **asdict(self)}
        write_json(folder / MANIFEST, document)

    @classmethod
    def read(cls, folder: Path) -> "Manifest":
        """Read manifest.json; raises DataError where it is missing, damaged or of another version."""
        path = folder / MANIFEST
        if not path.is_file():
            what = "is unfinished" if any(folder.glob("*.json")) else "is not a store"
            raise DataError(f"{folder}: {what} (there is no {MANIFEST}); run the command that writes it again")
        document = read_json(path)
        try:
            kind, version = document.get("format"), document.get("version")
            if (kind, version) != (FORMAT, VERSION):
                raise DataError(
                    f"{path}: format {kind} version {version}, expected {FORMAT} version {VERSION}; make the store "
                    "again with this release"
                )
            manifest = cls(
                document["genes"],
                File(**document["genes_file"]),
                [Shard.read(entry) for entry in document["shards"]],
                document["uns"],
                document["sources"],
            )
            same = manifest.digest == document["digest"]
        except (AttributeError, KeyError, TypeError) as error:
            raise DataError(f"{path}: is damaged ({error!r}); make the store again") from error
        if not same:
            raise DataError(f"{path}: was changed: its digest is not that of its entries; make the store again")
        return manifest


def whole_shards(folder: Path, start: int = 0) -> list[Shard]:
    """Shards from number `start` on that are complete on disk, up to the first that is not."""
    shards: list[Shard] = []
    while (path := folder / f"{start + len(shards):05d}.json").is_file():
        try:
            shard = Shard.read(json.loads(path.read_text(encoding="utf-8")))
            whole = all(shard.path(folder, part).stat().st_size == file.bytes for part, file in shard.files.items())
        except (OSError, ValueError, KeyError, TypeError):
            break
        if not whole:
            break
        shards.append(shard)
    return shards


def check_sizes(folder: Path, manifest: Manifest) -> None:
    """Raise DataError where a file is missing or has another size than the manifest says: cheap, done at opening."""
    for path, file in manifest.files(folder):
        if not path.is_file():
            raise DataError(f"{path}: is missing; make the store again")
        size = path.stat().st_size
        if size != file.bytes:
            raise DataError(f"{path}: has {size} bytes, the manifest says {file.bytes}; it was cut off or changed")


def damaged_files(folder: Path, manifest: Manifest) -> list[str]:
    """Names of the files whose sha256 is not that of the manifest; reads every byte."""
    files = manifest.files(folder)
    return [path.name for (path, _), same in zip(files, _as_written(files), strict=True) if not same]


def problems(folder: Path, manifest: Manifest) -> list[str]:
    """What is wrong, file by file: missing, of another size, or of another sha256."""
    wrong, whole = [], []
    for path, file in manifest.files(folder):
        if not path.is_file():
            wrong.append(f"{path}: is missing")
        elif (size := path.stat().st_size) != file.bytes:
            wrong.append(f"{path}: has {size} bytes, the manifest says {file.bytes}")
        else:
            whole.append((path, file))
    changed = [path for (path, _), same in zip(whole, _as_written(whole), strict=True) if not same]
    return wrong + [f"{path}: holds other bytes than were written (sha256 differs)" for path in changed]


def _as_written(files: list[tuple[Path, File]]) -> list[bool]:
    """Whether the sha256 of each file is the recorded one; several files are read at a time."""
    with ThreadPoolExecutor(_READERS, thread_name_prefix="annobench-verify") as pool:
        return list(pool.map(lambda one: sha256_of(one[0]) == one[1].sha256, files))


def fingerprint(path: Path) -> tuple[int, str]:
    """Size and sha256 of a file; of a store the size of all files, and its digest."""
    if not path.is_dir():
        return path.stat().st_size, sha256_of(path)
    manifest = Manifest.read(path)
    size = sum(file.bytes for shard in manifest.shards for file in shard.files.values())
    return size + manifest.genes_file.bytes, manifest.digest
