"""Preparing cells that fit into memory."""

from typing import TYPE_CHECKING

import numpy as np

from annobench.cells.gene_table import ChosenGenes, chosen_genes
from annobench.cells.matrix import (
    CONVERTED,
    Rounded,
    check_counts,
    check_finite,
    check_log1p,
    csr_float32,
    recover_counts,
    to_log1p,
)
from annobench.cells.not_h5ad import not_h5ad
from annobench.cells.spec import MatrixSpec
from annobench.cells.store.h5ad import H5adFile
from annobench.cells.store.source import StoreFile
from annobench.cells.told import row_sums, shared_sum
from annobench.config.names import NO_MATRIX
from annobench.core.errors import AnnobenchError, DataError, nearest
from annobench.data.prepare.card import Notes, write_cells
from annobench.data.prepare.notes import no_values, source_notes
from annobench.data.prepare.observations import CellIds, Observations
from annobench.data.prepare.storage import opened
from annobench.data.prepare.task import Task
from annobench.ontology.labels import MappedLabels

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData
    from numpy.typing import NDArray
    from scipy.sparse import csr_matrix


def prepare_in_memory(task: Task) -> None:
    """Do what `prepare_dataset` promises, with the whole matrix in memory."""
    slot = None if task.spec.matrix.state == NO_MATRIX else task.spec.matrix.slot
    with opened(task.source, slot) as file:
        try:
            cells, notes = _prepared(file, task) if slot else _observed(file, task)
        except (AnnobenchError, MemoryError):
            raise
        except (OSError, RuntimeError) as error:  # of a file that is damaged inside
            raise not_h5ad(file.path, error) from error
    write_cells(task.name, cells, task.outputs, task.ontology, notes)


def _prepared(file: H5adFile | StoreFile, task: Task) -> "tuple[AnnData, Notes]":
    """The cells of the contract, and what the card says of them."""
    from anndata import AnnData

    try:
        matrix = csr_float32(file.read())
    except MemoryError as error:
        raise DataError(
            f"{task.file}: does not fit into memory ({file.nbytes / 1e6:.0f} MB of values); counts fit with "
            "`storage: store`"
        ) from error
    genes = chosen_genes(file.var, task.spec.genes, lambda: np.asarray(matrix.sum(axis=0)).ravel(), task.file)
    if not matrix.nnz:
        raise no_values(file, task.spec.matrix.slot)
    obs, mapping, observed = _mapped(file, task)
    measured = matrix if len(genes.features) == file.genes else matrix[:, genes.features]
    measured, state, values = _checked(measured, file, task)
    cells = AnnData(measured[:, genes.among_features()], obs=obs, var=genes.table)
    cells.uns["annobench"] = task.facts(state)
    spatial, unread = task.coordinates(file)
    if spatial is not None:
        cells.obsm["spatial"] = np.asarray(spatial[:], dtype=np.float64)
    return cells, source_notes(task, genes, mapping, observed.organisms) | values | unread | observed.notes()


def _observed(file: H5adFile | StoreFile, task: Task) -> "tuple[AnnData, Notes]":
    """The cells without their expression: only obs is read of the file."""
    import pandas as pd
    from anndata import AnnData
    from scipy.sparse import csr_matrix

    obs, mapping, observed = _mapped(file, task)
    table = pd.DataFrame({"feature_id": [], "feature_name": []}, dtype=str, index=pd.Index([], dtype=str))
    none = np.arange(0)
    genes = ChosenGenes(table, none, none, {}, 0, 0)
    cells = AnnData(csr_matrix((len(obs), 0), dtype=np.float32), obs=obs, var=genes.table)
    cells.uns["annobench"] = task.facts(NO_MATRIX)
    return cells, source_notes(task, genes, mapping, observed.organisms) | observed.notes()


def _mapped(file: H5adFile | StoreFile, task: Task) -> "tuple[pd.DataFrame, MappedLabels, Observations]":
    """Observations of the contract, how their labels were mapped, and what was counted of them."""
    import pandas as pd

    observations = task.observations(file.columns)
    read = file.obs(columns=observations.needed)
    ids = CellIds(lambda: iter([read.index]), file.n, task.spec.cells.duplicated_ids, task.file)
    names = ids.block(read.index)
    ids.finish()
    columns = {key: values.to_text() for key, values in observations.block(read).items()}
    mapping = observations.finish()
    for text in observations.remarks(mapping):
        task.report(text)
    table = pd.DataFrame(columns, index=pd.Index(np.asarray(names, dtype=object), name="cell_id"))
    return table, mapping, observations


def _checked(matrix: "csr_matrix", file: H5adFile | StoreFile, task: Task) -> "tuple[csr_matrix, str, Notes]":
    """The values, checked on all rows, what they are, and what the card says of a conversion."""
    spec, name = task.spec.matrix, task.file
    check_finite(matrix, name)
    if spec.counts_from:
        recovered = recover_counts(matrix, spec.state, _totals(file, spec, name), spec.tolerance, name)
        return recovered, "counts", {}
    if spec.state == "counts":
        return check_counts(matrix, spec.tolerance, name), "counts", {}
    if spec.state == "fractional_counts":
        rounded = Rounded()
        matrix = rounded.round(matrix, name)
        task.report(str(rounded))
        return matrix, "counts", {"converted": rounded.notes()}
    if spec.state not in CONVERTED:
        check_log1p(matrix, spec.state, name)
        return matrix, spec.state, {}
    sums = row_sums(matrix, CONVERTED[spec.state])
    found = to_log1p(matrix, spec.state, name)
    given = sums[sums > 0]
    each = {"lowest_sum": float(given.min(initial=np.inf)), "highest_sum": float(given.max(initial=0))}
    task.report(
        f"{spec.state} values, whose cells sum to {each['lowest_sum']:,.5g} to {each['highest_sum']:,.5g} before the "
        "logarithm, became log1p of values per 10,000"
    )
    return found, "log1p_cp10k", {"converted": {"from": spec.state, "shared_sum": shared_sum(sums), **each}}


def _totals(file: H5adFile | StoreFile, spec: MatrixSpec, name: str) -> "NDArray[np.generic]":
    """Total counts per cell (n,), as `matrix.counts_from` names them."""
    column = str(spec.counts_from)
    if column not in file.columns:
        raise DataError(f"{name}: matrix.counts_from: there is no column '{column}'{nearest(column, file.columns)}")
    return file.obs(columns=[column])[column].to_numpy()
