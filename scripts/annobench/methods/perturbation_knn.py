"""Nearest perturbations: a condition does what the training conditions of similar genes do.

Genes are similar that vary together in the training control cells, where no knock-down moves them: the cosine of their
principal components. An unseen perturbed gene is known by this alone.
"""

from typing import TYPE_CHECKING

import numpy as np

from annobench.fit.method import Abilities, Context, Expression, Method
from annobench.methods.shared.perturbation import Profiles, expression_of, gene_components, listed, named

if TYPE_CHECKING:
    from collections.abc import Sequence

    from anndata import AnnData
    from numpy.typing import NDArray

    Array = NDArray[np.float64]


class PerturbationKnn(Method):
    """Mean effect of the nearest training conditions, weighted by their similarity.

    A condition of several genes lies at the mean of its genes. One whose genes the data lacks gets the mean effect of
    all training conditions; the run record counts them.

    Parameters
    ----------
    neighbours
        Training conditions that are averaged.
    components
        Principal components in which genes are compared.
    """

    abilities = Abilities(predictions=False, expression=True, probabilities=False)

    def __init__(self, *, neighbours: int = 3, components: int = 20) -> None:
        self.neighbours, self.components = neighbours, components

    def fit(self, train: "AnnData", context: Context) -> None:
        profiles = Profiles.of(train)
        known = named(profiles, "the similarity of perturbed genes")
        self._genes = _scaled(gene_components(profiles.values[profiles.control], self.components, context.seed))
        self._naming, self._control, self._mean = profiles.naming, profiles.control_mean, profiles.mean_effect
        self._effects = profiles.effects[known]
        self._places = np.array([self._place(profiles.names[i]) for i in known])
        self.trainable_parameters = self._effects.size
        self.notes = {"conditions_trained": len(known), "conditions_not_used": len(profiles.names) - len(known)}

    def _place(self, condition: str) -> "Array":
        """Where a condition lies among the genes, of length 1."""
        return np.asarray(_scaled(self._genes[self._naming.genes(condition)].mean(axis=0, keepdims=True))[0])

    def predict_expression(self, query: "AnnData", conditions: "Sequence[str]") -> Expression:
        wanted = sorted(set(conditions))
        unknown = [name for name in wanted if not self._naming.genes(name)]
        self.notes = {**(self.notes or {}), "conditions_unknown": len(unknown), "unknown": listed(unknown)}
        effects = {name: self._mean if name in unknown else self._effect(name) for name in wanted}
        return expression_of(query, conditions, {name: self._control + effect for name, effect in effects.items()})

    def _effect(self, condition: str) -> "Array":
        similarity = self._places @ self._place(condition)
        nearest = np.argsort(-similarity, kind="stable")[: self.neighbours]
        weights = np.maximum(similarity[nearest], 0)
        if not weights.any():  # nothing is similar
            return self._mean
        return np.asarray(weights @ self._effects[nearest] / weights.sum())


def _scaled(rows: "Array") -> "Array":
    """Rows of length 1; a row of zeros stays one."""
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.divide(rows, length, out=np.zeros_like(rows), where=length > 0)
