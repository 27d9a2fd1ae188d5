"""Control: every condition does what perturbations do on average."""

from typing import TYPE_CHECKING

from annobench.fit.method import Abilities, Context, Expression, Method
from annobench.methods.shared.perturbation import Profiles, expression_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from anndata import AnnData


class PerturbedMean(Method):
    """Mean of the control cells and of the effects of all training conditions, each counting the same.

    It knows nothing of the condition that it predicts, and wins many a comparison: see docs/perturbation.md.
    """

    abilities = Abilities(predictions=False, expression=True, probabilities=False)

    def fit(self, train: "AnnData", context: Context) -> None:
        profiles = Profiles.of(train)
        self._profile = profiles.control_mean + profiles.mean_effect
        self.trainable_parameters = len(self._profile)

    def predict_expression(self, query: "AnnData", conditions: "Sequence[str]") -> Expression:
        return expression_of(query, conditions, dict.fromkeys(conditions, self._profile))
