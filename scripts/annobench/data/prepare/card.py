"""Card and cells file of a prepared dataset."""

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from shutil import rmtree
from typing import TYPE_CHECKING

from annobench.cells.gene_table import ChosenGenes
from annobench.cells.store.store import Store
from annobench.core.errors import DataError
from annobench.core.files import atomic, sha256_of, write_json
from annobench.data.prepare.storage import unreadable
from annobench.data.prepare.task import PreparedFiles
from annobench.ontology import UNKNOWN, Ontology
from annobench.ontology.labels import MappedLabels

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData


Notes = dict[str, object]  # entries of the card


def source_notes(fetched: Mapping[str, object], genes: ChosenGenes, mapping: MappedLabels) -> Notes:
    """What the card says of the source, of the genes that were dropped, and of labels."""
    dropped: Notes = {"genes_not_required": genes.not_required, "duplicated_genes": genes.duplicates}
    if genes.nameless:
        dropped["genes_without_name_and_id"] = genes.nameless
    steps = fetched.get("steps", [])
    for step in steps if isinstance(steps, Sequence) else []:  # what the reader of a bundle has left out before
        dropped |= {key: step[key] for key in ("control_features",) if key in step}
    labels: Notes = {"labels_unmapped": mapping.unmapped, "labels_replaced": mapping.replaced}
    if mapping.respelled:
        labels["labels_respelled"] = mapping.respelled
    if mapping.unused:
        labels["labels_of_table_without_cells"] = mapping.unused
    return {"source": fetched, "dropped": dropped, **labels}


def read_h5ad(path: Path) -> "AnnData":
    """Read an h5ad file, or a store; raises DataError where it cannot be read, is cut off, or is empty."""
    import anndata

    if path.is_dir():
        return Store.open(path, verify=True).read()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # duplicate ids are handled later, as an error or by a rule
            adata = anndata.read_h5ad(path)
    except MemoryError as error:
        raise DataError(
            f"{path.name}: does not fit into memory ({path.stat().st_size / 1e6:.0f} MB on disk); counts fit with "
            "`storage: store`"
        ) from error
    except Exception as error:  # whatever h5py and anndata raise on broken files
        raise unreadable(path, error) from error
    if adata.n_obs == 0 or adata.n_vars == 0:
        raise DataError(f"{path.name}: is empty ({adata.n_obs} cells, {adata.n_vars} genes)")
    return adata


def read_observations(path: Path) -> "AnnData":
    """The obs of an h5ad file as an AnnData without genes; raises DataError where it cannot be read or is empty."""
    import anndata
    import h5py

    try:
        with h5py.File(path) as file:
            obs = anndata.io.read_elem(file["obs"])
    except Exception as error:  # whatever h5py and anndata raise on broken files
        raise unreadable(path, error) from error
    if not len(obs):
        raise DataError(f"{path.name}: is empty (0 cells)")
    return anndata.AnnData(obs=obs)


def write_cells(
    name: str, cells: "AnnData", outputs: PreparedFiles, ontology: Ontology, notes: Mapping[str, object]
) -> None:
    """Write cells.h5ad, obs.parquet and, last, card.json."""
    for folder in (outputs.store, outputs.begun):  # of other settings
        rmtree(folder, ignore_errors=True)
    table = cells.obs.reset_index(names="cell_id").astype(str)
    with atomic(outputs.cells) as path:
        cells.write_h5ad(path)
    with atomic(outputs.obs) as path:
        table.to_parquet(path, index=False)
    write_card(
        name,
        outputs,
        ontology,
        genes=cells.var,
        counts={key: cells.obs[key].value_counts().to_dict() for key in ("label_id", "study", "donor")},
        facts={
            "matrix": str(cells.uns["annobench"]["matrix"]),
            "storage": "memory",
            "cells": cells.n_obs,
            "cells_without_counts": int((cells.X.sum(axis=1) == 0).sum()) if cells.n_vars else 0,
            **notes,
        },
    )


def write_card(
    name: str,
    outputs: PreparedFiles,
    ontology: Ontology,
    *,
    genes: "pd.DataFrame",
    counts: Mapping[str, Mapping[str, int]],
    facts: Mapping[str, object],
) -> None:
    """Write card.json; `counts` has the number of cells by label_id, study and donor."""
    number = {key: {str(value): int(n) for value, n in of.items()} for key, of in counts.items()}
    write_json(
        outputs.card,
        {
            "dataset": name,
            "ontology": ontology.release,
            "genes": len(genes),
            "genes_with_ensembl_id": int((genes["feature_id"] != "").sum()),
            "labels": {i: {"label": ontology.label(i), "cells": n} for i, n in number["label_id"].items()},
            "cells_with_unknown_label": number["label_id"].get(UNKNOWN, 0),
            "studies": number["study"],
            "donors": number["donor"],
            "sha256": sha256_of(outputs.cells),
            **facts,
        },
    )
