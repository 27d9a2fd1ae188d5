"""Which genes of a dataset a panel measures, and cells cut down to them.

Gene identity is that of `prepare`: Ensembl ids where both sides have them, else symbols.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from annobench.cells.expression import in_state, linear
from annobench.cells.genes import shared_genes
from annobench.core.errors import MethodSkipped

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from anndata import AnnData
    from numpy.typing import NDArray

MEASURED = "measured"  # column of var: whether the query measures the gene; all of them where it is missing
DEPTH = "total_counts"  # column of obs: counts of a cell over the genes that are there, where a pair was prepared


def measured(var: "pd.DataFrame", panel: Path | None) -> "NDArray[np.bool_]":
    """Which genes (rows of var) the query measures, restricted to a panel where one is given.

    Raises MethodSkipped with the overlap both ways where nothing is left.
    """
    import numpy as np
    import pandas as pd

    mask = var[MEASURED].to_numpy(dtype=bool) if MEASURED in var else np.ones(len(var), dtype=bool)
    if panel is None:
        return mask
    genes = pd.read_csv(panel, keep_default_na=False, dtype=str)
    positions = shared_genes([var, genes])[0]
    on_panel = np.zeros(len(var), dtype=bool)
    on_panel[positions] = True
    if not (mask & on_panel).any():
        raise MethodSkipped(
            f"the panel {panel.stem} measures none of the genes: {len(positions)} of its {len(genes)} genes are among "
            f"the {len(var)} of the dataset, {int((mask & on_panel).sum())} of which the query measures. Ensembl ids "
            "against symbols? See genes.id and genes.name of the dataset and `columns` of the panel"
        )
    return mask & on_panel


def restricted(cells: "AnnData", mask: "NDArray[np.bool_]") -> "AnnData":
    """The cells with the genes of the mask alone. Logarithmic values are filled up to their scale again."""
    found = cells[:, mask].copy()
    if not mask.all():
        _lower_depth(found, cells)
        found.X = _filled_up(found)
    return found


def hidden(cells: "AnnData", mask: "NDArray[np.bool_]") -> "AnnData":
    """The cells as a panel would have seen them beside all genes: the others are zero, var says so in `measured`."""
    from scipy.sparse import csr_matrix, diags

    found = cells.copy()
    found.var[MEASURED] = mask
    if not mask.all():
        matrix = csr_matrix(found.X @ diags(mask.astype("float32")))
        matrix.eliminate_zeros()
        found.X = matrix
        _lower_depth(found, cells)
        found.X = _filled_up(found)
    return found


def only_measured(cells: "AnnData") -> "AnnData":
    """The measured genes alone, for a method that can do with fewer genes than it was trained on."""
    if MEASURED not in cells.var or cells.var[MEASURED].all():
        return cells
    return cells[:, cells.var[MEASURED].to_numpy(dtype=bool)].copy()


def _filled_up(cells: "AnnData") -> Any:
    """Values of some genes, so that they sum to the scale of their state again; counts stay as they are."""
    state = str(cells.uns["annobench"]["matrix"])
    return in_state(cells.X, state, state)


def _lower_depth(found: "AnnData", cells: "AnnData") -> None:
    """What was written down of the depth, times the share of the genes that are left; before values are filled up."""
    import numpy as np

    if DEPTH not in cells.obs:
        return
    state = str(cells.uns["annobench"]["matrix"])
    sums = [np.asarray(linear(one.X, state, "float64").sum(axis=1)).ravel() for one in (found, cells)]
    share = np.divide(sums[0], sums[1], out=np.zeros_like(sums[0]), where=sums[1] > 0)
    found.obs[DEPTH] = cells.obs[DEPTH].to_numpy(dtype=float) * share
