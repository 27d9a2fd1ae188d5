"""Control: every condition does nothing; the mean or median of the training control cells."""

from typing import TYPE_CHECKING, Literal

import numpy as np

from annobench.fit.method import Abilities, Context, Expression, Method
from annobench.methods.shared.perturbation import Profiles, expression_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from anndata import AnnData


class ControlExpression(Method):
    """Knows what cells express, and nothing of any perturbation.

    Parameters
    ----------
    statistic
        `mean` or `median` over the control cells.
    """

    abilities = Abilities(predictions=False, expression=True, probabilities=False)

    def __init__(self, *, statistic: Literal["mean", "median"] = "mean") -> None:
        self.statistic = statistic

    def fit(self, train: "AnnData", context: Context) -> None:
        profiles = Profiles.of(train)
        self._profile = profiles.control_mean
        if self.statistic == "median":
            self._profile = np.median(profiles.values[profiles.control].toarray(), axis=0)
        self.trainable_parameters = len(self._profile)

    def predict_expression(self, query: "AnnData", conditions: "Sequence[str]") -> Expression:
        return expression_of(query, conditions, dict.fromkeys(conditions, self._profile))
