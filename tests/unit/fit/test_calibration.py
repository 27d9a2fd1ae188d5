"""A calibration that is saved and read again says the same."""

import json

import numpy as np

from annobench.fit.calibration import Platt, strength


def test_a_saved_calibration_says_the_same() -> None:
    rng = np.random.default_rng(0)
    decisions = rng.normal(size=(200, 4))
    right = rng.random(200) < 1 / (1 + np.exp(-decisions.max(axis=1)))
    calibration = Platt(strength(decisions), right)
    restored = Platt.restore(json.loads(json.dumps(calibration.state())))
    other = strength(rng.normal(size=(50, 4)))
    assert np.array_equal(restored(other), calibration(other))
