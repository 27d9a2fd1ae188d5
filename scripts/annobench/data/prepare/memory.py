"""Preparing cells that fit into memory."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from annobench.cells.gene_table import gene_index, gene_table, keep_one_each, required_genes
from annobench.cells.matrix import check_counts, check_finite, check_log1p, recover_counts, take_slot
from annobench.core.errors import DataError, nearest
from annobench.data.prepare.card import read_h5ad, source_notes, write_cells
from annobench.data.prepare.observations import Observations, ids_stand_twice
from annobench.ontology import Ontology

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData


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
    columns = {key: values.to_text() for key, values in found.block(adata.obs).items()}
    mapping = found.finish()
    return pd.DataFrame(columns, index=pd.Index(adata.obs_names.astype(str), name="cell_id")), mapping
