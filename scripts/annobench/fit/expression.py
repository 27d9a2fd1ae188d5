"""The contract of predicted expression: what cells would express under a condition."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from annobench.core.errors import PredictionError
from annobench.core.files import atomic
from annobench.fit.predictions import row_order

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray


STATES = ("counts", "log1p_cp10k", "log1p_cpm")


@dataclass(frozen=True)
class Expression:
    """Expression that a method predicts.

    Parameters
    ----------
    cell_ids
        (n,) text, each cell once.
    conditions
        (n,) text: the condition that is predicted for each of them.
    values
        (n, genes) numbers, over the genes of the query in their order.
    state
        What the values are: `counts`, `log1p_cp10k` or `log1p_cpm`; None for the state of the dataset's matrix.
    """

    cell_ids: "NDArray[np.object_]"
    conditions: "NDArray[np.object_]"
    values: "NDArray[np.floating]"
    state: str | None = None


def write_expression(
    path: Path, expression: Expression, cell_ids: Sequence[str], var: "pd.DataFrame", state: str
) -> None:
    """Validate predicted expression and write it as expression.h5ad, in the order of `cell_ids`.

    `state` is what the dataset's matrix holds. Raises PredictionError where a cell is missing, unknown or predicted
    twice, or a value is not a finite number.
    """
    import pandas as pd
    from anndata import AnnData

    values = np.asarray(expression.values)
    if values.shape != (len(expression.cell_ids), len(var)):
        raise PredictionError(
            f"the predicted expression has shape {values.shape}, expected ({len(expression.cell_ids)}, {len(var)})"
        )
    if bad := int((~np.isfinite(values)).sum()):
        raise PredictionError(f"the predicted expression holds {bad} NaN or infinite values")
    if expression.state not in (None, *STATES):
        raise PredictionError(
            f"the predicted expression is stated to be '{expression.state}', expected {', '.join(STATES)}"
        )
    wanted = np.asarray(cell_ids, dtype=object)
    order = row_order(wanted, np.asarray(expression.cell_ids, dtype=object), "expression")
    rows = slice(None) if order is None else order
    obs = pd.DataFrame({"condition": np.asarray(expression.conditions)[rows].astype(str)}, index=wanted.astype(str))
    cells = AnnData(values[rows].astype(np.float32), obs=obs, var=var[[]].copy())
    cells.uns["annobench"] = {"matrix": expression.state or state}
    with atomic(path) as temporary:
        cells.write_h5ad(temporary)
