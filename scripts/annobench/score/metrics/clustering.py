"""Clustering of an embedding, against the labels.

Leiden communities of the weighted graph of the 15 nearest neighbours (modularity, 2 iterations), as scanpy's
`pp.neighbors` and `tl.leiden(flavor="igraph")` make them, but of exact neighbours. Values are means over several seeds
of Leiden; a sweep over resolutions is an option.

- clustering_ari: adjusted Rand index of clusters and labels (Hubert and Arabie 1985).
- clustering_nmi: normalised mutual information, by the arithmetic mean of the entropies.
- clusters: number of clusters.

Source of the defaults: cz-benchmarks 0.15.1, which takes one seed.
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from annobench.score.evidence import Evidence
from annobench.score.metric import INFINITE, Family, Metric, Row
from annobench.score.neighbours import Neighbours, fuzzy_graph

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from scipy.sparse import csr_matrix

K = 15  # neighbours, the cell itself among them
ITERATIONS = 2


@dataclass(frozen=True)
class Options:
    """Options of the family.

    Parameters
    ----------
    seeds
        Seeds of Leiden, over which values are means.
    resolution
        At which the embedding is scored.
    sweep
        Further resolutions, which have rows of their own.
    """

    seeds: int = 3
    resolution: float = 1.0
    sweep: tuple[float, ...] = ()


METRICS = [
    Metric(
        name="clustering_ari",
        label="clustering ARI",
        meaning="adjusted Rand index of Leiden clusters and labels",
        low=-1,
        high=1,
        best=1,
    ),
    Metric(
        name="clustering_nmi",
        label="clustering NMI",
        meaning="normalised mutual information of Leiden clusters and labels",
        low=0,
        high=1,
        best=1,
    ),
    Metric(
        name="clusters",
        label="clusters",
        meaning="number of Leiden clusters",
        low=1,
        high=INFINITE,
        best=None,
    ),
]


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


def agreement(clusters: "NDArray[np.integer]", labels: "NDArray[np.integer]") -> dict[str, float]:
    """ARI, NMI and the number of clusters.

    Parameters
    ----------
    clusters, labels
        (n,) numbers.
    """
    from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

    return {
        "clustering_ari": float(adjusted_rand_score(labels, clusters)),
        "clustering_nmi": float(normalized_mutual_info_score(labels, clusters)),
        "clusters": float(len(np.unique(clusters))),
    }


def clustering(
    neighbours: Neighbours,
    labels: "NDArray[np.integer]",
    *,
    seeds: Sequence[int],
    resolutions: Sequence[float] = (1.0,),
) -> dict[float, dict[int, dict[str, float]]]:
    """Agreement of clusters and labels: resolution -> seed -> metric -> value.

    Parameters
    ----------
    neighbours
        14 at least of every cell, or all others.
    labels
        (n,) numbers.
    seeds, resolutions
        Of Leiden.
    """
    graph = fuzzy_graph(neighbours, K)
    return {
        resolution: {seed: agreement(leiden(graph, seed=seed, resolution=resolution), labels) for seed in seeds}
        for resolution in resolutions
    }


def compute(evidence: Evidence) -> Iterator[Row]:
    """The mean over seeds; and, of a sweep, of every resolution."""
    options = evidence.options("clustering", Options())
    n, start = len(evidence.embedding), evidence.seed
    seeds = [start + i for i in range(options.seeds)]
    resolutions = list(dict.fromkeys([options.resolution, *options.sweep]))
    labels = evidence.label_codes
    found = clustering(evidence.neighbours, labels, seeds=seeds, resolutions=resolutions)
    for resolution, of_seeds in found.items():
        for metric in METRICS:
            value = float(np.mean([values[metric.name] for values in of_seeds.values()]))
            if resolution == options.resolution:
                yield Row("clustering", metric.name, "-", "overall", "all", value, n)
            if options.sweep:
                yield Row("clustering", metric.name, "-", "resolution", f"{resolution:g}", value, n)


FAMILY = Family("clustering", tuple(METRICS), needs=("embedding", "labels"), compute=compute, order=20, on_request=True)
