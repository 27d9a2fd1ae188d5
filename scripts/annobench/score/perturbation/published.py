"""Metrics of perturbations as cz-benchmarks computes them, with what makes them differ from ours.

Versions 0.6 to 0.10 look at genes with the highest Wilcoxon score, so that only genes that rise count; from 0.11 a
Spearman correlation is taken over a random half of the significant genes, a correlation that is not defined counts as
0, and ratios of means silently become differences where a mean is 0.
"""

from typing import TYPE_CHECKING

import numpy as np

from annobench.score.perturbation.measures import log_ratio, top_genes

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    Array = NDArray[np.float64]
    Genes = NDArray[np.intp]

P_ADJUSTED, LOG_FOLD_CHANGE, SHARE, FEWEST, SEED = 1e-4, 1.0, 0.5, 5, 42


class Wilcoxon:
    """Wilcoxon rank sums of samples of cells against the same control cells, as scanpy computes them.

    Parameters
    ----------
    control
        (cells, genes) log-normalised expression of the control cells.
    """

    def __init__(self, control: "Array") -> None:
        self._sorted = np.sort(np.asarray(control), axis=0)

    def scores(self, cells: "Array") -> "Array":
        """Z score of the rank sum of some cells, (genes,), without a correction for ties.

        The rank sum needs no sorting of both together: beside the ranks of the cells among themselves it counts, for
        every one, the control cells below it, and half of those that are equal.
        """
        m, n = len(self._sorted), len(cells)
        statistic = np.empty(self._sorted.shape[1])
        for gene in range(self._sorted.shape[1]):
            column = self._sorted[:, gene]
            below = np.searchsorted(column, cells[:, gene], side="left").sum()
            not_above = np.searchsorted(column, cells[:, gene], side="right").sum()
            statistic[gene] = (below + not_above) / 2
        deviation = np.sqrt(m * n * (m + n + 1) / 12)
        return (statistic - m * n / 2) / deviation


def risen(scores: "Array", n: int) -> "Genes":
    """The n genes with the highest Wilcoxon score: those that rise."""
    return top_genes(scores, n, signed=True)


def adjusted(scores: "Array") -> "Array":
    """Two-sided p-values of z scores, adjusted by Benjamini and Hochberg."""
    from scipy.stats import false_discovery_control, norm

    p = 2 * norm.sf(np.abs(scores))
    return np.asarray(false_discovery_control(p))


def log2_fold_changes(cells: "Array", control: "Array") -> "Array":
    """Scanpy's fold changes: log2 of the ratio of expm1 of means, each raised by 1e-9; (genes,) of (cells, genes)."""
    return np.log2(
        (np.expm1(cells.mean(axis=0, dtype=np.float64)) + 1e-9)
        / (np.expm1(control.mean(axis=0, dtype=np.float64)) + 1e-9)
    )


def sampled_genes(tables: "Iterable[tuple[Array, Array]]") -> "list[Genes | None]":
    """The genes that a condition is scored on: a random half of its significant genes.

    Parameters
    ----------
    tables
        Adjusted p-values and log fold changes of every condition, (genes,) each, in the order of the file: the
        conditions share one random stream.

    Returns
    -------
    Positions of genes for every condition; None where fewer than five are left.
    """
    rng = np.random.RandomState(SEED)
    chosen: list[NDArray[np.intp] | None] = []
    for p, change in tables:
        significant = np.flatnonzero((p < P_ADJUSTED) & (np.abs(change) >= LOG_FOLD_CHANGE))
        number = int(SHARE * len(significant))
        drawn = rng.choice(significant, number, replace=False) if len(significant) else significant
        chosen.append(drawn if len(drawn) >= FEWEST else None)
    return chosen


def predicted_changes(predicted: "Array", control: "Array", operation: str) -> "Array":
    """Predicted changes of means: log ratios with `ratio`, unless any mean is 0 or less; else differences."""
    if operation == "ratio" and (predicted > 0).all() and (control > 0).all():
        return log_ratio(predicted, control)
    return predicted - control


def correlation(truth: "Array", predicted: "Array") -> float:
    """Spearman correlation; 0 where it is not defined."""
    from scipy.stats import rankdata

    a, b = (rankdata(values) - (len(values) + 1) / 2 for values in (truth, predicted))
    norm = np.sqrt((a @ a) * (b @ b))
    return float(a @ b / norm) if norm > 0 else 0.0
