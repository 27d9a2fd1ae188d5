"""The frozen probe: logistic regression on standardised features, its regularisation chosen on validation cells."""

import warnings
from typing import TYPE_CHECKING

import numpy as np
import torch

from annobench.core.counts import macro_f1_of_codes
from annobench.methods.transformer.model import ProbeHead

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Features = NDArray[np.float32]
    Codes = NDArray[np.int64]


def fit_probe(
    train: "tuple[Features, Codes]",
    validation: "tuple[Features, Codes] | None",
    *,
    classes: int,
    strengths: tuple[float, ...],
    seed: int,
) -> tuple[ProbeHead, dict[str, float | str]]:
    """A probe and what the run record says of it.

    Parameters
    ----------
    train, validation
        Features (n, width) and class numbers; all classes occur in training.
    classes
        Number of classes.
    strengths
        Values of C among which macro F1 on the validation cells decides, between equal ones the smallest, which is the
        strongest regularisation. Without validation cells it is 1.
    seed
        Of the solver.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    features, codes = train
    mean, deviation = features.mean(0), features.std(0)
    deviation = np.where(deviation > 1e-6 * max(float(deviation.max()), 1e-30), deviation, 1).astype(np.float32)
    scaled = (features - mean) / deviation
    notes: dict[str, float | str] = {}
    best: tuple[float, float] | None = None
    for strength in sorted(strengths) if validation is not None else (1.0,):
        model = LogisticRegression(C=strength, max_iter=1000, random_state=seed)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", ConvergenceWarning)
            model.fit(scaled, codes)
        score = 0.0
        if validation is not None:
            score = macro_f1_of_codes(validation[1], model.predict((validation[0] - mean) / deviation))
        if best is None or score > best[0]:
            best, chosen = (score, strength), model
            notes["converged"] = "no" if any(isinstance(one.message, ConvergenceWarning) for one in caught) else "yes"
    assert best is not None
    notes["inverse_strength"] = best[1]
    if validation is not None:
        notes["validation_macro_f1"] = round(best[0], 4)
    return _head(chosen.coef_, chosen.intercept_, mean, deviation, classes=classes), notes


def _head(
    weight: "NDArray[np.float64]",
    bias: "NDArray[np.float64]",
    mean: "Features",
    deviation: "Features",
    *,
    classes: int,
) -> ProbeHead:
    """The probe as a module; scikit-learn has one row for two classes, whose other logit is 0."""
    if classes == 2:
        weight, bias = np.vstack([np.zeros_like(weight), weight]), np.concatenate([[0.0], bias])
    head = ProbeHead(weight.shape[1], classes)
    with torch.no_grad():
        head.linear.weight.copy_(torch.from_numpy(weight))
        head.linear.bias.copy_(torch.from_numpy(bias))
    head.mean.copy_(torch.from_numpy(mean))
    head.deviation.copy_(torch.from_numpy(deviation))
    return head
