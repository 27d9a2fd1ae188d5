"""From a source file to the cells contract: cells.h5ad, obs.parquet and card.json, and a store where it is large.

obs.parquet repeats the observations alone, so that splitting and scoring need not open the matrix.
"""

import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from shutil import rmtree
from typing import TYPE_CHECKING, Any

from annobench.errors import DataError, nearest
from annobench.files import atomic, read_json, sha256_of, write_json
from annobench.ontology import UNKNOWN, Ontology
from annobench.prepare.genes import gene_index, gene_table, keep_one_each, required_genes
from annobench.prepare.matrix import check_counts, check_finite, check_log1p, recover_counts, take_slot
from annobench.prepare.observations import Observations, ids_stand_twice
from annobench.prepare.storage import store_of, unreadable, wants_store
from annobench.store.manifest import fingerprint
from annobench.store.store import Store

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData


def prepare_dataset(
    name: str,
    dataset: dict[str, Any],
    source: Path,
    record: Path,
    ontology: Ontology,
    label_table: Path | None,
    outputs: dict[str, Path],
    report: Callable[[str], None] = lambda text: None,
) -> None:
    """Prepare a plain dataset.

    `source` is the fetched file, `record` its provenance; `outputs` has the keys cells, obs and card. A store is
    written beside cells.h5ad where `storage` or the size asks for one. `report` hears of progress. Raises DataError.
    """
    fetched = read_json(record)
    if fingerprint(source)[1] != fetched["sha256"]:
        raise DataError(
            f"{source}: changed since it was fetched (sha256 differs from {record}); fetch it again with --forcerun "
            "fetch_dataset"
        )
    if wants_store(dataset, source):
        from annobench.prepare.stored import prepare_stored

        prepare_stored(name, dataset, source, fetched, ontology, label_table, outputs, report)
    else:
        _prepare_in_memory(name, dataset, source, fetched, ontology, label_table, outputs)


def _prepare_in_memory(
    name: str,
    dataset: dict[str, Any],
    source: Path,
    fetched: dict[str, Any],
    ontology: Ontology,
    label_table: Path | None,
    outputs: dict[str, Path],
) -> None:
    from anndata import AnnData

    adata = read_h5ad(source)
    file = source.name
    _check_cells(adata, dataset["cells"], file)
    matrix, var = take_slot(adata, dataset["matrix"]["slot"], file)
    check_finite(matrix, file)
    state = dataset["matrix"]["state"]
    if dataset["matrix"]["counts_from"]:
        totals = _column(adata.obs, dataset["matrix"]["counts_from"], "matrix.counts_from", file).to_numpy()
        matrix, state = recover_counts(matrix, state, totals, dataset["matrix"]["tolerance"], file), "counts"
    elif state == "counts":
        matrix = check_counts(matrix, dataset["matrix"]["tolerance"], file)
    else:
        check_log1p(matrix, state, file)

    genes = gene_table(var, dataset["genes"], file)
    kept = required_genes(var, dataset["genes"]["require"], file)
    genes, matrix = genes[kept].reset_index(drop=True), matrix[:, kept]
    keep, duplicates = keep_one_each(genes, matrix.sum(axis=0).A1)
    genes, matrix = genes.iloc[keep].reset_index(drop=True), matrix[:, keep]
    genes.index = gene_index(genes)

    obs, mapping = _observations(name, adata, dataset["cells"], ontology, label_table, file)
    cells = AnnData(matrix, obs=obs, var=genes)
    cells.uns["annobench"] = {"matrix": state, "ontology": ontology.release}
    if "spatial" in adata.obsm:
        cells.obsm["spatial"] = adata.obsm["spatial"]
    notes = source_notes(fetched, int((~kept).sum()), duplicates)
    notes |= {"labels_unmapped": mapping.unmapped, "labels_replaced": mapping.replaced}
    write_cells(name, cells, outputs, ontology, notes)


def source_notes(fetched: Mapping[str, Any], not_required: int, duplicates: int) -> dict[str, Any]:
    """What the card says of the source, and of the genes that were dropped."""
    dropped = {"genes_not_required": not_required, "duplicated_genes": duplicates}
    for step in fetched.get("steps", []):  # what the reader of a bundle has left out before
        dropped |= {key: step[key] for key in ("control_features",) if key in step}
    return {"source": fetched, "dropped": dropped}


def read_h5ad(path: Path) -> "AnnData":
    """Read an h5ad file, or a store; raises DataError where it is none, is cut off, or is empty."""
    import anndata

    if path.is_dir():
        return Store.open(path, verify=True).read()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # names that stand twice are dealt with below, as an error or a rule
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


def _column(table: "pd.DataFrame", column: str, key: str, file: str) -> "pd.Series":
    if column not in table.columns:
        raise DataError(f"{file}: {key}: there is no column '{column}'{nearest(column, table.columns)}")
    return table[column]


def _check_cells(adata: "AnnData", settings: dict[str, Any], file: str) -> None:
    names = adata.obs_names
    if not names.is_unique:
        if settings["duplicated_ids"] != "suffix":
            raise ids_stand_twice(int(names.duplicated().sum()), list(names[names.duplicated()].unique()[:3]), file)
        adata.obs_names_make_unique()


def _observations(
    name: str, adata: "AnnData", settings: dict[str, Any], ontology: Ontology, label_table: Path | None, file: str
) -> Any:
    import pandas as pd

    found = Observations(name, settings, list(adata.obs.columns), ontology, label_table, file)
    columns = {key: values.text() for key, values in found.block(adata.obs).items()}
    mapping = found.finish()
    return pd.DataFrame(columns, index=pd.Index(adata.obs_names.astype(str), name="cell_id")), mapping


def write_cells(
    name: str,
    cells: "AnnData",
    outputs: dict[str, Path],
    ontology: Ontology,
    notes: dict[str, Any],
) -> None:
    """Write cells.h5ad, obs.parquet and, last, card.json."""
    store, begun = store_of(outputs["cells"])
    for folder in (store, begun):  # of other settings
        rmtree(folder, ignore_errors=True)
    table = cells.obs.reset_index(names="cell_id").astype(str)
    with atomic(outputs["cells"]) as path:
        cells.write_h5ad(path)
    with atomic(outputs["obs"]) as path:
        table.to_parquet(path, index=False)
    write_card(
        name,
        outputs,
        ontology,
        {
            "matrix": str(cells.uns["annobench"]["matrix"]),
            "storage": "memory",
            "cells": cells.n_obs,
            "cells_without_counts": int((cells.X.sum(axis=1) == 0).sum()),
            **notes,
        },
        cells.var,
        {key: cells.obs[key].value_counts().to_dict() for key in ("label_id", "study", "donor")},
    )


def write_card(
    name: str,
    outputs: Mapping[str, Path],
    ontology: Ontology,
    facts: Mapping[str, Any],
    genes: "pd.DataFrame",
    counts: Mapping[str, Mapping[Any, int]],
) -> None:
    """Write card.json; `counts` has the cells by label_id, study and donor."""
    number = {key: {str(value): int(n) for value, n in of.items()} for key, of in counts.items()}
    write_json(
        outputs["card"],
        {
            "dataset": name,
            "ontology": ontology.release,
            "genes": len(genes),
            "genes_with_ensembl_id": int((genes["feature_id"] != "").sum()),
            "labels": {i: {"label": ontology.label(i), "cells": n} for i, n in number["label_id"].items()},
            "cells_with_unknown_label": number["label_id"].get(UNKNOWN, 0),
            "studies": number["study"],
            "donors": number["donor"],
            "sha256": sha256_of(outputs["cells"]),
            **facts,
        },
    )
