"""Cuts: the confidence above which the error is at most a wanted one, found on validation cells with a guarantee.

The guarantee comes from testing a fixed sequence of cuts (Angelopoulos et al. 2021, "Learn then Test"). Cuts lie at
fixed shares of the validation cells that are kept, 1, 2, ... 100 %. From the strictest on, each is tested by the exact
binomial test: could an error above the wanted one have left so few wrong cells among those kept? The first cut that
fails ends the sequence, and the last one that passed is taken; as one sequence is tested in a fixed order, no
correction for many cuts is needed. Strict cuts that keep too few cells to pass even without a wrong one are no part of
it.

So the chance is at most `RISK` that the error above the cut is more than the wanted one, among cells that come as the
validation cells do. The cells are taken to be independent, which those of one donor are not quite; and a confidence
that was calibrated on the same cells has seen them, by its three numbers. For cells of another study nothing is
guaranteed.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

RISK = 0.05
STEPS = 100


@dataclass(frozen=True)
class Ladder:
    """The cuts that are tested, the strictest first, and the validation cells above each.

    Parameters
    ----------
    cuts
        (cuts,) confidences; cells at least as confident are kept.
    kept, wrong
        (cuts,) validation cells that are kept, and those of them that are wrong.
    cells
        Number of validation cells.
    """

    cuts: "NDArray[np.float64]"
    kept: "NDArray[np.int64]"
    wrong: "NDArray[np.int64]"
    cells: int

    @classmethod
    def of(cls, confidence: "NDArray[np.floating]", right: "NDArray[np.bool_]") -> "Ladder":
        """From the confidences of validation cells and which of them are predicted right, (n,) each."""
        order = np.argsort(-np.asarray(confidence, dtype=np.float64), kind="stable")
        falling, errors = np.asarray(confidence, dtype=np.float64)[order], np.cumsum(~right[order])
        n = len(order)
        at = np.unique(np.ceil(np.arange(1, STEPS + 1) * n / STEPS).astype(int)) - 1 if n else np.empty(0, dtype=int)
        cuts = np.unique(falling[at])[::-1]
        kept = np.searchsorted(-falling, -cuts, side="right").astype(np.int64)  # equal confidences are kept together
        return cls(cuts, kept, errors[kept - 1].astype(np.int64) if n else kept, n)

    def state(self) -> dict[str, list[float]]:
        """Numbers that `restore` needs."""
        counts = {"kept": self.kept, "wrong": self.wrong, "cells": np.array([self.cells])}
        return {"cuts": self.cuts.tolist()} | {name: values.astype(float).tolist() for name, values in counts.items()}

    @classmethod
    def restore(cls, state: Mapping[str, Sequence[float]]) -> "Ladder":
        """The ladder whose `state` this is."""
        kept, wrong = (np.array(state[name], dtype=np.int64) for name in ("kept", "wrong"))
        return cls(np.array(state["cuts"], dtype=np.float64), kept, wrong, int(state["cells"][0]))

    def cut(self, error: float, risk: float = RISK) -> "Cut | None":
        """The lowest cut whose error is at most the wanted one; None where no cut passes.

        Parameters
        ----------
        error
            The wanted error, above 0 and below 1.
        risk
            The chance at most that the error above the cut is more than that.
        """
        chosen = None
        for i, (kept, wrong) in enumerate(zip(self.kept.tolist(), self.wrong.tolist(), strict=True)):
            if binomial_below(0, kept, error) > risk:
                continue  # too few cells to say anything
            if binomial_below(wrong, kept, error) > risk:
                break
            chosen = i
        if chosen is None:
            return None
        kept, wrong = int(self.kept[chosen]), int(self.wrong[chosen])
        low, high = exact_interval(wrong, kept)
        return Cut(float(self.cuts[chosen]), kept / self.cells, wrong / kept, low, high)


@dataclass(frozen=True)
class Cut:
    """A cut, and what it does to the validation cells.

    Parameters
    ----------
    confidence
        Cells at least as confident are kept.
    kept
        Share of the validation cells that are.
    error
        Share of wrong cells among these.
    low, high
        Exact 95 % interval of the error (Clopper and Pearson 1934).
    """

    confidence: float
    kept: float
    error: float
    low: float
    high: float


def binomial_below(k: int, n: int, p: float) -> float:
    """Chance that at most k of n are wrong, where each is with chance p; scipy takes long to import."""
    if k >= n:
        return 1.0
    if p <= 0 or p >= 1:
        return float(p <= 0)
    i = np.arange(k + 1)
    steps = np.log(n - i[1:] + 1) - np.log(i[1:])
    logs = np.concatenate([[0.0], np.cumsum(steps)]) + i * np.log(p) + (n - i) * np.log1p(-p)
    top = logs.max()
    return float(min(1.0, np.exp(top) * np.exp(logs - top).sum()))


def exact_interval(k: int, n: int, level: float = 0.95) -> tuple[float, float]:
    """The shares that k of n do not rule out (Clopper and Pearson 1934)."""
    tail = (1 - level) / 2
    low = 0.0 if k == 0 else _share(lambda p: 1 - binomial_below(k - 1, n, p) < tail)
    high = 1.0 if k == n else _share(lambda p: binomial_below(k, n, p) > tail)
    return low, high


def _share(below: Callable[[float], bool]) -> float:
    """Where a condition ends that holds for small shares."""
    low, high = 0.0, 1.0
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if below(middle) else (low, middle)
    return (low + high) / 2


def conformal_threshold(of_truth: "NDArray[np.floating]", error: float) -> float:
    """The probability from which on a class belongs to the set of a cell (split conformal prediction, Vovk et al.
    2005).

    The sets hold the true class of a new cell of the same kind with a chance of at least 1 - error.

    Parameters
    ----------
    of_truth
        (n,) probabilities of the true classes of validation cells; 0 for a class that the model does not have.
    error
        The wanted error.
    """
    n = len(of_truth)
    rank = int(np.floor((n + 1) * error))  # so many cells may lie below
    return float(np.sort(of_truth)[rank - 1]) if rank >= 1 else 0.0
