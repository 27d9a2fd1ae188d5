"""Formulas of metrics of perturbations: pure functions of arrays.

`effects` are differences of means of log-normalised expression from the mean of the control cells. A correlation with
something that does not vary is not defined. Where the prediction does not vary, it says nothing of the genes, and the
value is 0; where the truth does not vary, there is nothing to predict, and the value is NaN, so that the condition is
left out of the mean and counted.
"""

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]
    Genes = NDArray[np.intp]

_BLOCK = 1 << 22  # values of distances that are computed together


def standardised(effect: "Array", *variances: "Array") -> "Array":
    """Effects in units of the standard deviation of cells.

    Parameters
    ----------
    effect
        (genes,) differences of means.
    variances
        (genes,) each, of several sets of cells; they are averaged.

    Returns
    -------
    (genes,); 0 for a gene that varies in none of them.
    """
    deviation = np.sqrt(np.mean(variances, axis=0))
    return np.divide(effect, deviation, out=np.zeros_like(effect), where=deviation > 0)


def top_genes(strength: "Array", n: int, *, signed: bool = False) -> "Genes":
    """Positions of the n genes with the strongest effect, up or down; with `signed` the highest values alone.

    Of equal values the first genes are taken.
    """
    return np.argsort(-(strength if signed else np.abs(strength)), kind="stable")[:n]


def mean_squared_error(truth: "Array", predicted: "Array") -> float:
    """Mean over genes of the squared difference of (genes,) means; NaN without genes."""
    return float(np.mean((truth - predicted) ** 2)) if len(truth) else float("nan")


def pearson(truth: "Array", predicted: "Array") -> float:
    """Pearson correlation over genes; see the module for what does not vary."""
    if len(truth) < 2 or np.ptp(truth) == 0:
        return float("nan")
    a, b = truth - truth.mean(), predicted - predicted.mean()
    norm = np.sqrt((a @ a) * (b @ b))
    # what is left of a constant by rounding does not vary
    if np.abs(b).max() <= 1e-9 * max(1.0, float(np.abs(predicted).max())) or norm == 0:
        return 0.0
    return float(np.clip(a @ b / norm, -1, 1))


def spearman(truth: "Array", predicted: "Array") -> float:
    """Spearman correlation over genes, ties sharing their mean rank; see the module for what does not vary."""
    from scipy.stats import rankdata

    return pearson(rankdata(truth), rankdata(predicted)) if len(truth) else float("nan")


def jaccard(first: set[int], second: set[int]) -> float:
    """Shared over all elements of two sets; 1 for two empty sets, which are equal."""
    union = first | second
    return len(first & second) / len(union) if union else 1.0


def directed(strength: "Array", n: int) -> set[int]:
    """The n genes with the strongest effect, -gene - 1 for one that falls; none without effect."""
    genes = [int(gene) for gene in top_genes(strength, n) if strength[gene] != 0]
    return {gene if strength[gene] > 0 else -gene - 1 for gene in genes}


def right_direction(truth: "Array", predicted: "Array") -> float:
    """Share of genes whose predicted effect has the sign of the true one; NaN where no true effect has a sign.

    A predicted effect of 0 has no direction and is wrong.
    """
    moved = truth != 0
    return float((np.sign(truth[moved]) == np.sign(predicted[moved])).mean()) if moved.any() else float("nan")


def log_ratio(mean: "Array", control: "Array", epsilon: float = 1e-8) -> "Array":
    """Log of the ratio of two means, each raised by `epsilon`."""
    return np.log((np.maximum(mean, 0) + epsilon) / (control + epsilon))


def discrimination(truth: "Array", predicted: "Array", left_out: "list[Genes]") -> "Array":
    """How near a prediction is to its own condition, among the true effects of all conditions.

    The rank of the right condition by Manhattan distance, as in the Virtual Cell Challenge 2025 (Roohani et al., Cell
    2025), scaled so that chance is 0.5 whatever the number of conditions: 1 - rank / (conditions - 1), ranks from 0,
    ties sharing their mean rank.

    Parameters
    ----------
    truth, predicted
        (conditions, genes) effects.
    left_out
        Genes of each condition that are not looked at: the perturbed ones, which would give it away.

    Returns
    -------
    (conditions,) from 0 to 1; NaN where there is one condition only.
    """
    n = len(truth)
    if n < 2:
        return np.full(n, np.nan)
    scores = np.empty(n)
    for i, genes in enumerate(left_out):
        kept = np.ones(truth.shape[1], dtype=bool)
        kept[genes] = False
        distance = np.abs(truth[:, kept] - predicted[i, kept]).sum(axis=1)
        others = np.delete(distance, i)
        rank = (others < distance[i]).sum() + 0.5 * (others == distance[i]).sum()
        scores[i] = 1 - rank / (n - 1)
    return scores


def energy_distance(first: "Array", second: "Array") -> float:
    """Energy distance of two sets of cells: 2 E|x - y| - E|x - x'| - E|y - y'| (Szekely and Rizzo 2013), Euclidean.

    Parameters
    ----------
    first, second
        (cells, dimensions). Means are over all pairs, a cell with itself among them, so that the result is at least 0.
    """
    between = mean_distance(first, second)
    return max(0.0, 2 * between - mean_distance(first, first) - mean_distance(second, second))


def mean_distance(first: "Array", second: "Array") -> float:
    """Mean Euclidean distance of all pairs of rows."""
    squares = (second**2).sum(axis=1)
    total, step = 0.0, max(1, _BLOCK // max(1, len(second)))
    for start in range(0, len(first), step):
        part = first[start : start + step]
        distances = (part**2).sum(axis=1)[:, None] + squares - 2 * part @ second.T
        total += float(np.sqrt(np.maximum(distances, 0)).sum())
    return total / (len(first) * len(second))
