"""What confidences say by their order, and how well they agree with what is right.

Cells with equal confidence are taken together, so that the order of the cells changes nothing.
"""

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

COVERAGE = 0.8  # of `selective_accuracy`


def tied_counts(
    score: "NDArray[np.floating]", positive: "NDArray[np.bool_]"
) -> "tuple[NDArray[np.int64], NDArray[np.int64]]":
    """Positive and negative cells at every value that occurs, lowest value first."""
    ordered = np.sort(score)
    first = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]]) if len(ordered) else np.empty(0, dtype=np.int64)
    every = np.diff(np.r_[first, len(ordered)])
    # two sorts and a merge: several times faster than an argsort of the cells, which is not needed
    of_positive = np.diff(np.r_[np.searchsorted(np.sort(score[positive]), ordered[first]), positive.sum()])
    return of_positive, every - of_positive


def auroc_of_counts(of_positive: "NDArray[np.int64]", of_negative: "NDArray[np.int64]") -> float:
    """AUROC from the positive and negative cells at every value, lowest value first."""
    below = np.cumsum(of_negative) - of_negative
    return float((of_positive * (below + of_negative / 2)).sum() / (of_positive.sum() * of_negative.sum()))


def auroc(score: "NDArray[np.floating]", positive: "NDArray[np.bool_]") -> float:
    """Chance that a positive scores above a negative, ties counting half; needs both."""
    return auroc_of_counts(*tied_counts(score, positive))


def risk_coverage(confidence: "NDArray[np.floating]", right: "NDArray[np.bool_]") -> "NDArray[np.float64]":
    """Error among the m most confident cells, for m = 1..n; within ties the expected error over all orders."""
    wrong, good = (count[::-1] for count in tied_counts(confidence, ~right))
    size = wrong + good
    expected = np.repeat(wrong / size, size)
    return np.cumsum(expected) / np.arange(1, len(confidence) + 1)


def bin_number(confidence: "NDArray[np.floating]", bins: int) -> "NDArray[np.intp]":
    """Bin of every confidence; bins are equally wide and closed above (Guo et al. 2017)."""
    return np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)


def reliability(
    confidence: "NDArray[np.floating]", right: "NDArray[np.bool_]", bins: int
) -> list[tuple[str, float, float, int]]:
    """(bin, accuracy, mean confidence, cells) of every bin with cells."""
    ordered = np.sort(confidence)
    ends = np.searchsorted(bin_number(ordered, bins), np.arange(bins + 1))
    good = np.bincount(bin_number(confidence[right], bins), minlength=bins)
    return [
        (f"{i:02d}", float(good[i] / (end - start)), float(ordered[start:end].mean()), int(end - start))
        for i, (start, end) in enumerate(pairwise(ends))
        if end > start
    ]
