"""A deterministic atlas: cells x 19,331 genes at the density of scTab's training set, drawn in chunks of any size.

Counts are geometric (negative binomial with r = 1); the means of the genes are log-normal (sigma 2.1), varied by class
(sigma 0.6) and by the depth of a cell (sigma 0.5). Cells are sorted by study, then donor, as in CELLxGENE. Every cell
has its own random stream, so that its counts do not depend on the size of a chunk.
"""

import os
import threading
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numba import njit, uint32, uint64

GENES, CLASSES = 19_331, 164
MEAN_COUNTS = 5_150.0  # of a cell of median depth: yields 1,950 non-zeros and 5,800 counts per cell
BLOCK = 512  # cells that a thread draws at once


@dataclass(frozen=True)
class Chunk:
    """Cells `start` to `start + n`: indptr int64 (n + 1,) from 0, indices and counts uint16 (non-zeros,)."""

    start: int
    indptr: np.ndarray
    indices: np.ndarray
    counts: np.ndarray


class Atlas:
    """Study, donor and class of every cell, and its counts on demand.

    Attributes
    ----------
    study, donor, code
        int16, int32 and int16 (n,): numbers of study, donor and class.
    profiles
        float32 (CLASSES, GENES), mean counts of every class.
    """

    def __init__(self, n: int, seed: int = 0) -> None:
        rng = np.random.default_rng([seed, n])
        self.n, self.seed, self._scratch = n, seed, threading.local()
        # 40 studies in 200,000 cells, 120 in 3.2 million, 249 in the 15.2 million of scTab
        studies = max(2, round(40 * (n / 200_000) ** 0.42))
        sizes = _heavy_tailed(rng, n, studies, 0.85)
        self.study = np.repeat(np.arange(studies, dtype=np.int16), sizes)
        self.donor = np.empty(n, np.int32)
        self.code = np.empty(n, np.int16)
        frequency = rng.lognormal(0, 1.5, CLASSES)
        start = donors = 0
        for size in sizes:
            here = slice(start, start + size)
            own = _heavy_tailed(rng, size, min(size, 1 + rng.poisson(13)), 0.7)
            self.donor[here] = np.repeat(np.arange(donors, donors + len(own)), own)
            mix = frequency * rng.gamma(0.3, size=CLASSES)
            self.code[here] = rng.choice(CLASSES, size, p=mix / mix.sum())
            start, donors = start + size, donors + len(own)
        rng = np.random.default_rng(seed)  # the classes do not depend on the size of the atlas
        profiles = rng.normal(0, 2.1, GENES) + rng.normal(0, 0.6, (CLASSES, GENES))
        np.exp(profiles, out=profiles)
        self.profiles = (profiles * (MEAN_COUNTS / profiles.sum(1, keepdims=True))).astype(np.float32)

    def chunks(self, size: int = 4_096, threads: int | None = None) -> Iterator[Chunk]:
        """All cells in order, `size` at a time, drawn by threads that are at most a few blocks ahead."""
        threads = threads or len(os.sched_getaffinity(0))
        starts = iter(
            (start, min(start + BLOCK, chunk + size, self.n))
            for chunk in range(0, self.n, size)
            for start in range(chunk, min(chunk + size, self.n), BLOCK)
        )
        ahead: deque[tuple[int, Future]] = deque()
        parts: list = []
        first = 0
        with ThreadPoolExecutor(threads) as pool:
            while True:
                while len(ahead) < 2 * threads and (span := next(starts, None)):
                    ahead.append((span[1], pool.submit(self.block, *span)))
                if not ahead:
                    return
                stop, made = ahead.popleft()
                parts.append(made.result())
                if stop == min(first + size, self.n):
                    yield _join(first, parts)
                    first, parts = stop, []

    def block(self, start: int, stop: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Non-zeros per cell, gene positions and counts of at most BLOCK cells."""
        if not hasattr(self._scratch, "indices"):  # of the largest possible size, once per thread
            self._scratch.indices = np.empty(BLOCK * GENES, np.uint16)
            self._scratch.counts = np.empty(BLOCK * GENES, np.uint16)
        indices, counts = self._scratch.indices, self._scratch.counts
        sizes = np.empty(stop - start, np.int64)
        total = _draw(start, self.seed, self.code[start:stop], self.profiles, sizes, indices, counts)
        return sizes, indices[:total].copy(), counts[:total].copy()


def reachability() -> np.ndarray:
    """Reachability of the classes: bool (CLASSES, CLASSES), [i, j] true where class j is i or a descendant of i.

    A tree with four branches per node over 124 classes, and 40 single classes: 384 pairs; scTab's 164 classes have 381.
    """
    reach = np.eye(CLASSES, dtype=bool)
    for child in range(1, 124):
        reach[:, child] |= reach[:, (child - 1) // 4]
    return reach


def _heavy_tailed(rng: np.random.Generator, total: int, parts: int, sigma: float) -> np.ndarray:
    """`parts` log-normal sizes, each at least 1, whose sum is `total`."""
    shares = rng.lognormal(0, sigma, parts)
    edges = np.round(np.cumsum(shares) / shares.sum() * (total - parts)).astype(int)
    return np.diff(edges, prepend=0) + 1


def _join(start: int, parts: list) -> Chunk:
    sizes, indices, counts = (np.concatenate(part) for part in zip(*parts, strict=True))
    return Chunk(start, np.concatenate([[0], np.cumsum(sizes)]), indices, counts)


@njit(inline="always")
def _mix(x, key):
    """A 32-bit hash of two keys: multiply and shift, as in the finaliser of MurmurHash3."""
    x = uint32((x ^ (x >> uint32(16))) * uint32(0x7FEB352D))
    x = uint32((x ^ (x >> uint32(15))) + key)
    x = uint32(x * uint32(0x846CA68B))
    return x ^ (x >> uint32(16))


@njit(nogil=True, cache=True, fastmath=True)
def _draw(first, seed, codes, profiles, sizes, indices, counts):
    """Draw cells `first`, `first + 1`, ...; returns the non-zeros written.

    One uniform number u per gene suffices: with q = mean / (1 + mean), a geometric count is at least k where u < q^k.
    """
    genes = profiles.shape[1]
    uniform, hit = np.empty(genes, np.float32), np.empty(genes, np.uint8)
    position = 0
    for cell in range(len(codes)):
        # splitmix64 of seed and cell: the stream of this cell
        key = uint64(seed) * uint64(0xD1B54A32D192ED03) + uint64(first + cell) * uint64(0x9E3779B97F4A7C15)
        key = (key ^ (key >> uint64(30))) * uint64(0xBF58476D1CE4E5B9)
        key = (key ^ (key >> uint64(27))) * uint64(0x94D049BB133111EB)
        low, high = uint32(key), uint32(key >> uint64(32))
        # Box and Muller, for the depth of the cell
        a, b = _mix(low, high) / 2**32, _mix(high, low) / 2**32
        depth = np.float32(np.exp(0.5 * np.sqrt(-2 * np.log(a + 1e-10)) * np.cos(2 * np.pi * b)))
        mean = profiles[codes[cell]]
        for gene in range(genes):
            u = np.float32(_mix(uint32(uint32(gene) * uint32(0x9E3779B9) + low), high)) * np.float32(2.0**-32)
            t = mean[gene] * depth
            uniform[gene] = u
            hit[gene] = u * (np.float32(1) + t) < t
        start = position
        for gene in range(genes):
            indices[position] = gene
            position += hit[gene]
        for k in range(start, position):
            gene = indices[k]
            u, t = uniform[gene], mean[gene] * depth
            q = t / (np.float32(1) + t)
            count, bound = 1, q * q
            while u < bound and count < 16:
                count += 1
                bound *= q
            if count == 16:
                count = min(65_535, max(16, int(np.log(u + 1e-10) / np.log1p(-1.0 / (1.0 + t)))))
            counts[k] = count
        sizes[cell] = position - start
    return position
