"""A store made of the shards of other stores: counts are linked instead of copied where the file system allows it."""

import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

from annobench.cells.store.lock import locked
from annobench.cells.store.manifest import GENES, LOCK, PARTS, Facts, File, Manifest, Shard, check_sizes
from annobench.core.errors import DataError
from annobench.core.files import atomic, link, write_json

if TYPE_CHECKING:
    import pandas as pd


def link_stores(
    parts: Sequence[Path],
    folder: Path,
    *,
    uns: Facts,
    source: Facts,
    genes: "pd.DataFrame | None" = None,
    annotations: "Callable[[int, int], pd.DataFrame] | None" = None,
) -> Manifest:
    """Write a store with the cells of other stores, one after the other.

    Parameters
    ----------
    parts
        The stores, all with the same genes. The caller makes sure that the ids of all cells differ.
    folder
        Of the new store.
    uns
        As for `StoreWriter`.
    source
        What the store is made from.
    genes
        Names the columns anew, in the same order.
    annotations
        Gives the obs (indexed by cell id) of the cells from one position to another; by default they keep theirs.

    Raises
    ------
    DataError
        Where genes differ or a file is missing.
    """
    manifests = [Manifest.read(part) for part in parts]
    lock = locked(folder)
    try:
        for path in folder.iterdir():
            if path.name != LOCK:
                path.unlink()
        genes_file = _link_genes(parts, manifests, folder, genes)
        shards = _link_shards(parts, manifests, folder, annotations)
        entry = {"source": dict(source), "cells": sum(shard.cells for shard in shards)}
        whole = Manifest(manifests[0].genes, genes_file, shards, dict(uns), [entry])
        whole.write(folder)
        return whole
    finally:
        os.close(lock)


def _link_genes(
    parts: Sequence[Path], manifests: Sequence[Manifest], folder: Path, genes: "pd.DataFrame | None"
) -> File:
    if genes is None:
        if len({manifest.genes_file.sha256 for manifest in manifests}) > 1:
            raise DataError(f"{folder}: the stores {parts[0]} to {parts[-1]} have different genes; make them again")
        link(parts[0] / GENES, folder / GENES)
    else:
        if numbers := {manifest.genes for manifest in manifests} - {len(genes)}:
            raise DataError(f"{folder}: {len(genes)} genes are named, the stores have {sorted(numbers)}")
        with atomic(folder / GENES) as path:
            genes.to_parquet(path)
    return File.of(folder / GENES)


def _link_shards(
    parts: Sequence[Path],
    manifests: Sequence[Manifest],
    folder: Path,
    annotations: "Callable[[int, int], pd.DataFrame] | None",
) -> list[Shard]:
    shards: list[Shard] = []
    first = 0
    for part, manifest in zip(parts, manifests, strict=True):
        check_sizes(part, manifest)
        for shard in manifest.shards:
            linked = replace(shard, name=f"{len(shards):05d}", files=dict(shard.files))
            for kind in PARTS:
                if kind != "obs" or annotations is None:
                    link(shard.path(part, kind), linked.path(folder, kind))
            if annotations is not None:
                _write_obs(annotations(first, first + shard.cells), linked, folder)
            write_json(folder / f"{linked.name}.json", asdict(linked))
            shards.append(linked)
            first += shard.cells
    return shards


def _write_obs(obs: "pd.DataFrame", shard: Shard, folder: Path) -> None:
    if len(obs) != shard.cells:
        raise DataError(f"{folder}: {len(obs)} annotations for the {shard.cells} cells of shard {shard.name}")
    obs = obs.copy()
    obs.insert(0, "cell_id", obs.index.astype(str))
    with atomic(shard.path(folder, "obs")) as path:
        obs.to_parquet(path, index=False, compression="zstd")
    shard.files["obs"] = File.of(shard.path(folder, "obs"))
