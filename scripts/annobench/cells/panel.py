"""Genes of a dataset that a panel measures, and cells restricted to them.

Genes are matched by Ensembl id where both sides have one, else by symbol (`annobench.cells.genes`).
"""

from pathlib import Path
from typing import TYPE_CHECKING

from annobench.cells.expression import in_state, linear
from annobench.cells.genes import shared_genes
from annobench.core.errors import MethodSkipped

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from anndata import AnnData
    from numpy.typing import NDArray

    from annobench.cells.expression import Values

MEASURED = "measured"  # column of var: whether the query measures the gene; without it, all are measured
DEPTH = "total_counts"  # column of obs: counts of a cell over the genes of a prepared pair


def measured(var: "pd.DataFrame", panel: Path | None) -> "NDArray[np.bool_]":
    """Which genes the query measures.

    Parameters
    ----------
    var
        Table of the genes, (genes,).
    panel
        CSV of a panel; None for all genes that the query has.

    Returns
    -------
    Mask (genes,).

    Raises
    ------
    MethodSkipped
        Where no gene is left; with the overlap both ways.
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
    """The cells over some of their genes, (cells, mask.sum()); logarithmic values sum to their scale again."""
    part = cells[:, mask].copy()
    if not mask.all():
        _lower_depth(part, cells)
        part.X = _rescaled(part)
    return part


def hidden(cells: "AnnData", mask: "NDArray[np.bool_]") -> "AnnData":
    """The cells as a panel would see them, over all genes: those not measured are zero, and var `measured` says so."""
    from scipy.sparse import csr_matrix, diags

    seen = cells.copy()
    seen.var[MEASURED] = mask
    if not mask.all():
        matrix = csr_matrix(seen.X @ diags(mask.astype("float32")))
        matrix.eliminate_zeros()
        seen.X = matrix
        _lower_depth(seen, cells)
        seen.X = _rescaled(seen)
    return seen


def only_measured(cells: "AnnData") -> "AnnData":
    """The cells over the measured genes, for a method that can predict from fewer genes than it was trained on."""
    if MEASURED not in cells.var or cells.var[MEASURED].all():
        return cells
    return cells[:, cells.var[MEASURED].to_numpy(dtype=bool)].copy()


def _rescaled(cells: "AnnData") -> "Values":
    """Values of some genes that sum to the scale of their state again; counts stay as they are."""
    state = str(cells.uns["annobench"]["matrix"])
    return in_state(cells.X, state, state)


def _lower_depth(part: "AnnData", cells: "AnnData") -> None:
    """Reduce the recorded depth by the share of a cell's counts that is left; before values are rescaled."""
    import numpy as np

    if DEPTH not in cells.obs:
        return
    state = str(cells.uns["annobench"]["matrix"])
    sums = [np.asarray(linear(one.X, state, "float64").sum(axis=1)).ravel() for one in (part, cells)]
    share = np.divide(sums[0], sums[1], out=np.zeros_like(sums[0]), where=sums[1] > 0)
    part.obs[DEPTH] = cells.obs[DEPTH].to_numpy(dtype=float) * share
