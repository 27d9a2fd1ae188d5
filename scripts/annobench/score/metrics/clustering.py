"""Clustering of an embedding, against the labels.

Leiden communities of the weighted graph of the 15 nearest neighbours (modularity, 2 iterations), as scanpy's
`pp.neighbors` and `tl.leiden(flavor="igraph")` make them, but of exact neighbours. Values are means over several seeds
of Leiden; a sweep over resolutions is an option.

- clustering_ari: adjusted Rand index of clusters and labels (Hubert and Arabie 1985).
- clustering_nmi: normalised mutual information, by the arithmetic mean of the entropies.
- clusters: number of clusters.

Source of the defaults: cz-benchmarks 0.15.1, which takes one seed.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from annobench.cells.leiden import leiden
from annobench.cells.neighbours import Neighbours, fuzzy_graph
from annobench.score.evidence import Evidence
from annobench.score.metric import INFINITE, Family, Metric, Row

if TYPE_CHECKING:
    from numpy.typing import NDArray

K = 15  # neighbours, the cell itself among them


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
