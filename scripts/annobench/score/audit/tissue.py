"""A model of an unrelated tissue, as somebody would use it by mistake: the control `unrelated_tissue`."""

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from annobench.config.names import SAMPLE

if TYPE_CHECKING:
    from anndata import AnnData
    from numpy.typing import NDArray

CELLS = 2000
GENES = 2000
_MIN_CELLS = 10
_CLIP = 10  # of standardised values, as in CellTypist


@dataclass
class TissueModel:
    """A model of an unrelated tissue, applied to query cells and to held-out cells of its own tissue.

    Parameters
    ----------
    classes
        Its classes.
    decisions
        (cells, classes) decision values of the query cells.
    validation, right
        (held out, classes) decision values of held-out cells, and whether each is predicted right.
    """

    classes: list[str]
    decisions: "NDArray[np.float64]"
    validation: "NDArray[np.float64]"
    right: "NDArray[np.bool_]"


def train_on(path: Path, query: "AnnData", seed: int) -> "TissueModel | None":
    """Train one-against-rest logistic regression by stochastic gradient descent, as CellTypist does.

    Parameters
    ----------
    path
        cells.h5ad of the unrelated tissue. At most 2,000 cells are used, of which a fifth is held out.
    query
        Cells to annotate, with their measured genes. At most 2,000 variable genes are used that both have.
    seed
        Of the choice of cells and the training.

    Returns
    -------
    The model, applied; None where fewer than two classes or two genes are left.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import SGDClassifier
    from sklearn.preprocessing import StandardScaler

    from annobench.cells.expression import log_normalised, variable_genes
    from annobench.cells.genes import shared_genes
    from annobench.cells.stored_cells import read_cells

    other = read_cells(path, at_most=SAMPLE, seed=seed)
    rng = np.random.default_rng([seed, 0x71])
    labels = other.obs["label_id"].astype(str)
    known = labels[labels != "unknown"].value_counts()
    usable = np.flatnonzero(labels.isin(known.index[known >= _MIN_CELLS]).to_numpy())
    usable = rng.permutation(usable)[:CELLS]
    own, theirs = shared_genes([query.var, other.var])
    if len(own) < 2 or labels.iloc[usable].nunique() < 2:
        return None
    values = log_normalised(other[usable][:, theirs])
    genes = variable_genes(values, GENES)
    asked = log_normalised(query[:, own])[:, genes].toarray()
    scaler = StandardScaler()
    held_out = np.arange(len(usable)) < len(usable) // 5
    dense, truth = values[:, genes].toarray(), labels.iloc[usable].to_numpy()
    train = np.minimum(scaler.fit_transform(dense[~held_out]), _CLIP)
    model = SGDClassifier(loss="log_loss", alpha=1e-4, random_state=seed, max_iter=50)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # a bad model is what is wanted, at a fixed price
        model.fit(train, truth[~held_out])

    def decisions(cells: "NDArray[np.floating]") -> "NDArray[np.float64]":
        values = model.decision_function(np.minimum(scaler.transform(cells), _CLIP))
        return np.column_stack([-values, values]) if values.ndim == 1 else values

    validation = decisions(dense[held_out])
    right = model.classes_[validation.argmax(axis=1)] == truth[held_out]
    return TissueModel(list(map(str, model.classes_)), decisions(asked), validation, right)
