"""Nearest neighbours of cells in an embedding: exact, computed once for all families that look at them."""

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from scipy.sparse import csr_matrix

NEIGHBOURS = 199  # the most that a family looks at: entropy, with the cell itself 200
_BISECTIONS = 64
_TOLERANCE = 1e-5
_SMALLEST = 1e-3  # of a mean distance: the least bandwidth of a cell


class Neighbours(NamedTuple):
    """The nearest other cells of every cell, nearest first.

    Parameters
    ----------
    indices
        (n, k) int32. A cell is no neighbour of itself, also where others lie at the same point.
    distances
        (n, k) float32, Euclidean.
    """

    indices: "NDArray[np.int32]"
    distances: "NDArray[np.float32]"

    def nearest(self, k: int) -> "Neighbours":
        """The k nearest of them; all, where there are fewer."""
        return Neighbours(self.indices[:, :k], self.distances[:, :k])


def nearest_neighbours(points: "NDArray[np.floating]", k: int = NEIGHBOURS) -> Neighbours:
    """Find the k nearest other cells of every cell, by comparing all pairs.

    Memory grows with n k, not with n squared.

    Parameters
    ----------
    points
        (n, dimensions) an embedding.
    k
        Neighbours; n - 1 where there are fewer other cells.

    Raises
    ------
    ValueError
        For fewer than two cells.
    """
    from sklearn.neighbors import NearestNeighbors

    n = len(points)
    if n < 2:
        raise ValueError(f"neighbours of {n} cells: expected two cells at least")
    index = NearestNeighbors(n_neighbors=min(k, n - 1), algorithm="brute").fit(np.ascontiguousarray(points))
    distances, indices = index.kneighbors()
    return Neighbours(indices.astype(np.int32), distances.astype(np.float32))


def fuzzy_graph(neighbours: Neighbours, k: int) -> "csr_matrix":
    """The weighted graph of UMAP, symmetric, (n, n), which scanpy's `pp.neighbors` gives to Leiden.

    The weight of an edge is exp(-(d - rho) / sigma), rho the smallest distance that is not zero, sigma such that the
    weights of a cell add up to log2 k; a and b, the weights in both directions, become a + b - a b.

    Parameters
    ----------
    neighbours
        At least k - 1 of every cell.
    k
        Neighbours, the cell itself among them.

    References
    ----------
    McInnes, Healy and Melville (2018), arXiv:1802.03426, algorithm 3.
    """
    from scipy.sparse import csr_matrix

    indices, distances = neighbours.nearest(k - 1)
    n, others = indices.shape
    d = distances.astype(np.float64)
    positive = np.where(d > 0, d, np.inf)
    rho = positive.min(axis=1, initial=np.inf)
    rho[~np.isfinite(rho)] = 0
    beyond = np.maximum(d - rho[:, None], 0)
    sigma = _bandwidths(beyond, np.log2(k))
    own, every = d.sum(axis=1) / (others + 1), d.sum() / (n * (others + 1))
    sigma = np.maximum(sigma, _SMALLEST * np.where(rho > 0, own, every))
    weights = np.where((beyond <= 0) | (sigma == 0)[:, None], 1.0, np.exp(-beyond / np.maximum(sigma, 1e-300)[:, None]))
    graph = csr_matrix((weights.ravel(), indices.ravel(), np.arange(n + 1) * others), shape=(n, n))
    graph.sum_duplicates()
    other = graph.T.tocsr()
    return csr_matrix(graph + other - graph.multiply(other))


def _bandwidths(beyond: "NDArray[np.float64]", target: float) -> "NDArray[np.float64]":
    """For every cell the sigma at which the sum of exp(-d / sigma) over its neighbours is `target`, by bisection."""
    n = len(beyond)
    low, high, sigma = np.zeros(n), np.full(n, np.inf), np.ones(n)
    open_rows = np.arange(n)
    for _ in range(_BISECTIONS):
        rows = open_rows
        with np.errstate(over="ignore"):
            total = np.exp(-beyond[rows] / sigma[rows, None]).sum(axis=1)
        open_rows = rows[np.abs(total - target) >= _TOLERANCE]
        if not len(open_rows):
            break
        rows, more = open_rows, total[np.abs(total - target) >= _TOLERANCE] > target
        high[rows] = np.where(more, sigma[rows], high[rows])
        low[rows] = np.where(more, low[rows], sigma[rows])
        sigma[rows] = np.where(np.isinf(high[rows]), sigma[rows] * 2, (low[rows] + high[rows]) / 2)
    return sigma
