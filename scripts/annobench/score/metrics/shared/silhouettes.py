"""Silhouettes of groups of cells in an embedding, of all pairs of cells.

The silhouette of a cell is (b - a) / max(a, b), a its mean distance to the other cells of its own group, b the least of
its mean distances to the cells of another group (Rousseeuw 1987); 0 where its group has no other cell.
"""

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

_BLOCK = 16_000_000  # distances at once: 128 MB


class GroupDistances(NamedTuple):
    """Distances of every cell to the cells of every group.

    Parameters
    ----------
    sums
        (n, groups) sums of distances.
    own
        (n,) number of the own group.
    sizes
        (groups,) cells.
    """

    sums: "Array"
    own: "NDArray[np.intp]"
    sizes: "NDArray[np.intp]"


def group_distances(
    points: "NDArray[np.floating]", groups: "NDArray[np.integer]", metric: str = "euclidean"
) -> GroupDistances:
    """Sum of the distances of every cell to the cells of every group, of all pairs, in blocks.

    Parameters
    ----------
    points
        (n, dimensions).
    groups
        (n,) numbers from 0 on; every number occurs.
    metric
        `euclidean` or `cosine`.
    """
    n, sizes = len(points), np.bincount(groups)
    order = np.argsort(groups, kind="stable")
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    x = np.asarray(points, dtype=np.float64)[order]
    if metric == "cosine":
        x /= np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-300)
    else:
        x -= x.mean(axis=0)  # squares lose less where the origin lies among the cells
    squares = np.einsum("ij,ij->i", x, x)
    sums = np.empty((n, len(sizes)))
    step = max(1, _BLOCK // n)
    for begin in range(0, n, step):
        rows = slice(begin, min(begin + step, n))
        distances = x[rows] @ x.T
        if metric == "cosine":
            np.subtract(1, distances, out=distances)
        else:
            distances *= -2
            distances += squares
            distances += squares[rows, None]
        np.maximum(distances, 0, out=distances)
        distances[np.arange(rows.stop - begin), np.arange(begin, rows.stop)] = 0
        if metric != "cosine":
            np.sqrt(distances, out=distances)
        sums[order[rows]] = np.add.reduceat(distances, starts, axis=1)
    return GroupDistances(sums, np.asarray(groups, dtype=np.intp), sizes)


def silhouettes(distances: GroupDistances, of_other: str = "nearest") -> "Array":
    """Silhouette of every cell, (n,).

    Parameters
    ----------
    distances
        To two or more groups.
    of_other
        b is the mean distance to the cells of the `nearest` other group, or to `all` cells of other groups.
    """
    sums, own, sizes = distances
    n = len(own)
    cells, others = np.arange(n), sizes[own] - 1
    a = sums[cells, own] / np.maximum(others, 1)
    if of_other == "nearest":
        means = sums / sizes
        means[cells, own] = np.inf
        b = means.min(axis=1)
    else:
        b = (sums.sum(axis=1) - sums[cells, own]) / (n - sizes[own])
    larger = np.maximum(a, b)
    return np.where((others > 0) & (larger > 0), (b - a) / np.where(larger > 0, larger, 1), 0.0)


def within_labels(
    points: "NDArray[np.floating]",
    labels: "NDArray[np.integer]",
    batches: "NDArray[np.integer]",
    *,
    metric: str = "euclidean",
    of_other: str = "nearest",
) -> "tuple[Array, NDArray[np.intp]]":
    """1 - |silhouette of the batch within the label|, mean over the cells of a label.

    Returns
    -------
    Values of the labels that have one, and the numbers of these labels; a label with one batch only, or whose cells all
    come from different batches, has none.
    """
    values, known = [], []
    for label in np.unique(labels):
        cells = np.flatnonzero(labels == label)
        of_batch, codes = np.unique(batches[cells], return_inverse=True)
        if len(of_batch) in (1, len(cells)):
            continue
        s = silhouettes(group_distances(points[cells], codes, metric), of_other)
        values.append(float(np.mean(1 - np.abs(s))))
        known.append(label)
    return np.array(values), np.array(known, dtype=np.intp)


def label_silhouettes(points: "NDArray[np.floating]", labels: "NDArray[np.integer]") -> "Array":
    """(s + 1) / 2 of every cell, (n,). Raises ValueError for fewer than two labels."""
    _, codes = np.unique(labels, return_inverse=True)
    if codes.max(initial=0) == 0:
        raise ValueError("the label silhouette needs two labels at least")
    return (silhouettes(group_distances(points, codes)) + 1) / 2
