"""Rules that turn the decision values of a classifier into a confidence, and the thresholds that were published.

- `raw`: the method's own confidence. For CellTypist the sigmoid of the largest decision value.
- `softmax`: softmax over the decision values, of the best class. Where labels are rolled up, the sum over the classes
  of its target; so is an own confidence that is a softmax.
- `zscore`: sigmoid of (largest - mean) / standard deviation of a cell's decision values over the classes (SpatialCore).
  Shifting or scaling the values changes nothing: it says how far one class is ahead of the others, but not how strong
  the evidence for it is.
- `calibrated`: chance that the answer is right: a logistic function of the largest decision value and of its
  logarithmic softmax, rising in both, fitted on the validation cells (Platt 1999). The first keeps the strength of the
  evidence, which tells unrelated cells from known ones and which neither the z-score nor the softmax has (Hendrycks et
  al. 2022, MaxLogit); the second says how far the best class is ahead.
"""

from typing import TYPE_CHECKING

import numpy as np

from annobench.fit.calibration import Groups, Platt, expit, softmax, strength

if TYPE_CHECKING:
    from numpy.typing import NDArray

RULES = ("raw", "softmax", "zscore", "calibrated")
CALIBRATED = "calibrated"  # whose confidence cells in space are shown with, where the method has decision values
PUBLISHED = {"raw": 0.5, "zscore": 0.8}  # below these SpatialCore and its baseline call a cell unknown


def zscore(decisions: "NDArray[np.floating]") -> "NDArray[np.float64]":
    """SpatialCore's confidence, (cells,) from (cells, classes); a cell with equal values for all classes gets 0.5.

    The original divides by 1 where the deviation is below 1e-10, which is the same.
    """
    values = np.asarray(decisions, dtype=np.float64)
    deviation = values.std(axis=1)
    deviation[deviation < 1e-10] = 1.0
    return expit((values.max(axis=1) - values.mean(axis=1)) / deviation)


def by_rule(
    decisions: "NDArray[np.floating]",
    own: "NDArray[np.floating] | None",
    calibration: Platt | None,
    groups: Groups | None = None,
) -> dict[str, "NDArray[np.float64]"]:
    """Confidence of every cell by every rule that can be computed.

    Parameters
    ----------
    decisions
        (cells, classes) decision values.
    own
        (cells,) the method's own confidence; None where it gives none.
    calibration
        Fitted on validation cells; None where there are none.
    groups
        Targets of classes and predictions, where labels are rolled up. An own confidence that is the softmax is then
        summed over the classes of a target, as the softmax is.

    Returns
    -------
    Rule -> (cells,), in the order of `RULES`.
    """
    confidences = {"softmax": softmax(decisions, groups), "zscore": zscore(decisions)}
    if own is not None:
        is_softmax = np.allclose(own, softmax(decisions), atol=1e-4)
        confidences["raw"] = confidences["softmax"] if groups and is_softmax else np.asarray(own, dtype=np.float64)
    if calibration is not None:
        confidences["calibrated"] = calibration(strength(decisions, groups))
    return {rule: confidences[rule] for rule in RULES if rule in confidences}
