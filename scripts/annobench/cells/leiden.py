"""Leiden: communities of a graph of neighbours, and clusters of cells by their expression alone."""

import random
from typing import TYPE_CHECKING

import numpy as np

from annobench.cells.neighbours import fuzzy_graph, nearest_neighbours

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from scipy.sparse import csr_matrix

ITERATIONS = 2
NEIGHBOURS = 15  # the cell itself among them
_GENES, _COMPONENTS = 2000, 50
# cells below which a resolution is taken: many small clusters, so that a vote mixes few types (as CellTypist does)
_RESOLUTIONS = ((5_000, 5.0), (20_000, 10.0), (40_000, 15.0), (100_000, 20.0), (200_000, 25.0))
_HIGHEST = 30.0


class _Random:
    """Numbers that igraph draws, by the generator that scanpy gives it: equal seeds give equal clusters."""

    def __init__(self, seed: int) -> None:
        self._numbers = np.random.RandomState(seed)
        self.random, self.gauss = self._numbers.random, self._numbers.normal

    def getrandbits(self, bits: int) -> int:
        """A number of some bits."""
        return int(self._numbers.tomaxint()) % 2**bits

    def randint(self, low: int, high: int) -> int:
        """A number from low to high, both included."""
        return int(self._numbers.randint(low, high + 1))


def leiden(
    graph: "csr_matrix", *, seed: int, resolution: float = 1.0, iterations: int = ITERATIONS
) -> "NDArray[np.int32]":
    """Communities of a weighted graph.

    Parameters
    ----------
    graph
        (n, n) symmetric weights.
    seed
        Of the order in which cells are moved.
    resolution
        Of the modularity; larger values give more communities.
    iterations
        Passes of the algorithm.

    Returns
    -------
    (n,) number of the community of every cell.

    References
    ----------
    Traag, Waltman and van Eck (2019), Scientific Reports 9, 5233.
    """
    import igraph

    # both directions of an edge are given, as scanpy does: all weights are doubled alike
    edges = graph.sorted_indices().tocoo()
    network = igraph.Graph(n=graph.shape[0], edges=np.column_stack([edges.row, edges.col]), directed=False)
    igraph.set_random_number_generator(_Random(seed))
    try:
        found = network.community_leiden(
            objective_function="modularity", weights=edges.data, resolution=resolution, n_iterations=iterations
        )
    finally:
        igraph.set_random_number_generator(random)
    return np.array(found.membership, dtype=np.int32)


def cell_clusters(expression: "csr_matrix", *, seed: int, resolution: float | None = None) -> "NDArray[np.int32]":
    """Clusters of cells: Leiden on the neighbours among the principal components of their variable genes.

    Equal cells, in equal order, have equal clusters with equal seeds.

    Parameters
    ----------
    expression
        (n, genes) log1p of normalised counts.
    seed
        Of the components and of Leiden.
    resolution
        Of the modularity; by default one that gives many small clusters, 5 below 5,000 cells to 30 above 200,000.

    Returns
    -------
    (n,) number of the cluster of every cell.
    """
    from sklearn.decomposition import PCA

    n = expression.shape[0]
    if n < 3:
        return np.arange(n, dtype=np.int32)
    means = np.asarray(expression.mean(axis=0)).ravel()
    squares = np.asarray(expression.multiply(expression).mean(axis=0)).ravel()
    variable = np.sort(np.argsort(means**2 - squares, kind="stable")[:_GENES])
    dense = expression[:, variable].toarray()
    size = min(_COMPONENTS, *(side - 1 for side in dense.shape))
    if size < 1:
        return np.zeros(n, dtype=np.int32)
    points = PCA(size, svd_solver="arpack", random_state=seed).fit_transform(dense.astype(np.float64))
    k = min(NEIGHBOURS, n)
    graph = fuzzy_graph(nearest_neighbours(points, k - 1), k)
    if resolution is None:
        resolution = next((value for cells, value in _RESOLUTIONS if n < cells), _HIGHEST)
    return leiden(graph, seed=seed, resolution=resolution)
