"""Reading what is compared: predicted cells, measured cells and control cells, over the genes that are predicted."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from annobench.config.names import CONDITION, CONTROL_CELL
from annobench.core.errors import DataError
from annobench.core.parquet import NOT_GIVEN, Categorical, positions, read_columns, to_arrow
from annobench.score.perturbation.compared import Compared, Condition, targets_of

if TYPE_CHECKING:
    from anndata import AnnData
    from numpy.typing import NDArray

    Array = NDArray[np.float64]


def control_name(cells: str | Path) -> str | None:
    """Name of the control in a cells.h5ad; None where its dataset declares no perturbation."""
    import h5py

    with h5py.File(cells, "r") as file:
        name = file.get("uns/annobench/control")
        return None if name is None else str(name.asstr()[()])


class Measured:
    """Measured cells of a dataset with perturbations, some of them, over the genes that are predicted.

    Parameters
    ----------
    cells, obs
        The prepared cells and their observations.
    places
        Positions of the tested cells in the dataset.
    genes
        Names of the genes, in the order of the predictions.

    Attributes
    ----------
    name
        Of the control.
    control
        (cells, genes) log-normalised expression of all control cells, wherever they train or not.
    tested
        (n, genes) of the tested cells.
    conditions
        (n,) their conditions.
    """

    def __init__(self, cells: Path, obs: Path, places: "NDArray[np.intp]", genes: "NDArray[np.object_]") -> None:
        from annobench.cells.expression import log_normalised
        from annobench.cells.stored_cells import read_cells

        name = control_name(cells)
        if name is None:
            raise DataError(f"{cells}: names no control; declare `perturbation` in the dataset and prepare it again")
        self.name, self.obs, self.genes = name, obs, genes
        columns = read_columns(obs, [CONDITION], categorical=[CONDITION])[CONDITION]
        self.all_conditions: Categorical = columns
        self._controls = np.flatnonzero(columns == name)
        if not len(self._controls):
            raise DataError(f"{obs}: no cell has the condition '{name}', from which effects are measured")
        needed = np.union1d(self._controls, places)
        read = read_cells(cells, needed)
        lacking = sorted(set(map(str, genes)) - set(read.var_names))
        if lacking:
            raise DataError(
                f"{cells}: {len(lacking)} of {len(genes)} genes that are predicted are not in the data (such as "
                f"{lacking[0]}); fit again"
            )
        if len(genes) != read.n_vars or (read.var_names != genes).any():
            read = read[:, list(genes)].copy()
        self._facts, self._symbols = read.uns["annobench"], _symbols(read)
        values = log_normalised(read)
        self.control = values[np.searchsorted(needed, self._controls)].toarray()
        self.tested = values[np.searchsorted(needed, places)].toarray()
        self.conditions = columns[places].to_text()
        self._ids = np.asarray(read.obs_names, dtype=object)
        self._pairs = self._paired(places, needed)

    def _paired(self, places: "NDArray[np.intp]", needed: "NDArray[np.intp]") -> "NDArray[np.int64] | None":
        """(n,) row of `control` that a tested cell is paired with, -1 for none; None where cells are not paired."""
        from annobench.core.parquet import column_names

        if CONTROL_CELL not in column_names(self.obs):
            return None
        rows = np.zeros(len(self.all_conditions), dtype=bool)
        rows[places] = True
        column = read_columns(self.obs, [CONTROL_CELL], categorical=[CONTROL_CELL], rows=rows)[CONTROL_CELL]
        order = np.argsort(places, kind="stable")
        paired = np.empty(len(places), dtype=object)
        paired[order] = column.to_text()
        ids = to_arrow(self._ids[np.searchsorted(needed, self._controls)])
        return positions(to_arrow(paired), ids)

    def targets(self, condition: str) -> "NDArray[np.intp]":
        """Positions of the genes that a condition names."""
        words = [str(word) for word in self._facts.get("no_gene", [])]
        return targets_of(condition, str(self._facts.get("separator", "")), words, self._symbols)

    def beside(self, predicted: "Array | None") -> Compared:
        """The tested conditions beside a prediction for every tested cell, (n, genes); None for the truth itself."""
        conditions = []
        for name in sorted(set(self.conditions) - {self.name, NOT_GIVEN}):
            rows = np.flatnonzero(self.conditions == name)
            paired = None
            if self._pairs is not None and (given := self._pairs[rows][self._pairs[rows] >= 0]).size:
                paired = self.control[given]
            truth = self.tested[rows]
            conditions.append(
                Condition(name, truth, truth if predicted is None else predicted[rows], self.targets(name), paired)
            )
        return Compared(self.genes, self.control, conditions)


def compare(
    expression: "AnnData", cells: Path, obs: Path, places: "NDArray[np.intp]", ids: "NDArray[np.object_]"
) -> Compared:
    """What a fit predicts beside what was measured.

    Parameters
    ----------
    expression
        Predicted cells, as expression.h5ad has them.
    cells, obs
        The dataset.
    places, ids
        Positions in the dataset and ids of the tested cells, (n,).

    Raises
    ------
    DataError
        Where a tested cell is not predicted, or is predicted for another condition than its own.
    """
    from annobench.cells.expression import log_normalised

    measured = Measured(cells, obs, places, expression.var_names.to_numpy(dtype=object))
    rows = positions(to_arrow(ids), to_arrow(expression.obs_names.to_numpy(dtype=object)))
    if (rows < 0).any():
        raise DataError(f"expression.h5ad: {int((rows < 0).sum())} test cells are not predicted; fit again")
    stated = expression.obs[CONDITION].astype(str).to_numpy()[rows]
    other = np.flatnonzero(stated != measured.conditions)
    if len(other):
        raise DataError(
            f"expression.h5ad: cell '{ids[other[0]]}' is predicted for '{stated[other[0]]}', but its condition is "
            f"'{measured.conditions[other[0]]}'; {len(other)} of {len(ids)} cells are"
        )
    state = str(expression.uns["annobench"]["matrix"])
    values = np.asarray(expression.X) if state == "log1p_cp10k" else log_normalised(expression).toarray()
    return measured.beside(values[rows])


def _symbols(cells: "AnnData") -> dict[str, int]:
    """Symbols and ids of genes -> position."""
    at: dict[str, int] = {}
    for column in ("feature_id", "feature_name"):
        if column in cells.var:
            at |= {str(name): i for i, name in enumerate(cells.var[column]) if str(name)}
    return at
