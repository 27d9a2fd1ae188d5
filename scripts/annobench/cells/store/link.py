"""A store made of the shards of others: the counts are linked, not copied, where the file system allows it."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from annobench.cells.store.lock import locked
from annobench.cells.store.manifest import GENES, LOCK, PARTS, File, Manifest, Shard, check_sizes
from annobench.core.errors import DataError
from annobench.core.files import atomic, link, write_json

if TYPE_CHECKING:
    import pandas as pd


def link_stores(
    parts: Sequence[Path],
    folder: Path,
    *,
    uns: Mapping[str, Any],
    source: Mapping[str, Any],
    genes: "pd.DataFrame | None" = None,
    annotations: "Callable[[int, int], pd.DataFrame] | None" = None,
) -> Manifest:
    """Write a store with the cells of others, one after the other. All must have the same genes.

    genes: names the columns anew, in the same order. annotations: gives the obs (index: cell ids) of the cells from one
    to another; by default they keep theirs. The ids of all cells must differ, which is for the caller to know. Raises
    DataError where genes differ or a file is missing.
    """
    manifests = [Manifest.read(part) for part in parts]
    lock = locked(folder)
    try:
        for path in folder.iterdir():
            if path.name != LOCK:
                path.unlink()
        return _linked(parts, manifests, folder, dict(uns), dict(source), genes, annotations)
    finally:
        os.close(lock)


def _linked(
    parts: Sequence[Path],
    manifests: Sequence[Manifest],
    folder: Path,
    uns: dict[str, Any],
    source: dict[str, Any],
    genes: "pd.DataFrame | None",
    annotations: "Callable[[int, int], pd.DataFrame] | None",
) -> Manifest:
    if genes is None:
        if len({manifest.genes_file.sha256 for manifest in manifests}) > 1:
            raise DataError(f"{folder}: the stores {parts[0]} to {parts[-1]} have different genes; make them again")
        link(parts[0] / GENES, folder / GENES)
    else:
        if numbers := {manifest.genes for manifest in manifests} - {len(genes)}:
            raise DataError(f"{folder}: {len(genes)} genes are named, the stores have {sorted(numbers)}")
        with atomic(folder / GENES) as path:
            genes.to_parquet(path)
    shards: list[Shard] = []
    first = 0
    for part, manifest in zip(parts, manifests, strict=True):
        check_sizes(part, manifest)
        for shard in manifest.shards:
            found = replace(shard, name=f"{len(shards):05d}", files=dict(shard.files))
            for kind in PARTS:
                if kind != "obs" or annotations is None:
                    link(shard.path(part, kind), found.path(folder, kind))
            if annotations is not None:
                _write_obs(annotations(first, first + shard.cells), found, folder)
            write_json(folder / f"{found.name}.json", asdict(found))
            shards.append(found)
            first += shard.cells
    entry = {"source": source, "cells": first}
    whole = Manifest(manifests[0].genes, File.of(folder / GENES), shards, uns, [entry])
    whole.write(folder)
    return whole


def _write_obs(obs: "pd.DataFrame", shard: Shard, folder: Path) -> None:
    if len(obs) != shard.cells:
        raise DataError(f"{folder}: {len(obs)} annotations for the {shard.cells} cells of shard {shard.name}")
    obs = obs.copy()
    obs.insert(0, "cell_id", obs.index.astype(str))
    with atomic(shard.path(folder, "obs")) as path:
        obs.to_parquet(path, index=False, compression="zstd")
    shard.files["obs"] = File.of(shard.path(folder, "obs"))
