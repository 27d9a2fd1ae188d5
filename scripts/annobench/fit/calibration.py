"""Calibration: a logistic function from decision values to the chance that a prediction is right (Platt 1999).

Fitted on the validation cells of a fit; scoring compares it with other confidence rules, and a saved model carries it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_STATE = ("centre", "scale", "weights")


def expit(values: "NDArray[np.floating]") -> "NDArray[np.float64]":
    """1 / (1 + exp(-x)) without overflow; scipy has it too, but to import it takes longer than to score a fit."""
    values = np.asarray(values, dtype=np.float64)
    small = np.exp(-np.abs(values))
    return np.where(values >= 0, 1 / (1 + small), small / (1 + small))


def logsumexp(values: "NDArray[np.floating]") -> "NDArray[np.float64]":
    """log(sum(exp(x))) over the last axis, without overflow."""
    top = values.max(axis=-1)
    return top + np.log(np.exp(values - top[..., None]).sum(axis=-1))


@dataclass(frozen=True)
class Groups:
    """Where labels are rolled up: the target of every class, (classes,), and of every answer, (cells,), as numbers."""

    classes: "NDArray[np.integer]"
    answers: "NDArray[np.integer]"


def softmax(decisions: "NDArray[np.floating]", groups: Groups | None = None) -> "NDArray[np.float64]":
    """Softmax of the best class, (cells,) from (cells, classes); rolled up the sum over the classes of its target."""
    values = np.asarray(decisions, dtype=np.float64)
    if groups is None:
        return np.exp(values.max(axis=1) - logsumexp(values))
    shares = np.exp(values - logsumexp(values)[:, None])
    return np.clip((shares * (groups.classes[None, :] == groups.answers[:, None])).sum(axis=1), 0, 1)


class Platt:
    """Logistic function of scores, fitted to what was right and wrong (Platt 1999), never falling in any of them.

    score: (cells,) or (cells, scores). The targets are (right + 1) / (right + 2) and 1 / (wrong + 2) instead of 1 and
    0, which keeps the fit finite where all cells are right or the scores tell them apart without fault. A score that is
    the same for all cells teaches nothing, and has no weight.
    """

    def __init__(self, score: "NDArray[np.floating]", right: "NDArray[np.bool_]") -> None:
        values = _columns(score)
        if len(values) == 0:
            raise ValueError("a calibration needs validation cells")
        self.centre, self.scale = values.mean(axis=0), values.std(axis=0)
        self.scale[self.scale < 1e-12 * (1 + np.abs(self.centre))] = 1.0
        n = int(right.sum())
        target = np.where(right, (n + 1) / (n + 2), 1 / (len(right) - n + 2))
        x = np.column_stack([(values - self.centre) / self.scale, np.ones(len(values))])
        # the loss is convex: its lowest point with rising weights is the lowest of those that leave some scores out
        found = []
        for size in range(values.shape[1] + 1):
            for used in combinations(range(values.shape[1]), size):
                weights = np.zeros(x.shape[1])
                weights[[*used, -1]] = _logistic(x[:, [*used, -1]], target)
                if (weights[:-1] >= 0).all():
                    found.append((_log_loss(x @ weights, target), size, weights))
        self.weights = min(found, key=lambda one: one[:2])[2]

    def __call__(self, score: "NDArray[np.floating]") -> "NDArray[np.float64]":
        """Chance of being right, (cells,)."""
        values = (_columns(score) - self.centre) / self.scale
        return expit(values @ self.weights[:-1] + self.weights[-1])

    def state(self) -> dict[str, list[float]]:
        """Numbers that `restore` needs."""
        return {name: getattr(self, name).tolist() for name in _STATE}

    @classmethod
    def restore(cls, state: Mapping[str, Sequence[float]]) -> "Platt":
        """The function whose `state` this is."""
        found = cls.__new__(cls)
        for name in _STATE:
            setattr(found, name, np.array(state[name], dtype=np.float64))
        return found


def _log_loss(value: "NDArray[np.floating]", target: "NDArray[np.floating]") -> float:
    return float((np.logaddexp(0, value) - target * value).mean())


def _logistic(x: "NDArray[np.floating]", target: "NDArray[np.floating]") -> "NDArray[np.float64]":
    """Weights of a logistic regression on targets between 0 and 1, by Newton's method with halved steps."""
    weights = np.zeros(x.shape[1])
    loss = _log_loss(x @ weights, target)
    for _ in range(100):
        chance = expit(x @ weights)
        slope = x.T @ (chance - target) / len(x)
        curve = (x * (chance * (1 - chance))[:, None]).T @ x / len(x)
        step = np.linalg.lstsq(curve, slope, rcond=1e-10)[0]
        for _ in range(30):
            other = _log_loss(x @ (weights - step), target)
            if other <= loss:
                break
            step = step / 2
        else:
            break
        weights, gained, loss = weights - step, loss - other, other
        if gained < 1e-14:
            break
    return weights


def _columns(score: "NDArray[np.floating]") -> "NDArray[np.float64]":
    values = np.asarray(score, dtype=np.float64)
    return values[:, None] if values.ndim == 1 else values


def strength(decisions: "NDArray[np.floating]", groups: Groups | None = None) -> "NDArray[np.float64]":
    """What `calibrated` looks at: the largest decision value and the logarithm of the softmax, (cells, 2)."""
    values = np.asarray(decisions, dtype=np.float64)
    return np.column_stack([values.max(axis=1), np.log(np.maximum(softmax(values, groups), 1e-300))])
