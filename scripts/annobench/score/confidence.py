"""Rules that turn the decision values of a classifier into a confidence, and the thresholds that were published.

- `raw`: the method's own confidence. For CellTypist the sigmoid of the largest decision value.
- `softmax`: softmax over the decision values, of the best class. Where labels are rolled up, the sum over the classes
  of its target; so is an own confidence that is a softmax.
- `zscore`: sigmoid of (largest - mean) / standard deviation of a cell's decision values over the classes (SpatialCore).
  Shifting or scaling the values changes nothing, so it knows where a cell leans but not how much speaks for it.
- `calibrated`: chance that the answer is right: a logistic function of the largest decision value and of its
  logarithmic softmax, rising in both, fitted on the validation cells (Platt 1999). The first keeps the strength of the
  evidence, which tells unrelated cells from known ones and which neither the z-score nor the softmax has (Hendrycks et
  al. 2022, MaxLogit); the second says how far the best class is ahead.
"""

from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

RULES = ("raw", "softmax", "zscore", "calibrated")
RECOMMENDED = "calibrated"
PUBLISHED = {"raw": 0.5, "zscore": 0.8}  # below these SpatialCore and its baseline call a cell unknown


def expit(values: "NDArray[Any]") -> "NDArray[np.float64]":
    """1 / (1 + exp(-x)) without overflow; scipy has it too, but to import it takes longer than to score a fit."""
    values = np.asarray(values, dtype=np.float64)
    small = np.exp(-np.abs(values))
    return np.where(values >= 0, 1 / (1 + small), small / (1 + small))


def logsumexp(values: "NDArray[Any]") -> "NDArray[np.float64]":
    """log(sum(exp(x))) over the last axis, without overflow."""
    top = values.max(axis=-1)
    return top + np.log(np.exp(values - top[..., None]).sum(axis=-1))


def zscore(decisions: "NDArray[Any]") -> "NDArray[np.float64]":
    """SpatialCore's confidence, (cells,) from (cells, classes); a cell with equal values for all classes gets 0.5.

    The original divides by 1 where the deviation is below 1e-10, which comes to the same.
    """
    values = np.asarray(decisions, dtype=np.float64)
    deviation = values.std(axis=1)
    deviation[deviation < 1e-10] = 1.0
    return expit((values.max(axis=1) - values.mean(axis=1)) / deviation)


@dataclass(frozen=True)
class Groups:
    """Where labels are rolled up: the target of every class, (classes,), and of every answer, (cells,), as numbers."""

    classes: "NDArray[np.integer[Any]]"
    answers: "NDArray[np.integer[Any]]"


def softmax(decisions: "NDArray[Any]", groups: Groups | None = None) -> "NDArray[np.float64]":
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

    def __init__(self, score: "NDArray[Any]", right: "NDArray[np.bool_]") -> None:
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

    def __call__(self, score: "NDArray[Any]") -> "NDArray[np.float64]":
        """Chance of being right, (cells,)."""
        values = (_columns(score) - self.centre) / self.scale
        return expit(values @ self.weights[:-1] + self.weights[-1])


def _log_loss(value: "NDArray[Any]", target: "NDArray[Any]") -> float:
    return float((np.logaddexp(0, value) - target * value).mean())


def _logistic(x: "NDArray[Any]", target: "NDArray[Any]") -> "NDArray[np.float64]":
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


def _columns(score: "NDArray[Any]") -> "NDArray[np.float64]":
    values = np.asarray(score, dtype=np.float64)
    return values[:, None] if values.ndim == 1 else values


def strength(decisions: "NDArray[Any]", groups: Groups | None = None) -> "NDArray[np.float64]":
    """What `calibrated` looks at: the largest decision value and the logarithm of the softmax, (cells, 2)."""
    values = np.asarray(decisions, dtype=np.float64)
    return np.column_stack([values.max(axis=1), np.log(np.maximum(softmax(values, groups), 1e-300))])


def by_rule(
    decisions: "NDArray[Any]",
    own: "NDArray[Any] | None",
    calibration: Platt | None,
    groups: Groups | None = None,
) -> dict[str, "NDArray[np.float64]"]:
    """Confidence of every cell by every rule that can be had: rule -> (cells,).

    Rolled up (`groups`), an own confidence that is the softmax is summed over the classes of a target like it.
    """
    found = {"softmax": softmax(decisions, groups), "zscore": zscore(decisions)}
    if own is not None:
        is_softmax = np.allclose(own, softmax(decisions), atol=1e-4)
        found["raw"] = found["softmax"] if groups and is_softmax else np.asarray(own, dtype=np.float64)
    if calibration is not None:
        found["calibrated"] = calibration(strength(decisions, groups))
    return {rule: found[rule] for rule in RULES if rule in found}
