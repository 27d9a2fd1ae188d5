"""How the parts of a pair, or of a combined dataset, become one table, in memory or in a store."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from annobench.config.names import OBS_COLUMNS
from annobench.data.prepare.card import Notes

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    Columns = Mapping[str, tuple[NDArray[np.intp], NDArray[np.intp]]]


@dataclass(frozen=True)
class Join:
    """How the parts become one table.

    Parameters
    ----------
    name
        Of the dataset that they become.
    kinds
        What the column `part` says of the cells of each part, in their order.
    located
        The part whose coordinates are kept; None for no part.
    columns
        For each part which of its genes are taken, and where they lie among `genes`.
    genes
        Table of the genes of the whole.

    Notes
    -----
        What the card says of the parts and of their genes.
    """

    name: str
    kinds: Mapping[str, str]
    located: str | None
    columns: "Columns"
    genes: "pd.DataFrame"
    notes: Notes


def extra_columns(names: Sequence[Sequence[str]]) -> list[str]:
    """Columns of obs that some parts have beyond those of the contract, given the columns of every part."""
    return list(dict.fromkeys(name for of_part in names for name in of_part if name not in OBS_COLUMNS))
