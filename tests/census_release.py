"""Tiny releases in the form of the Census, for tests: six datasets over a hundred genes."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
from scipy.sparse import csr_matrix

from annobench.config.schema import validate
from annobench.data.census.build import Part, build_release
from annobench.data.census.spec import PartSpec, SelectionFiles
from annobench.data.sources.census import Source
from annobench.data.spec import SourceSpec

GENES = [(f"ENSG{i:011d}", f"GENE{i}") for i in range(100)]
TYPES = {"CL:0000084": "T cell", "CL:0000236": "B cell", "CL:0000623": "natural killer cell"}
MAY, DECEMBER = "2023-05-15", "2023-12-15"
DISEASES = ("normal", "Crohn's disease")


def prepared(
    folder: Path,
    name: str,
    cells: int = 40,
    *,
    genes: slice = slice(0, 80),
    with_ids: bool = True,
    donors: Sequence[str] = ("Ann", "Bob"),
    state: str = "counts",
    seed: int = 0,
    prefix: str | None = None,
) -> Path:
    """A cells.h5ad of the cells contract; `prefix` begins the ids of its cells."""
    rng = np.random.default_rng(seed)
    known = GENES[genes]
    matrix = csr_matrix(rng.poisson(0.7, (cells, len(known))).astype(np.float32))
    if state != "counts":
        matrix.data = np.log1p(matrix.data)
    ids = np.array(list(TYPES))[np.arange(cells) % len(TYPES)]
    obs = pd.DataFrame(
        {
            "label_id": ids,
            "label": [TYPES[i] for i in ids],
            "study": name,
            "donor": np.array(donors)[np.arange(cells) // 2 % len(donors)],
            "assay": "10x 3' v2",
            "tissue": "gut",
            "disease": np.array(DISEASES)[np.arange(cells) % 2],
        },
        index=[f"{name if prefix is None else prefix}-{i}" for i in range(cells)],
    )
    var = pd.DataFrame(
        {"feature_id": [i if with_ids else "" for i, _ in known], "feature_name": [n for _, n in known]},
        index=[n for _, n in known],
    )
    adata = ad.AnnData(matrix, obs=obs, var=var)
    adata.uns["annobench"] = {"matrix": state, "ontology": "2026-03-26"}
    path = folder / f"{name}.h5ad"
    adata.write_h5ad(path)
    return path


def two_releases(folder: Path) -> dict[str, Path]:
    """May: first, gone. December: first, again (gone under another id), new (symbols only), logs (log1p)."""
    first = prepared(folder, "first", 60)
    gone = prepared(folder, "gone", 30, donors=("Carol Ann", "Dan Ole", "Eve Kim"), seed=1)
    new = prepared(folder, "new", 50, genes=slice(20, 100), with_ids=False, donors=("Fay", "Gil"), seed=2)
    again = folder / "again.h5ad"
    again.write_bytes(gone.read_bytes())
    logs = prepared(folder, "logs", 20, genes=slice(0, 60), state="log1p_cpm", donors=("Hal",), seed=3)
    family = {"first": first, "gone": gone, "new": new, "again": again, "logs": logs}
    whole = prepared(folder, "whole", 10, genes=slice(0, 100), seed=4)  # knows the ids of all genes
    parts = {
        MAY: [Part("first", first), Part("gone", gone, PartSpec(title="Cells of Carol", collection="Carol's"))],
        DECEMBER: [
            Part("first", first),
            Part("again", again, PartSpec(title="Cells of Carol.", collection="Carol's")),
            Part("new", new),
            Part("logs", logs, PartSpec(primary=False)),
        ],
    }
    found = {}
    for date, some in parts.items():
        found[date] = folder / date
        by_dictionary = date == DECEMBER  # as it was in life
        record = folder / f"{date}.json"
        build_release(date, some, found[date], record, family=family | {"whole": whole}, by_dictionary=by_dictionary)
    return found


def source(release: str = DECEMBER, **settings: Any) -> Source:
    """The source of a dataset of kind census, with the defaults."""
    found = SourceSpec.from_params(entry(release, **settings))
    assert isinstance(found, Source)
    return found


def entry(release: str = DECEMBER, **settings: Any) -> dict[str, Any]:
    """The same as a mapping, as configuration sees it."""
    text = {"label": "l", "summary": "s", "citation": "c", "licence": "l"}
    given = {"kind": "census", "release": release, "chunks": 1} | settings
    found: dict[str, Any] = validate(text | {"source": given}, "dataset", "d.yaml")["source"]
    return found


def outputs(folder: Path) -> SelectionFiles:
    """Where a selection goes."""
    return SelectionFiles(folder / "cells.parquet", folder / "genes.parquet", folder / "record.json")
