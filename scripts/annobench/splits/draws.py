"""Draws that regimes share. Each is stratified by class and depends on the seed alone, not on the order of classes."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from annobench.core.parquet import Categorical
from annobench.splits.rounding import largest_remainder

if TYPE_CHECKING:
    from numpy.typing import NDArray

TEST, VAL, LABELS = range(3)  # separate random streams: regimes agree on whatever they draw alike


def stream(seed: int, number: int) -> np.random.Generator:
    """One of the random streams of a seed."""
    return np.random.default_rng([seed, number])


def by_class(labels: Categorical, pool: "NDArray[np.bool_]") -> "Iterator[NDArray[np.intp]]":
    """Rising positions of the cells of the pool, class by class in the order of their names."""
    rows = np.flatnonzero(pool)
    rank = ranks(labels)[rows]
    order = np.argsort(rank, kind="stable")
    ends = np.cumsum(np.bincount(rank, minlength=1))
    for start, end in zip([0, *ends[:-1]], ends, strict=True):
        if end > start:
            yield rows[order[start:end]]


def ranks(values: Categorical) -> "NDArray[np.integer]":
    """Place of every value among the sorted names, in a type that sorts fast where there are few of them."""
    kind: type[np.integer] = np.int16 if len(values.names) < 2**15 else np.int32
    rank = np.empty(len(values.names), dtype=kind)
    rank[np.argsort(np.array(values.names, dtype=object), kind="stable")] = np.arange(len(values.names))
    return rank[values.codes]


def share_of_each_class(
    labels: Categorical, pool: "NDArray[np.bool_]", fraction: float, rng: np.random.Generator
) -> "NDArray[np.intp]":
    """Positions of a share of the pool, stratified by class (largest remainder).

    A class of two or more cells gives at least one and keeps at least one; a class of one cell keeps it.
    """
    classes = list(by_class(labels, pool))
    sizes = np.array([len(rows) for rows in classes], dtype=int)
    quota = sizes * fraction
    take = largest_remainder(quota, round(quota.sum()))
    take = np.clip(take, (sizes > 1).astype(int), np.maximum(sizes - 1, 0))
    chosen = [rng.permutation(rows)[:count] for rows, count in zip(classes, take, strict=True)]
    return np.concatenate(chosen) if chosen else np.array([], dtype=int)
