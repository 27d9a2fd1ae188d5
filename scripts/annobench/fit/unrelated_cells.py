"""Unrelated cells, of which a trained method should not be confident: noise, shuffled cells, another tissue.

They have the sequencing depth of query cells, so that depth alone does not give them away:

- `noise`: draws from the mean expression of the query; every cell is an average cell, of no type;
- `shuffled`: cells of the query with their values permuted over the measured genes;
- `unrelated_tissue`: cells of another dataset over the measured genes, thinned to the depth of query cells. Cells of a
  training class, or of an ancestor or descendant of one, are left out, because a label may be right for them;
- `doublets`, where a study asks for them: sums of two training cells of different types, thinned to that depth. No
  label is right for both.
"""

from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

from annobench.cells.expression import in_state, linear
from annobench.cells.genes import shared_genes
from annobench.cells.panel import DEPTH, measured
from annobench.cells.stored_cells import is_stored, read_cells, some_cells
from annobench.fit.decisions import UNRELATED
from annobench.ontology.graph import ROOT, UNKNOWN

if TYPE_CHECKING:
    import numpy as np
    from anndata import AnnData
    from numpy.typing import NDArray
    from scipy.sparse import csr_matrix

    from annobench.cells.stored_cells import StoredCells
    from annobench.ontology import Ontology

_SAMPLED = 5000  # cells of a store that represent all of it: mean, depths, cells of another tissue
_MIN_COUNTS = 10  # cells with fewer counts are not used


def unrelated_cells(
    query: "AnnData | StoredCells", path: Path | None, classes: Collection[str], ontology: "Ontology", seed: int
) -> dict[str, "AnnData"]:
    """Make unrelated cells for a query.

    Parameters
    ----------
    query
        Test cells.
    path
        cells.h5ad of another tissue; None where there is none.
    classes
        Training classes.
    ontology
        Relations between the classes.
    seed
        Seed of all draws.

    Returns
    -------
    Kind -> cells with the genes and the state of the query; a kind without cells is left out.
    """
    import numpy as np
    from scipy.sparse import csr_matrix

    rng = np.random.default_rng([seed, 0xF0])
    if is_stored(query):
        query = some_cells(query, np.sort(rng.permutation(query.n_obs)[:_SAMPLED]))
    state = str(query.uns["annobench"]["matrix"])
    genes = measured(query.var, None)
    profiles = linear(query.X[:, genes], state)  # sparse: only cells that are drawn become dense
    depth = _depth(query, profiles)
    usable = np.flatnonzero(depth >= _MIN_COUNTS)
    if len(usable) == 0:
        return {}
    chosen = usable[rng.integers(0, len(usable), UNRELATED)]
    mean = np.asarray(profiles[usable].sum(axis=0, dtype=np.float64)).ravel()
    drawn = {  # sparse at once: of many genes few are not 0
        "noise": csr_matrix(rng.multinomial(depth[chosen], mean / mean.sum()).astype(np.float32)),
        "shuffled": csr_matrix(np.stack([rng.permutation(row) for row in profiles[chosen].toarray()])),
    }
    other = _other_tissue(query, genes, path, classes, ontology=ontology, seed=seed) if path else None
    if other is not None:
        cells = other[rng.permutation(other.shape[0])[:UNRELATED]].toarray()
        wanted = depth[rng.choice(usable, len(cells))]
        thinned = np.stack([_thinned(cell, n, rng) for cell, n in zip(cells, wanted, strict=True)])
        drawn["unrelated_tissue"] = csr_matrix(thinned)
    expressed = {kind: values[np.diff(values.indptr) > 0] for kind, values in drawn.items()}
    return {kind: _like(query, genes, values, kind, state) for kind, values in expressed.items() if values.shape[0]}


def simulated_doublets(train: "AnnData | StoredCells", query: "AnnData | StoredCells", seed: int) -> "AnnData | None":
    """Doublets of training cells, as query cells look.

    Two cells are drawn of two types that are drawn first, so that frequent types are in no more doublets than others.
    Their expression is added at equal depth where values are logarithmic, and as it was counted where they are counts.

    Parameters
    ----------
    train
        Training cells with `label_id`, over the genes of the query.
    query
        Test cells, whose depths and measured genes the doublets have.
    seed
        Seed of all draws.

    Returns
    -------
    Cells like those of `unrelated_cells`; None where the training cells are of one type, or no cell has enough counts.
    """
    import numpy as np
    from scipy.sparse import csr_matrix

    rng = np.random.default_rng([seed, 0xD0])
    train, query = (
        some_cells(cells, np.sort(rng.permutation(cells.n_obs)[:_SAMPLED])) if is_stored(cells) else cells
        for cells in (train, query)
    )
    state, genes = str(query.uns["annobench"]["matrix"]), measured(query.var, None)
    depth = _depth(query, linear(query.X[:, genes], state))
    usable = depth[depth >= _MIN_COUNTS]
    labels = train.obs["label_id"].astype(str).to_numpy()
    types = sorted(set(labels) - {UNKNOWN})
    if len(types) < 2 or not len(usable):
        return None
    members = [np.flatnonzero(labels == label) for label in types]
    pairs = [rng.choice(len(types), 2, replace=False) for _ in range(UNRELATED)]
    chosen = np.array([[rng.choice(members[one]) for one in pair] for pair in pairs])
    first, second = (linear(train.X[rows][:, genes], state).toarray() for rows in chosen.T)
    sums = first + second
    there = np.flatnonzero(sums.sum(axis=1) >= (_MIN_COUNTS if state == "counts" else 1e-9))
    if not len(there):
        return None
    # values of a logarithmic state are shares of a cell: a draw of any depth can be made of them
    scale = 1.0 if state == "counts" else float(usable.max())
    wanted = usable[rng.integers(0, len(usable), len(there))]
    thinned = np.stack([_thinned(cell * scale, n, rng) for cell, n in zip(sums[there], wanted, strict=True)])
    return _like(query, genes, csr_matrix(thinned), "doublets", state)


def _depth(query: "AnnData", profiles: "csr_matrix") -> "NDArray[np.int64]":
    """Counts of every query cell over the measured genes.

    Of logarithmic values: what was recorded when the pair was prepared, else the counts at which the smallest value of
    a cell is one count.
    """
    import numpy as np

    sums = np.asarray(profiles.sum(axis=1, dtype=np.float64)).ravel()
    if str(query.uns["annobench"]["matrix"]) == "counts":
        return sums.astype(np.int64)
    if DEPTH in query.obs and np.isfinite(query.obs[DEPTH].astype(float)).all():
        return query.obs[DEPTH].to_numpy(dtype=float).round().astype(np.int64)
    smallest = np.full(len(sums), np.inf)
    np.minimum.at(smallest, np.repeat(np.arange(len(sums)), np.diff(profiles.indptr)), profiles.data)
    return np.divide(sums, smallest, out=np.zeros_like(sums), where=sums > 0).round().astype(np.int64)


def _other_tissue(
    query: "AnnData",
    genes: "NDArray[np.bool_]",
    path: Path,
    classes: Collection[str],
    *,
    ontology: "Ontology",
    seed: int,
) -> "csr_matrix | None":
    """Cells of another dataset over the measured genes of the query, (cells, genes); absent genes are zero."""
    import numpy as np
    from scipy.sparse import csr_matrix

    other = read_cells(path, at_most=_SAMPLED, seed=seed)
    labels = other.obs["label_id"].astype(str)
    related = {label for known in classes for label in ontology.ancestors(known)} - {ROOT}
    known = {label for label in set(labels) if ({label} | ontology.ancestors(label)) & set(classes)} | {"unknown"}
    known |= related  # a cell labelled T cell may be one of the trained subtypes
    other = other[(~labels.isin(known)).to_numpy()]
    own, theirs = shared_genes([query.var[genes], other.var])
    if other.n_obs == 0 or not own:
        return None
    values = linear(other.X[:, theirs], str(other.uns["annobench"]["matrix"])).tocoo()
    place = np.asarray(own)[values.col]
    moved = csr_matrix((values.data, (values.row, place)), shape=(other.n_obs, int(genes.sum())))
    moved = moved[np.asarray(moved.sum(axis=1)).ravel() >= _MIN_COUNTS]
    return moved if moved.shape[0] else None


def _thinned(cell: "NDArray[np.floating]", depth: int, rng: "np.random.Generator") -> "NDArray[np.float32]":
    """A draw of at most `depth` counts from the expression of a cell."""
    import numpy as np

    total = float(cell.sum())
    return rng.multinomial(
        int(min(depth, total)), (cell / total).astype(np.float64) / (cell / total).sum(dtype=np.float64)
    ).astype(np.float32)


def _like(query: "AnnData", genes: "NDArray[np.bool_]", values: "csr_matrix", kind: str, state: str) -> "AnnData":
    """Cells with the genes, the state and the columns of the query."""
    import numpy as np
    import pandas as pd
    from anndata import AnnData
    from scipy.sparse import csr_matrix

    count = values.shape[0]
    columns = np.flatnonzero(genes).astype(values.indices.dtype)[values.indices]
    placed = csr_matrix((values.data.astype(np.float32), columns, values.indptr), shape=(count, query.n_vars))
    names = pd.Index([f"{kind}:{i}" for i in range(count)], name=query.obs.index.name)
    obs = pd.DataFrame(dict.fromkeys(query.obs.columns, "unknown"), index=names)
    cells = AnnData(in_state(placed, state), obs=obs, var=query.var.copy())
    cells.uns["annobench"] = dict(query.uns["annobench"])
    return cells
