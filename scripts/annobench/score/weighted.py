"""Metrics of confidences under many sets of weights of the cells at once, for the bootstrap of confidence rules.

Cells with equal confidence are taken together: every value is the expected one over the orders of ties.
"""

from typing import TYPE_CHECKING

import numpy as np

from annobench.score.ranks import bin_number

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]
    Mask = NDArray[np.bool_]
    Values = NDArray[np.floating]

MIXED = 0.2  # share of unrelated cells in a mixed query


class Ties:
    """Scores in order, lowest first, with equal ones together: made once, used for every metric and set of weights.

    Parameters
    ----------
    score
        (n,) score of every cell.
    """

    def __init__(self, score: "Values") -> None:
        self.order = np.argsort(score, kind="stable")
        ordered = score[self.order]
        self.starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])

    def sums(self, weights: "Array", member: "Mask | None" = None) -> "Array":
        """Weight at every score that occurs, of all cells or of some; (replicates, n) -> (replicates, scores)."""
        ordered = np.take(weights, self.order, axis=1)
        if member is not None:
            ordered *= member[self.order]
        return ordered if len(self.starts) == len(self.order) else np.add.reduceat(ordered, self.starts, axis=1)


def weighted_auroc(score: "Values", positive: "Mask", weights: "Array", ties: Ties | None = None) -> "Array":
    """AUROC with weighted cells, ties counting half; weights (replicates, n) -> (replicates,)."""
    ties = ties or Ties(score)
    up, down = ties.sums(weights, positive), ties.sums(weights, ~positive)
    below = np.cumsum(down, axis=1)
    below -= down / 2
    return np.einsum("ij,ij->i", up, below) / (up.sum(axis=1) * down.sum(axis=1))


def weighted_risk(
    confidence: "Values",
    right: "Mask",
    weights: "Array",
    coverage: float,
    ties: Ties | None = None,
) -> "tuple[Array, Array]":
    """Area under the risk-coverage curve, and accuracy at a coverage, of weighted cells: (replicates,) each."""
    ties = ties or Ties(confidence)
    size, wrong = (sums[:, ::-1] for sums in (ties.sums(weights), ties.sums(weights, ~right)))
    before, errors = np.cumsum(size, axis=1) - size, np.cumsum(wrong, axis=1) - wrong
    rate = np.divide(wrong, size, out=np.zeros_like(size), where=size > 0)  # cells may weigh nothing
    # the integral of (errors + rate * (c - before)) / c over the group
    log = np.log1p(np.divide(size, before, out=np.zeros_like(size), where=before > 0))
    area = (rate * size + (errors - rate * before) * log).sum(axis=1) / size.sum(axis=1)
    target = coverage * size.sum(axis=1, keepdims=True)
    taken = np.clip(target - before, 0, size)
    return area, 1 - (rate * taken).sum(axis=1) / target[:, 0]


def weighted_ece(confidence: "Values", right: "Mask", weights: "Array", bins: int) -> "Array":
    """Expected calibration error with weighted cells, (replicates,); bins as in `reliability`."""
    number = bin_number(confidence, bins)
    gaps = np.zeros((len(number), bins))
    gaps[np.arange(len(number)), number] = right.astype(float) - confidence
    return np.abs(weights @ gaps).sum(axis=1) / weights.sum(axis=1)


def share_found(own: "Values", unrelated: "Values", weights: "Array", ties: Ties | None = None) -> "Array":
    """Share of unrelated cells among the 20 % least confident of a mix that holds 20 % of them; ties count in part.

    weights: (replicates, own + unrelated) before mixing.
    """
    n = len(own)
    mixed = np.hstack(
        [
            weights[:, :n] * ((1 - MIXED) / weights[:, :n].sum(axis=1, keepdims=True)),
            weights[:, n:] * (MIXED / weights[:, n:].sum(axis=1, keepdims=True)),
        ]
    )
    ties = ties or Ties(np.r_[own, unrelated])
    size, strange = ties.sums(mixed), ties.sums(mixed, np.arange(mixed.shape[1]) >= n)
    before = np.cumsum(size, axis=1) - size
    taken = np.clip(MIXED - before, 0, size)
    return (strange * np.divide(taken, size, out=np.zeros_like(size), where=size > 0)).sum(axis=1) / MIXED
