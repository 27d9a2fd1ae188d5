"""What a fit is given: training, validation and test cells, from memory or from a store, or without their matrix."""

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from annobench.cells.panel import MEASURED, hidden, measured, restricted
from annobench.cells.stored_cells import (
    SPATIAL,
    StoredCells,
    is_stored,
    open_store,
    read_without_matrix,
    some_cells,
)
from annobench.core.errors import DataError, MethodSkipped
from annobench.core.parquet import ROW_GROUP, positions, read_columns, take, to_arrow
from annobench.fit.decisions import sample
from annobench.fit.job import FitJob

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import TypeAlias

    import pyarrow as pa
    from anndata import AnnData
    from numpy.typing import NDArray

    from annobench.cells.store.store import Store

    Cells: TypeAlias = "AnnData | StoredCells"

_HIDDEN = ("label_id", "label", "label_original")  # obs columns that a method never sees of test cells
_BYTES = 8  # per value of a sparse matrix: float32, and int32 for its gene
_SAMPLED = 1000  # cells from which the memory of all of them is estimated


class FitCells(NamedTuple):
    """Cells of a fit.

    Parameters
    ----------
    train, validation
        Cells with labels; `validation` is None where there are none.
    query
        The test cells, without labels.
    truth
        Label of every test cell, for a control that states `needs.truth`, else empty.
    calibration
        Validation cells as the test cells are seen (without labels; where a panel hides genes, without these).
    """

    train: "Cells"
    validation: "Cells | None"
    query: "Cells"
    truth: dict[str, str]
    calibration: "Cells | None"


def load_cells(job: FitJob) -> FitCells:
    """Read the cells of a job; a method that streams gets lazy views of stored cells.

    The test cells have no label columns. Labels of the training cells come from the balanced selection. Where a panel
    measures some of the genes, all cells are restricted to them; or, where the job trains on all genes, the others are
    zero in the test cells. Every byte of a store is compared with its hash. A method with `needs.cells: none` gets ids
    and observations, and the matrix is not opened.

    Raises
    ------
    DataError
        A file is damaged, or files do not belong together.
    MethodSkipped
        The cells do not fit into the memory that the method may use.
    """
    if job.needs.cells == "none":
        return _without_matrix(job)
    store = open_store(job.files.cells, verify=True)
    return _from_memory(job) if store is None else _from_store(job, store)


def _from_memory(job: FitJob) -> FitCells:
    import anndata

    cells = anndata.read_h5ad(job.files.cells)
    mask = measured(cells.var, _panel(job))
    if job.settings.training != "all" and not mask.all():
        cells = restricted(cells, mask)
    return _as_seen(job, *_in_roles(job, cells), mask)


def _without_matrix(job: FitJob) -> FitCells:
    """Cells without an expression matrix: ids, observations and genes."""
    cells = read_without_matrix(job.files.cells)
    mask = measured(cells.var, _panel(job))
    every = mask.all()
    if job.settings.training != "all" and not every:
        cells = cells[:, mask].copy()
    train, validation, query = _in_roles(job, cells)
    if job.settings.training == "all" and not every:
        query.var[MEASURED] = mask
    truth = _truth(job, query)
    calibration = None if validation is None else _unlabelled(validation.copy())
    return FitCells(train, validation, _unlabelled(query), truth, calibration)


def _in_roles(job: FitJob, cells: "AnnData") -> "tuple[AnnData, AnnData | None, AnnData]":
    """Training cells with their labels, validation cells (None where there are none) and test cells."""
    roles = read_columns(job.files.split, categorical=["role"], texts=["cell_id"])
    chosen = read_columns(job.files.train, ["cell_id", "label_id"], texts=["cell_id"])
    names = to_arrow(cells.obs_names.to_numpy())

    def cells_of(ids: "pa.Array", file: str) -> "AnnData":
        rows = positions(ids, names)
        if (rows < 0).any():
            absent = take(ids, np.flatnonzero(rows < 0)[:1])[0]
            raise DataError(f"{file}: cell '{absent}' is not in {job.files.cells}; split the data again")
        return cells[rows].copy()

    def of_role(role: str) -> "AnnData":
        return cells_of(take(roles["cell_id"], np.flatnonzero(roles["role"] == role)), job.files.split)

    train = cells_of(chosen["cell_id"], job.files.train)
    train.obs["label_id"] = chosen["label_id"].astype(str)
    validation = of_role("val")
    return train, validation if validation.n_obs else None, of_role("test")


def _from_store(job: FitJob, store: "Store") -> FitCells:
    import pandas as pd

    files, streams = job.files, job.abilities.streams
    mask = measured(store.var, _panel(job))
    all_genes = job.settings.training == "all"
    kept = None if all_genes or mask.all() else np.flatnonzero(mask)
    roles = read_columns(files.split, categorical=["role"], texts=["cell_id"])
    _check_order(store, roles["cell_id"], files.split)
    columns = [name for name in store.columns if not name.startswith(SPATIAL)]

    def cells_at(rows: "NDArray[np.int64]") -> StoredCells:
        return StoredCells(store, rows, store.obs(columns, rows), kept)

    chosen = read_columns(files.train, ["cell_id", "label_id"], categorical=["label_id"], texts=["cell_id"])
    candidates = np.flatnonzero(roles["role"] == "train")
    inside = _rows_in_order(chosen["cell_id"], take(roles["cell_id"], candidates))
    if inside is None:
        raise DataError(f"{files.train}: its cells are not training cells of {files.split} in their order")
    train = cells_at(candidates[inside])
    train.obs["label_id"] = pd.Categorical.from_codes(chosen["label_id"].codes, chosen["label_id"].names)
    val = np.flatnonzero(roles["role"] == "val")
    validation, query = cells_at(val) if len(val) else None, cells_at(np.flatnonzero(roles["role"] == "test"))
    del roles, chosen
    if streams and not (all_genes and not mask.all()):
        return _as_seen(job, train, validation, query, mask)
    # a store cannot hold zeros for the genes that a panel hides: test cells are then in memory, also for streaming
    parts: list[StoredCells] = [part for part in (train, validation, query) if part is not None and not streams]
    _check_fits(parts or [query], job)
    return _as_seen(
        job,
        train if streams else train.to_memory(),
        validation if streams or validation is None else validation.to_memory(),
        query.to_memory(),
        mask,
    )


def _as_seen(
    job: FitJob, train: "Cells", validation: "Cells | None", query: "Cells", mask: "NDArray[np.bool_]"
) -> FitCells:
    """The cells as a method may see them: test cells without labels, and without the genes that a panel hides."""
    truth = _truth(job, query)
    if job.settings.training == "all" and not mask.all():
        # of stored validation cells only a sample is needed
        some = None if validation is None else some_cells(validation, sample(validation.n_obs, job.seed))
        query, calibration = hidden(query, mask), None if some is None else hidden(some, mask)
    else:
        calibration = validation if validation is None or is_stored(validation) else validation.copy()
    return FitCells(
        train, validation, _unlabelled(query), truth, None if calibration is None else _unlabelled(calibration)
    )


def _truth(job: FitJob, query: "Cells") -> dict[str, str]:
    """Label of every test cell, for a control that may see them."""
    return dict(zip(query.obs_names, query.obs["label_id"].astype(str), strict=True)) if job.needs.truth else {}


def _unlabelled(cells: "Cells") -> "Cells":
    """The cells without the columns that a method must not see; an AnnData is changed in place."""
    obs = cells.obs.drop(columns=[column for column in _HIDDEN if column in cells.obs])
    if is_stored(cells):
        return StoredCells(cells.store.without(_HIDDEN), cells.positions, obs, cells.kept)
    cells.obs = obs
    return cells


def as_query(cells: "Cells", query: "Cells") -> "Iterator[Cells]":
    """Training or validation cells as the test cells are seen, in parts: no labels, zeros in genes that a panel hides.

    `cells` itself is not changed.
    """
    mask = measured(query.var, None)
    if mask.all() or (not is_stored(cells) and cells.X is None):  # without a matrix there is nothing to hide
        yield _unlabelled(cells if is_stored(cells) else cells.copy())
        return
    for part in cells.parts() if is_stored(cells) else [cells]:
        yield _unlabelled(hidden(part.to_memory() if is_stored(part) else part, mask))


def _panel(job: FitJob) -> Path | None:
    return Path(job.files.panel) if job.files.panel else None


def _check_order(store: "Store", ids: "pa.Array", split: str) -> None:
    """Raise DataError where the cells of a split are not the cells of a store in the same order."""
    start = 0
    if len(ids) == store.n:
        for part in store.ids():
            if not part.equals(ids[start : start + len(part)]):
                break
            start += len(part)
    if start < store.n:
        raise DataError(
            f"{split}: its cells are not the cells of {store.folder} in the same order; split the data again"
        )


def _rows_in_order(wanted: "pa.Array", given: "pa.Array") -> "NDArray[np.int64] | None":
    """Positions of the wanted texts among the given ones; None where one is missing or the order differs.

    Only a part of the texts is in use at once, whatever their number.
    """
    if wanted.equals(given):
        return np.arange(len(given))
    rows_of_parts, done = [], 0
    for start in range(0, len(given), ROW_GROUP):
        part = given[start : start + ROW_GROUP]
        place = positions(part, wanted[done : done + len(part)])
        rows = np.flatnonzero(place >= 0)
        if not (place[rows] == np.arange(len(rows))).all():
            return None
        rows_of_parts.append(start + rows)
        done += len(rows)
    return np.concatenate(rows_of_parts) if done == len(wanted) else None


def _check_fits(parts: "list[StoredCells]", job: FitJob) -> None:
    """Raise MethodSkipped where the values of the cells alone take more memory than the method may use."""
    values = 0.0
    for part in parts:
        sampled = np.sort(np.random.default_rng(0).choice(part.n_obs, min(_SAMPLED, part.n_obs), replace=False))
        values += some_cells(part, sampled).X.nnz / max(len(sampled), 1) * part.n_obs
    needed, limit = values * _BYTES / 1e6, job.limits.memory_mb
    if needed > limit:
        cells = sum(part.n_obs for part in parts)
        raise MethodSkipped(
            f"the method reads its cells into memory, and the values of {cells:,} take {needed:,.0f} MB of the "
            f"{limit:,.0f} MB that it may use (resources.memory_mb); raise that, let `balance` choose fewer training "
            "cells, or take a method that streams"
        )
