"""Temperature: one number by which all probabilities of a model are made more or less sure (Guo et al. 2017).

Probabilities p become p ** (1 / temperature), divided by their sum. They stay probabilities of classes that exclude
each other, so that what is summed over classes (a node of the ontology) is calibrated with them, and sums over disjoint
nodes are at most one.
"""

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

SMALLEST = 1e-7  # a probability is taken to be at least this: of 16 bits, no smaller one is told from zero
MOST = 2_000  # validation cells that are looked at: the temperature is then known to a few per cent
_RANGE = (1e-3, 20.0)  # of 1 / temperature
_STEPS = 50


def fitted_temperature(probabilities: "NDArray[np.floating]", truth: "NDArray[np.integer]") -> float | None:
    """The temperature at which the probabilities of validation cells fit their labels best (logarithmic loss).

    As in Platt's calibration, a true class has the target (n + 1) / (n + 2) instead of 1, the others share the rest:
    the temperature stays above zero where all cells are predicted right.

    Parameters
    ----------
    probabilities
        (n, classes) of validation cells. Of more than `MOST` cells every so manieth is taken.
    truth
        (n,) numbers of their classes; -1 for a class that the model does not have: such a cell says nothing.

    Returns
    -------
    float, or None where there is no cell of a class of the model, or only one class.
    """
    cells = np.flatnonzero(truth >= 0)
    cells = cells[:: max(1, len(cells) // MOST)]
    classes = probabilities.shape[1]
    if not len(cells) or classes < 2:
        return None
    logs = np.log(np.maximum(probabilities[cells].astype(np.float64), SMALLEST))
    n = len(cells)
    rest = 1 / (n + 2) / (classes - 1)
    own = logs[np.arange(n), truth[cells]]
    wanted = float((own * ((n + 1) / (n + 2) - rest) + logs.sum(axis=1) * rest).mean())
    low, high = _RANGE
    power = 1.0
    for _ in range(_STEPS):  # the loss is convex in the power: Newton's step, or half the interval that is left
        weights = _powered(logs, power)
        mean = (weights * logs).sum(axis=1)
        slope = float(mean.mean()) - wanted
        low, high = (power, high) if slope < 0 else (low, power)
        curve = float(((weights * logs**2).sum(axis=1) - mean**2).mean())
        step = power - slope / curve if curve > 0 else np.nan
        before, power = power, float(step) if low < step < high else (low + high) / 2
        if abs(power - before) < 1e-6 * before:
            break
    return 1 / power


def tempered(probabilities: "NDArray[np.floating]", temperature: float) -> "NDArray[np.float64]":
    """Calibrated probabilities, (n, classes); every row adds up to one."""
    return _powered(np.log(np.maximum(probabilities.astype(np.float64), SMALLEST)), 1 / temperature)


def _powered(logs: "NDArray[np.float64]", power: float) -> "NDArray[np.float64]":
    values = np.exp((logs - logs.max(axis=1, keepdims=True)) * power)
    values /= values.sum(axis=1, keepdims=True)
    return values
