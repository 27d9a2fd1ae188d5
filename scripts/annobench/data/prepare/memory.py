"""Preparing cells that fit into memory."""

from typing import TYPE_CHECKING

import numpy as np

from annobench.cells.gene_table import ChosenGenes, chosen_genes
from annobench.cells.matrix import check_counts, check_finite, check_log1p, recover_counts, take_slot
from annobench.cells.spec import MatrixSpec
from annobench.config.names import NO_MATRIX
from annobench.core.errors import DataError, nearest
from annobench.data.prepare.card import Notes, read_h5ad, read_observations, source_notes, write_cells
from annobench.data.prepare.observations import duplicate_ids
from annobench.data.prepare.task import Task
from annobench.ontology.labels import MappedLabels

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData
    from scipy.sparse import csr_matrix


def prepare_in_memory(task: Task) -> None:
    """Do what `prepare_dataset` promises, with the whole file in memory."""
    from anndata import AnnData

    if task.spec.matrix.state == NO_MATRIX:
        _prepare_observations(task)
        return
    adata = read_h5ad(task.source)
    _check_ids(adata, task.spec.cells.duplicated_ids, task.file)
    matrix, var = take_slot(adata, task.spec.matrix.slot, task.file)
    matrix, state = _checked(matrix, task.spec.matrix, adata.obs, task.file)
    genes = chosen_genes(var, task.spec.genes, lambda: np.asarray(matrix.sum(axis=0)).ravel(), task.file)
    obs, mapping, observed = _mapped(adata, task)
    cells = AnnData(matrix[:, genes.positions], obs=obs, var=genes.table)
    cells.uns["annobench"] = task.facts(state)
    if "spatial" in adata.obsm:
        cells.obsm["spatial"] = adata.obsm["spatial"]
    notes = source_notes(task.fetched, genes, mapping) | observed
    write_cells(task.name, cells, task.outputs, task.ontology, notes)


def _prepare_observations(task: Task) -> None:
    """Prepare cells without their expression: only obs is read of the file."""
    import pandas as pd
    from anndata import AnnData
    from scipy.sparse import csr_matrix

    read = read_observations(task.source)
    _check_ids(read, task.spec.cells.duplicated_ids, task.file)
    obs, mapping, observed = _mapped(read, task)
    table = pd.DataFrame({"feature_id": [], "feature_name": []}, dtype=str, index=pd.Index([], dtype=str))
    genes = ChosenGenes(table, np.arange(0), 0, 0)
    cells = AnnData(csr_matrix((len(obs), 0), dtype=np.float32), obs=obs, var=genes.table)
    cells.uns["annobench"] = task.facts(NO_MATRIX)
    write_cells(task.name, cells, task.outputs, task.ontology, source_notes(task.fetched, genes, mapping) | observed)


def _mapped(adata: "AnnData", task: Task) -> "tuple[pd.DataFrame, MappedLabels, Notes]":
    """Observations of the contract, how their labels were mapped, and what the card says of conditions."""
    import pandas as pd

    observations = task.observations(list(adata.obs.columns))
    columns = {key: values.to_text() for key, values in observations.block(adata.obs).items()}
    mapping = observations.finish()
    for text in observations.remarks(mapping):
        task.report(text)
    table = pd.DataFrame(columns, index=pd.Index(adata.obs_names.astype(str), name="cell_id"))
    return table, mapping, observations.notes()


def _checked(matrix: "csr_matrix", spec: MatrixSpec, obs: "pd.DataFrame", file: str) -> "tuple[csr_matrix, str]":
    """The values, checked on all rows, and what they are; counts are recovered where the YAML asks for it."""
    check_finite(matrix, file)
    if spec.counts_from:
        if spec.counts_from not in obs.columns:
            raise DataError(
                f"{file}: matrix.counts_from: there is no column '{spec.counts_from}'"
                f"{nearest(spec.counts_from, obs.columns)}"
            )
        totals = obs[spec.counts_from].to_numpy()
        return recover_counts(matrix, spec.state, totals, spec.tolerance, file), "counts"
    if spec.state == "counts":
        return check_counts(matrix, spec.tolerance, file), "counts"
    check_log1p(matrix, spec.state, file)
    return matrix, spec.state


def _check_ids(adata: "AnnData", rule: str, file: str) -> None:
    names = adata.obs_names
    if not names.is_unique:
        if rule != "suffix":
            raise duplicate_ids(int(names.duplicated().sum()), list(names[names.duplicated()].unique()[:3]), file)
        adata.obs_names_make_unique()
