"""A random forest for embeddings: the trees of scikit-learn's, on features in 256 bins.

A probe trains a hundred trees for every fold of every embedding, which is nearly all its time. The trees are those of
Breiman (2001) as scikit-learn grows them: bootstrap samples, the square root of the number of features tried at every
node, Gini impurity, grown until the leaves are pure, probabilities averaged over the trees. Features are put into 256
bins of equal numbers of training cells first, so that a node is split by counting instead of sorting.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from annobench.core import threads as kernels
from annobench.core.jit import njit

if TYPE_CHECKING:
    from numpy.typing import NDArray

BINS = 256
TREES = 100
_FEW = 16  # rows of a node that are sorted by insertion instead of counting


@dataclass(frozen=True)
class Forest:
    """A trained forest.

    Parameters
    ----------
    edges
        (dimensions, bins - 1) upper edges of the bins of every feature.
    nodes
        (trees, nodes, 3) int32: feature (-1 of a leaf), bin of the split, left child; the right child follows it. Of a
        leaf the third number is its row in `leaves`.
    leaves
        (trees, leaves, classes) float32: shares of the classes.
    """

    edges: "NDArray[np.float32]"
    nodes: "list[NDArray[np.int32]]"
    leaves: "list[NDArray[np.float32]]"

    def predict_proba(self, points: "NDArray[np.floating]", *, threads: int = 1) -> "NDArray[np.float64]":
        """Mean over the trees of the shares of the classes, (n, classes)."""
        codes = np.ascontiguousarray(_binned(points, self.edges).T)
        total = np.zeros((len(codes), self.leaves[0].shape[1]))
        for nodes, leaves in zip(self.nodes, self.leaves, strict=True):
            kernels.run(_descend, len(codes), threads, codes, nodes, leaves, total)
        return total / len(self.nodes)


def grow_forest(
    points: "NDArray[np.floating]",
    labels: "NDArray[np.integer]",
    classes: int,
    *,
    seed: int,
    trees: int = TREES,
    threads: int = 1,
) -> Forest:
    """Train a forest.

    Parameters
    ----------
    points
        (n, dimensions) features.
    labels
        (n,) numbers of the classes, from 0 on.
    classes
        Number of classes, fewer than 32,768.
    seed
        Of the bootstrap samples and the features that are tried. The forest does not depend on the threads.
    trees
        Number of trees.
    threads
        Trees that are grown at once.
    """
    n, dimensions = points.shape
    edges = _edges(np.asarray(points, dtype=np.float32))
    codes = _binned(points, edges)
    y = np.ascontiguousarray(labels, dtype=np.int32)
    tried = max(1, int(np.sqrt(dimensions)))
    nodes = np.empty((trees, 2 * n, 3), dtype=np.int32)
    counts = np.zeros((trees, 2), dtype=np.int64)  # nodes and leaves of every tree
    of_leaf: list[NDArray[np.float32]] = [np.empty((0, 0), np.float32)] * trees

    def grow(start: int, stop: int) -> None:
        leaves = np.empty((n, classes), dtype=np.float32)
        for tree in range(start, stop):
            rng = np.random.default_rng([seed, tree])
            weights = np.bincount(rng.integers(0, n, n), minlength=n).astype(np.int32)
            rows = np.flatnonzero(weights).astype(np.int32)
            state = np.uint64(rng.integers(1, 2**63))
            answers = (y << 16) | np.minimum(weights, 0xFFFF)
            counts[tree] = _grow(codes, answers, rows, classes, tried, state, nodes[tree], leaves)
            of_leaf[tree] = leaves[: counts[tree, 1]].copy()

    kernels.run(grow, trees, threads)
    return Forest(edges, [nodes[i, : counts[i, 0]].copy() for i in range(trees)], of_leaf)


def _edges(points: "NDArray[np.float32]") -> "NDArray[np.float32]":
    """Edges of bins of equal numbers of cells, halfway between values, (dimensions, 255)."""
    n = len(points)
    ordered = np.sort(points, axis=0)
    place = np.linspace(0, n, BINS + 1)[1:-1].astype(int).clip(1, n - 1) if n > 1 else np.zeros(BINS - 1, dtype=int)
    lower, upper = ordered[np.maximum(place - 1, 0)], ordered[place]
    return np.ascontiguousarray(((lower + upper) / 2).T)


def _binned(points: "NDArray[np.floating]", edges: "NDArray[np.float32]") -> "NDArray[np.uint8]":
    """Bin of every value, (dimensions, n)."""
    columns = np.asarray(points, dtype=np.float32).T
    return np.stack([np.searchsorted(edge, column) for edge, column in zip(edges, columns, strict=True)]).astype(
        np.uint8
    )


@njit
def _random(state: "NDArray[np.uint64]", below: int) -> int:
    """A number below a bound (xorshift64*); the state is moved on."""
    x = state[0]
    x ^= x >> np.uint64(12)
    x ^= x << np.uint64(25)
    x ^= x >> np.uint64(27)
    state[0] = x
    return int(((x * np.uint64(2685821657736338717)) >> np.uint64(33)) % np.uint64(below))


@njit
def _sorted_by(bins, answers, n, ordered_bins, ordered, count):  # type: ignore[no-untyped-def]
    """Put the answers of a node into the order of their bins; returns whether there is more than one bin."""
    low, high = bins[0], bins[0]
    for i in range(1, n):
        low, high = min(low, bins[i]), max(high, bins[i])
    if low == high:
        return False
    if n <= _FEW:
        for i in range(n):
            b, answer, j = bins[i], answers[i], i
            while j > 0 and ordered_bins[j - 1] > b:
                ordered_bins[j], ordered[j] = ordered_bins[j - 1], ordered[j - 1]
                j -= 1
            ordered_bins[j], ordered[j] = b, answer
        return True
    for b in range(low, high + 2):
        count[b] = 0
    for i in range(n):
        count[bins[i] + 1] += 1
    for b in range(low + 1, high + 1):
        count[b] += count[b - 1]
    for i in range(n):
        b = bins[i]
        place = count[b]
        count[b] = place + 1
        ordered_bins[place], ordered[place] = b, answers[i]
    return True


@njit
def _best_bin(ordered_bins, ordered, n, total, weight, left):  # type: ignore[no-untyped-def]
    """The best split of sorted answers: its score (sum of squares over weight, both sides), and the bin below it."""
    squares = 0
    for c in range(len(total)):
        left[c] = 0
        squares += total[c] * total[c]
    best, place = -1.0, -1
    w_left, sq_left, sq_right = 0, 0, squares
    for i in range(n - 1):
        c, w = ordered[i] >> 16, ordered[i] & 0xFFFF
        before = left[c]
        sq_left += w * (2 * before + w)
        sq_right += w * (w - 2 * (total[c] - before))
        left[c] = before + w
        w_left += w
        if ordered_bins[i] != ordered_bins[i + 1]:
            score = sq_left / w_left + sq_right / (weight - w_left)
            if score > best:
                best, place = score, int(ordered_bins[i])
    return best, place


@njit
def _grow(codes, answers, rows, classes, tried, seed, nodes, leaves):  # type: ignore[no-untyped-def]
    """Grow one tree in place; returns the numbers of its nodes and of its leaves.

    `answers` holds the class of every row in its upper bits and its weight in the lower sixteen.
    """
    dimensions, n = codes.shape[0], len(rows)
    state = np.array([seed], dtype=np.uint64)
    features = np.arange(dimensions)
    count, total, left = np.zeros(BINS + 1, np.int64), np.zeros(classes, np.int64), np.zeros(classes, np.int64)
    own, ordered, right = np.empty(n, np.int32), np.empty(n, np.int32), np.empty(n, np.int32)
    bins, ordered_bins = np.empty(n, np.uint8), np.empty(n, np.uint8)
    stack = np.empty((n + 1, 3), np.int64)  # node, start, stop
    stack[0] = 0, 0, n
    depth, used, leaf = 1, 1, 0
    while depth > 0:
        depth -= 1
        node, start, stop = stack[depth]
        size, weight = stop - start, 0
        total[:] = 0
        for i in range(size):
            answer = answers[rows[start + i]]
            own[i] = answer
            total[answer >> 16] += answer & 0xFFFF
            weight += answer & 0xFFFF
        pure = (total > 0).sum() <= 1
        feature, best, place, found, drawn = -1, -1.0, -1, 0, 0
        while not pure and drawn < dimensions and found < tried:
            # features that do not vary in the node do not count as tried, as in scikit-learn
            j = drawn + _random(state, dimensions - drawn)
            features[drawn], features[j] = features[j], features[drawn]
            column = codes[features[drawn]]
            drawn += 1
            for i in range(size):
                bins[i] = column[rows[start + i]]
            if not _sorted_by(bins, own, size, ordered_bins, ordered, count):
                continue
            found += 1
            score, at = _best_bin(ordered_bins, ordered, size, total, weight, left)
            if at >= 0 and score > best:
                best, place, feature = score, at, features[drawn - 1]
        if feature < 0:
            for c in range(classes):
                leaves[leaf, c] = total[c] / weight
            nodes[node, 0], nodes[node, 1], nodes[node, 2] = -1, 0, leaf
            leaf += 1
            continue
        column, middle, others = codes[feature], start, 0
        for i in range(start, stop):
            row = rows[i]
            if column[row] <= place:
                rows[middle] = row
                middle += 1
            else:
                right[others] = row
                others += 1
        rows[middle:stop] = right[:others]
        nodes[node, 0], nodes[node, 1], nodes[node, 2] = feature, place, used
        stack[depth] = used, start, middle
        stack[depth + 1] = used + 1, middle, stop
        depth += 2
        used += 2
    return used, leaf


@njit
def _descend(start, stop, codes, nodes, leaves, total):  # type: ignore[no-untyped-def]
    """Add the leaf shares of one tree to the cells of a range."""
    for i in range(start, stop):
        node = 0
        while nodes[node, 0] >= 0:
            node = nodes[node, 2] + (codes[i, nodes[node, 0]] > nodes[node, 1])
        leaf = nodes[node, 2]
        for c in range(total.shape[1]):
            total[i, c] += leaves[leaf, c]
