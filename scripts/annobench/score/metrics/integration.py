"""How well an embedding mixes batches (or organisms), and keeps labels together, in the neighbourhoods of its cells.

- entropy_per_cell: entropy of the batches among the 200 nearest cells, the cell itself among them, over the logarithm
  of the number of batches; mean over cells. Perfect mixing gives less than 1 where batches differ in size. As
  cz-benchmarks has it, but of exact neighbours.
- ilisi, clisi: effective number of batches, or of labels, among the 90 nearest cells, by the inverse Simpson index with
  Gaussian weights of perplexity 30 (Korsunsky et al. 2019); median over cells, scaled so that 1 is best: all batches
  mixed, or one label only.
- graph_connectivity: share of the cells of a label in its largest strongly connected part of the graph of the 15
  nearest cells, mean over labels (Luecken et al. 2022).

The last three are those of scib-metrics. None of the first two knows labels: an embedding of pure noise mixes batches
perfectly. The audit says so in every evaluation.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from annobench.cells.neighbours import Neighbours
from annobench.score.evidence import Evidence
from annobench.score.metric import Family, Metric, Row
from annobench.score.metrics.shared.columns import CellsWith, cells_with
from annobench.score.metrics.shared.sums import mean_over_cells

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    Array = NDArray[np.float64]

ENTROPY_K = 200  # neighbours, the cell itself among them
LISI_K = 90
GRAPH_K = 15
_STEPS, _TOLERANCE = 50, 1e-5
_ROWS = 20_000  # cells whose weights are computed at once

METRICS = [
    Metric(
        name="entropy_per_cell",
        label="batch entropy",
        meaning="entropy of the batches around a cell, over the largest possible",
        low=0,
        high=1,
        best=1,
        needs=("batch",),
        from_sums=mean_over_cells,
    ),
    Metric(
        name="ilisi",
        label="iLISI",
        meaning="effective number of batches around a cell, scaled",
        low=0,
        high=1,
        best=1,
        needs=("batch",),
    ),
    Metric(
        name="clisi",
        label="cLISI",
        meaning="effective number of labels around a cell, scaled so that one label is best",
        low=0,
        high=1,
        best=1,
    ),
    Metric(
        name="graph_connectivity",
        label="graph connectivity",
        meaning="share of the cells of a label that its neighbour graph connects",
        low=0,
        high=1,
        best=1,
    ),
]


def entropies(neighbours: Neighbours, batches: "NDArray[np.integer]") -> "Array":
    """Entropy of the batches around every cell, over the logarithm of the number of batches, (n,).

    Parameters
    ----------
    neighbours
        Of every cell; the nearest 199 count, and the cell itself.
    batches
        (n,) numbers from 0 on; every number occurs.

    Raises
    ------
    ValueError
        For one batch, whose entropy is always 0.
    """
    size = _checked(batches, "batch")
    near = neighbours.nearest(ENTROPY_K - 1).indices
    n, k = near.shape
    total = np.zeros(n)
    for batch in range(size):
        share = ((batches[near] == batch).sum(axis=1) + (batches == batch)) / (k + 1)
        total -= share * np.log(share, out=np.zeros(n), where=share > 0)
    return total / np.log(size)


def lisi(neighbours: Neighbours, groups: "NDArray[np.integer]") -> "Array":
    """Effective number of groups around every cell: the inverse Simpson index, (n,).

    Parameters
    ----------
    neighbours
        Of every cell; the nearest 89 count. Perplexity is a third of one more, rounded down.
    groups
        (n,) numbers from 0 on.
    """
    indices, distances = neighbours.nearest(LISI_K - 1)
    perplexity = max(1, (indices.shape[1] + 1) // 3)
    found = np.empty(len(indices))
    for start in range(0, len(indices), _ROWS):
        rows = slice(start, start + _ROWS)
        weights = _gaussian_weights(distances[rows].astype(np.float64), perplexity)
        n, size = len(weights), int(groups.max()) + 1
        place = (np.arange(n)[:, None] * size + groups[indices[rows]]).ravel()
        shares = np.bincount(place, weights.ravel(), n * size).reshape(n, size)
        found[rows] = 1 / np.square(shares).sum(axis=1)
    return found


def _gaussian_weights(distances: "Array", perplexity: float) -> "Array":
    """Weights exp(-beta d), normalised, whose entropy is the logarithm of the perplexity, by bisection of beta."""
    n, target = len(distances), np.log(perplexity)
    shifted = distances - distances.min(axis=1, keepdims=True)  # the same weights, and none that all vanish
    beta, low, high = np.ones(n), np.full(n, -np.inf), np.full(n, np.inf)
    weights, entropy = np.empty_like(distances), np.empty(n)
    rows = np.arange(n)
    for _ in range(_STEPS + 1):
        d = shifted[rows]
        w = np.exp(-d * beta[rows, None])
        total = w.sum(axis=1, keepdims=True)
        w /= total
        weights[rows] = w
        entropy[rows] = np.log(total[:, 0]) + beta[rows] * (d * w).sum(axis=1)
        rows = rows[np.abs(entropy[rows] - target) >= _TOLERANCE]
        if not len(rows):
            break
        wide = entropy[rows] > target
        low[rows] = np.where(wide, beta[rows], low[rows])
        high[rows] = np.where(wide, high[rows], beta[rows])
        b, lo, hi = beta[rows], low[rows], high[rows]
        beta[rows] = np.where(
            wide, np.where(np.isinf(hi), b * 2, (b + hi) / 2), np.where(np.isinf(lo), b / 2, (b + lo) / 2)
        )
    return weights


def mixing(neighbours: Neighbours, batches: "NDArray[np.integer]") -> float:
    """iLISI, scaled: (median - 1) / (batches - 1). Raises ValueError for one batch."""
    size = _checked(batches, "batch")
    return (float(np.median(lisi(neighbours, batches))) - 1) / (size - 1)


def purity(neighbours: Neighbours, labels: "NDArray[np.integer]") -> float:
    """cLISI, scaled: (labels - median) / (labels - 1). Raises ValueError for one label."""
    size = _checked(labels, "label")
    return (size - float(np.median(lisi(neighbours, labels)))) / (size - 1)


def connectivities(neighbours: Neighbours, labels: "NDArray[np.integer]") -> "Array":
    """Share of the cells of every label in its largest strongly connected part, (labels,); every number occurs."""
    from scipy.sparse import csr_matrix
    from scipy.sparse.csgraph import connected_components

    near = neighbours.nearest(GRAPH_K - 1).indices
    n, k = near.shape
    inside = labels[near] == labels[:, None]  # parts of the labels, all at once: no edge leaves a label
    row = np.repeat(np.arange(n), k)[inside.ravel()]
    graph = csr_matrix((np.ones(len(row), np.int8), (row, near[inside])), shape=(n, n))
    _, part = connected_components(graph, connection="strong")
    largest = np.zeros(int(labels.max()) + 1)
    np.maximum.at(largest, labels, np.bincount(part)[part])
    return largest / np.bincount(labels)


def _checked(groups: "NDArray[np.integer]", name: str) -> int:
    """Number of groups; raises ValueError for one."""
    size = len(np.unique(groups))
    if size < 2:
        raise ValueError(f"all cells have one {name}, two are needed")
    return size


def _entropies(evidence: Evidence) -> "tuple[CellsWith, Array] | None":
    """Cells with a batch, and the entropies around them; None where there is one batch only, or too few cells."""
    part = cells_with(evidence, "batch") if "batch" in evidence.has else None
    if part is None or len(part.cells) <= ENTROPY_K:  # then every cell is a neighbour of every other one
        return None
    return part, evidence.once("entropies", lambda: entropies(part.neighbours, part.codes))


def unit_sums(evidence: Evidence) -> "dict[str, Mapping[str, Array]]":
    """Sums of the entropies over the cells of every unit."""
    found = _entropies(evidence)
    if found is None:
        return {}
    part, values = found
    every, one = np.zeros(len(evidence.embedding)), np.zeros(len(evidence.embedding))
    every[part.cells], one[part.cells] = values, 1
    return {"entropy_per_cell": {"sum": evidence.units.sum(every), "n": evidence.units.sum(one)}}


def compute(evidence: Evidence) -> Iterator[Row]:
    """What batches and labels allow; the log says what has no value."""
    neighbours, labels, n = evidence.neighbours, evidence.label_codes, len(evidence.embedding)

    def row(metric: str, value: float, cells: int = n) -> Row:
        return Row("integration", metric, "-", "overall", "all", value, cells)

    if found := _entropies(evidence):
        yield row("entropy_per_cell", float(found[1].mean()), len(found[1]))
    else:
        print(f"entropy_per_cell: needs two batches and more than {ENTROPY_K} cells", flush=True)
    if "batch" in evidence.has and (part := cells_with(evidence, "batch")):
        yield row("ilisi", mixing(part.neighbours, part.codes), len(part.cells))
    if len(evidence.label_names) > 1:
        yield row("clisi", purity(neighbours, labels))
    else:
        print("clisi: the cells have one label only, two are needed", flush=True)
    of_labels = connectivities(neighbours, labels)
    yield row("graph_connectivity", float(of_labels.mean()))
    for name, value, cells in zip(evidence.label_names, of_labels, np.bincount(labels), strict=True):
        yield Row("integration", "graph_connectivity", "-", "class", name, float(value), int(cells))


FAMILY = Family(
    "integration",
    tuple(METRICS),
    needs=("embedding", "labels"),
    compute=compute,
    order=22,
    unit_sums=unit_sums,
    on_request=True,
)
