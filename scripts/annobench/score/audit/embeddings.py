"""Embeddings whose worth is known: what families of embeddings are computed on beside those of the methods.

- `oracle`: a corner for every label, and a little noise; nothing else. For metrics of an order, the position of the
  cell.
- `shuffled`: the embedding of the first method, its cells exchanged: the same shape, but nothing is where it was.
- `noise`: draws from a normal distribution.
- `batch_alone`: a corner for every batch, and a little noise; nothing else.
- `depth_alone`: the logarithm of the counts of a cell, a single dimension.

A metric of labels that one of the last four wins says nothing of labels. A metric of mixing that noise wins says
nothing by itself: an embedding must keep the labels apart as well.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from annobench.core.parquet import NOT_GIVEN, Categorical
from annobench.score.evidence import Evidence, FitEvidence
from annobench.score.metrics.ordering import positions_of

if TYPE_CHECKING:
    from anndata import AnnData
    from numpy.typing import NDArray

    Points = NDArray[np.float32]

DRAWN = 3000  # cells of a map
DIMENSIONS = 50  # of noise, as many as principal components have
_SPREAD = 0.05  # of a corner, of which the others are at a distance of 1.4


@dataclass(frozen=True)
class EmbeddingBasis:
    """What control embeddings are made from.

    Parameters
    ----------
    like
        Evidence of the first method with an embedding, of the same cells.
    query
        Their expression; None where it is not read.
    rng
        Random numbers of the control.
    """

    like: FitEvidence
    query: "AnnData | None"
    rng: "np.random.Generator"

    def corners(self, codes: "NDArray[np.integer]") -> "Points":
        """A corner for every number, and a little noise."""
        points = self.rng.normal(0, _SPREAD, (len(codes), int(codes.max()) + 1))
        points[np.arange(len(codes)), codes] += 1
        return points.astype(np.float32)


def labels_alone(basis: EmbeddingBasis) -> "Points | None":
    """A corner for every label."""
    return basis.corners(basis.like.label_codes)


def positions_alone(basis: EmbeddingBasis) -> "Points":
    """The place of every cell in the order of the evaluation, by rank, and a little noise."""
    column = basis.like.column("order")
    known = positions_of(["nan" if name == NOT_GIVEN else name for name in column.names])
    ranks = np.unique(known, return_inverse=True)[1][column.codes]
    return (ranks + basis.rng.normal(0, _SPREAD, len(ranks))).reshape(-1, 1).astype(np.float32)


def cells_exchanged(basis: EmbeddingBasis) -> "Points | None":
    """The embedding of a method with its cells exchanged."""
    return np.asarray(basis.rng.permutation(basis.like.embedding), dtype=np.float32)


def nothing_but_noise(basis: EmbeddingBasis) -> "Points | None":
    """Normal draws."""
    return basis.rng.standard_normal((len(basis.like.embedding), DIMENSIONS)).astype(np.float32)


def batches_alone(basis: EmbeddingBasis) -> "Points | None":
    """A corner for every batch; None where there is one only."""
    if "batch" not in basis.like.has:
        return None
    codes = np.unique(basis.like.column("batch").codes, return_inverse=True)[1]
    return basis.corners(codes) if codes.max() else None


def depth_alone(basis: EmbeddingBasis) -> "Points | None":
    """The logarithm of the counts; None where the matrix holds no counts."""
    query = basis.query
    if query is None or query.X is None or not query.n_vars or str(query.uns["annobench"]["matrix"]) != "counts":
        return None
    return np.log1p(np.asarray(query.X.sum(axis=1), dtype=np.float64)).reshape(-1, 1).astype(np.float32)


EmbeddingMaker = Callable[[EmbeddingBasis], "Points | None"]


def drawn(points: "Points", seed: int) -> "tuple[NDArray[np.intp], NDArray[np.float64]]":
    """A map of an embedding, by UMAP as igraph computes it.

    Parameters
    ----------
    points
        (n, dimensions).
    seed
        Of the choice of at most 3,000 cells, and of their first places.

    Returns
    -------
    Positions of the cells that are drawn, in order, and (cells, 2) where they lie.
    """
    import igraph

    from annobench.cells.neighbours import nearest_neighbours

    rng = np.random.default_rng([seed, 0xD4])
    cells = np.sort(rng.permutation(len(points))[:DRAWN])
    near = nearest_neighbours(points[cells], 14)
    n, k = near.indices.shape
    edges = np.column_stack([np.repeat(np.arange(n), k), near.indices.ravel()])
    graph = igraph.Graph(n=n, edges=edges, directed=True)
    start = principal_plane(points[cells]) + rng.normal(0, 1e-3, (n, 2))
    layout = graph.layout_umap(dist=near.distances.ravel().tolist(), seed=start.tolist(), min_dist=0.1, epochs=200)
    return cells, np.array(layout.coords)


def principal_plane(points: "Points") -> "NDArray[np.float64]":
    """The first two principal components, (n, 2), scaled to a spread of 1; zeros where there is one dimension."""
    x = points.astype(np.float64) - points.mean(axis=0)
    _, vectors = np.linalg.eigh(x.T @ x)
    plane = x @ vectors[:, ::-1][:, :2]
    plane = np.pad(plane, ((0, 0), (0, 2 - plane.shape[1])))
    return np.asarray(plane / np.maximum(plane.std(axis=0).max(), 1e-12))


class ControlEvidence(Evidence):
    """Evidence of a control: its embedding, and the labels, units and columns of the cells of a fit.

    Parameters
    ----------
    like
        Evidence of a fit on the same cells.
    points
        (n, dimensions) the embedding.
    but
        Evidence that it does not have, so that families that need it do not run.
    """

    def __init__(self, like: FitEvidence, points: "Points", but: Collection[str] = ()) -> None:
        self.has = (like.has & {"labels", "batch", "order", "organism"} - set(but)) | {"embedding"}
        self.tested, self.unknown, self.bins = like.tested, like.unknown, like.bins
        self.given_options, self.seed = like.given_options, like.seed
        self.truths, self._like, self._points = like.truths, like, points
        self._sums, self._made = {}, {}

    @cached_property
    def embedding(self) -> "Points":
        """The embedding of the control."""
        return self._points

    def column(self, role: str) -> Categorical:
        """The column of the cells that the fit has."""
        return self._like.column(role)
