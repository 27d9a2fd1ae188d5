"""Augmentation by differences between donors, as in scTab and in the HCE paper (for MLP and TabNet).

The mean profiles of one cell type in two donors differ by effects of donor and study, not of type. Such differences are
collected once from the training cells; in training, every cell is moved by one of them, up or down (Fischer et al.,
Nature Communications 2024, doi 10.1038/s41467-024-51059-5). Values are log1p of counts per 10,000.

The published vectors come from an unseeded generator. Here the seed of the fit determines the cells, pairs and vectors;
in training, seed, epoch and batch determine which vector moves which cell.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from annobench.cells.store.buffers import Buffers
from annobench.core import threads as pool
from annobench.core.errors import MethodSkipped

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from scipy.sparse import csr_matrix

    from annobench.cells.store.batch import Batch
    from annobench.cells.store.rows import Rows
    from annobench.methods.torch.inference import Feed

HIGHEST = 9.0  # values are clamped to 0..9
_READ = 8_192  # cells read at once
_PER_CLUSTER = 500  # vectors; with fewer per cluster, the number of clusters and `smallest` shrink accordingly
_DRAWS, _PAIRS, _CLUSTERS = range(3)  # streams of random numbers


@dataclass(frozen=True)
class Sizes:
    """How vectors are made; the defaults are scTab's.

    Parameters
    ----------
    cells
        Training cells that are used, drawn so that all classes are equally frequent.
    pairs
        Most pairs of donors per class.
    floor
        Differences up to this are set to 0.
    ceiling
        Larger differences are clipped to this.
    clusters
        Clusters of k-means.
    smallest
        Clusters of this many vectors or fewer are dropped.
    vectors
        Most vectors that are kept.
    """

    cells: int = 500_000
    pairs: int = 300
    floor: float = 0.25
    ceiling: float = 1.5
    clusters: int = 50
    smallest: int = 2_000
    vectors: int = 5_000


def donor_vectors(
    rows: "Rows",
    codes: "NDArray[np.int64]",
    donors: "NDArray[np.int64]",
    *,
    seed: int,
    sizes: Sizes | None = None,
    threads: int = 1,
) -> "csr_matrix":
    """Differences between donors. Memory is that of 2 `sizes.pairs` dense profiles.

    Parameters
    ----------
    rows
        Training cells.
    codes
        int64 (n,), class numbers.
    donors
        int64 (n,), donor numbers; -1 where the donor is unknown. Such cells are left out.
    seed
        Seed of all draws.
    sizes
        How vectors are made.
    threads
        Threads for reading cells.

    Returns
    -------
    csr_matrix
        float32 (vectors, genes of `rows`). From a class with n donors, min(n (n - 1) / 2 - 1, `sizes.pairs`) different
        pairs are drawn, so that a class needs three donors.

    Raises
    ------
    MethodSkipped
        No class has three donors.
    """
    from scipy.sparse import vstack

    sizes = sizes or Sizes()
    drawn = _balanced(codes, donors >= 0, sizes.cells, np.random.default_rng([seed, _DRAWS]))
    rng = np.random.default_rng([seed, _PAIRS])
    differences = []
    for code in np.unique(codes[drawn]).tolist():
        cells = drawn[codes[drawn] == code]
        names, number = np.unique(donors[cells], return_inverse=True)
        pairs = _pairs(len(names), sizes.pairs, rng)
        if len(pairs):
            differences.append(_differences(rows, cells, number, pairs, floor=sizes.floor, threads=threads))
    if not differences:
        raise MethodSkipped(
            "parameter augment: no class has training cells of three donors or more, so there are no differences to "
            "take; set augment to false"
        )
    vectors = vstack(differences, format="csr")
    vectors.data = vectors.data.clip(-sizes.ceiling, sizes.ceiling)
    return _typical(vectors, sizes, seed)


def _balanced(
    codes: "NDArray[np.int64]", usable: "NDArray[np.bool_]", size: int, rng: np.random.Generator
) -> "NDArray[np.int64]":
    """`size` usable cells in order, without replacement, each with a chance proportional to 1 / cells of its class."""
    places = np.flatnonzero(usable)
    if len(places) <= size:
        return places
    counts = np.bincount(codes[places])
    arrival = rng.standard_exponential(len(places)) * counts[codes[places]]  # the first arrivals are such a sample
    return np.sort(places[np.argpartition(arrival, size)[:size]])


def _pairs(n: int, most: int, rng: np.random.Generator) -> "NDArray[np.int64]":
    """Distinct pairs of n donors, (pairs, 2), the smaller number first."""
    whole = n * (n - 1) // 2
    rank = rng.choice(whole, min(whole - 1, most), replace=False) if whole > 1 else np.empty(0, dtype=np.int64)
    begins = np.cumsum([0, *range(n - 1, 0, -1)])  # pairs are numbered by their first donor, then by their second
    first = np.searchsorted(begins, rank, side="right") - 1
    return np.column_stack([first, rank - begins[first] + first + 1]).astype(np.int64)


def _differences(
    rows: "Rows",
    cells: "NDArray[np.int64]",
    number: "NDArray[np.int64]",
    pairs: "NDArray[np.int64]",
    *,
    floor: float,
    threads: int,
) -> "csr_matrix":
    """Differences of the mean profiles of pairs of donors in one class; `number` (cells,) holds the cells' donors."""
    from scipy.sparse import csr_matrix

    needed, place = np.unique(pairs, return_inverse=True)
    kept = np.isin(number, needed)
    cells, number = cells[kept], np.searchsorted(needed, number[kept])
    sums, buffers = np.zeros((len(needed), rows.genes)), Buffers()
    for start in range(0, len(cells), _READ):
        part, own = cells[start : start + _READ], number[start : start + _READ]
        indptr, indices, values = rows.window(part).sparse(np.arange(len(part)), threads, buffers)
        matrix = csr_matrix((values, indices, indptr), shape=(len(part), rows.genes))
        member = csr_matrix((np.ones(len(part), np.float32), (own, np.arange(len(part)))), (len(needed), len(part)))
        sums += (member @ matrix).toarray()
    mean = (sums / np.bincount(number, minlength=len(needed))[:, None]).astype(np.float32)
    first, second = place.reshape(-1, 2).T
    difference = mean[first] - mean[second]
    difference[np.abs(difference) <= floor] = 0
    return csr_matrix(difference)


def _typical(vectors: "csr_matrix", sizes: Sizes, seed: int) -> "csr_matrix":
    """A draw of `sizes.vectors` vectors from the large clusters."""
    n = vectors.shape[0]
    clusters = max(1, min(sizes.clusters, n // _PER_CLUSTER))
    kept = np.arange(n)
    if clusters > 1:
        from sklearn.cluster import MiniBatchKMeans

        kmeans = MiniBatchKMeans(clusters, random_state=seed, batch_size=4096, n_init=3)
        cluster = kmeans.fit_predict(vectors)
        members = np.bincount(cluster, minlength=clusters)
        few = sizes.smallest * min(1.0, n / (_PER_CLUSTER * sizes.clusters))
        large = members > few
        large[members.argmax()] = True
        kept = np.flatnonzero(large[cluster])
    rng = np.random.default_rng([seed, _CLUSTERS])
    kept = np.sort(rng.permutation(kept)[: sizes.vectors])
    chosen = vectors[kept]
    chosen.sort_indices()
    return chosen


class AugmentedFeed:
    """Batches of another feed with every cell moved by a random vector, up or down, and clamped to 0..9.

    Seed, rank of the process, epoch and number of the batch determine what moves a cell, so that an epoch can be
    resumed at any batch. Sparse batches stay sparse.

    Parameters
    ----------
    feed
        The batches.
    vectors
        CSR float32 (vectors, genes).
    seed, rank
        Seed of the fit, and number of the process among those that train together.
    threads
        Threads for sparse batches.
    """

    def __init__(self, feed: "Feed", vectors: "csr_matrix", *, seed: int, rank: int = 0, threads: int = 1) -> None:
        self.cells = feed.cells
        self.feed, self._vectors, self._place, self._threads = feed, vectors, (seed, rank), threads
        self._csr = (vectors.indptr.astype(np.int64), vectors.indices.astype(np.int32), vectors.data)
        self._table: Tensor | None = None  # the same on a device, dense
        self._buffers = Buffers()

    def __len__(self) -> int:
        return len(self.feed)

    def epoch(self, number: int = 0, start: int = 0) -> "Iterator[tuple[Batch | Tensor, Tensor]]":
        """See Feed."""
        for place, (cells, codes) in enumerate(self.feed.epoch(number, start), start):
            rng = np.random.default_rng([*self._place, number, place])
            chosen = rng.integers(self._vectors.shape[0], size=len(codes))
            sign = rng.integers(2, size=len(codes)).astype(np.float32) * 2 - 1
            if isinstance(cells, Tensor):
                yield self._dense(cells, chosen, sign), codes
            else:
                yield self._sparse(cells, chosen, sign), codes
            del cells  # its memory can then be reused for the next batch

    def _dense(self, cells: Tensor, chosen: "NDArray[np.int64]", sign: "NDArray[np.float32]") -> Tensor:
        """Move dense cells on a device, in place."""
        if self._table is None:
            self._table = torch.from_numpy(self._vectors.toarray()).to(cells.device, cells.dtype)
        moves = self._table[torch.from_numpy(chosen).to(cells.device)]
        return cells.addcmul_(moves, torch.from_numpy(sign).to(cells.device, cells.dtype)[:, None]).clamp_(0, HIGHEST)

    def _sparse(self, batch: "Batch", chosen: "NDArray[np.int64]", sign: "NDArray[np.float32]") -> "Batch":
        from annobench.methods.torch.augmentation_kernels import (  # numba takes half a second to import
            close_up,
            shift_rows,
        )

        starts = self._csr[0]
        room = np.zeros(batch.n + 1, dtype=np.int64)
        np.cumsum(np.diff(batch.indptr) + starts[chosen + 1] - starts[chosen], out=room[1:])
        wide = self._buffers.take(int(room[-1]), np.int32), self._buffers.take(int(room[-1]), np.float32)
        sizes = np.empty(batch.n, dtype=np.int64)
        cells = (batch.indptr, batch.indices, batch.values)
        highest = np.float32(HIGHEST)
        pool.run(shift_rows, batch.n, self._threads, *cells, *self._csr, chosen, sign, highest, room, *wide, sizes)
        indptr = np.zeros(batch.n + 1, dtype=np.int64)
        np.cumsum(sizes, out=indptr[1:])
        close = self._buffers.take(int(indptr[-1]), np.int32), self._buffers.take(int(indptr[-1]), np.float32)
        pool.run(close_up, batch.n, self._threads, room, *wide, indptr, *close)
        return replace(batch, indptr=indptr, indices=close[0], values=close[1])
