"""Linear additive models: the effect of a condition is a linear function of features of the genes it perturbs.

With `pca` the bilinear baseline of Ahlmann-Eltze, Huber and Anders (Nature Methods 2025): effects are G W P' plus the
mean effect, where rows of G are genes in the space of principal components of the training expression, and a row of P
is the sum of the rows of G of the perturbed genes. An unseen gene is known by what it varies with in the training
cells.
"""

from typing import TYPE_CHECKING, Literal

import numpy as np

from annobench.core.errors import MethodSkipped
from annobench.core.files import sha256_of
from annobench.fit.method import Abilities, Context, Expression, Method
from annobench.methods.shared.imports import located
from annobench.methods.shared.perturbation import (
    Profiles,
    expression_of,
    gene_components,
    listed,
    located_sets,
    named,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from anndata import AnnData
    from numpy.typing import NDArray

    Array = NDArray[np.float64]


class PerturbationLinear(Method):
    """Ridge regression of effects on features of the perturbed genes; features of several genes add up.

    A condition whose features are not known, because no gene of the data has its name or no feature its gene, gets the
    mean effect of the training conditions; the run record counts them.

    Parameters
    ----------
    features
        Of a gene: `pca`, its principal components over the training cells; `one_hot`, the gene itself, which says
        nothing of genes that no training condition perturbs; `gene_sets`, the sets that hold it.
    components
        Principal components.
    ridge
        Weight of the penalty.
    gene_sets
        A GMT file (name, description, genes, separated by tabs), relative to the repository; variables such as
        $ANNOBENCH_DATA are expanded.
    """

    abilities = Abilities(predictions=False, expression=True, probabilities=False)
    files = ("{gene_sets}",)

    def __init__(
        self,
        *,
        features: Literal["pca", "one_hot", "gene_sets"] = "pca",
        components: int = 10,
        ridge: float = 0.1,
        gene_sets: str | None = None,
    ) -> None:
        self.features, self.components, self.ridge, self.gene_sets = features, components, ridge, gene_sets

    def fit(self, train: "AnnData", context: Context) -> None:
        profiles = Profiles.of(train)
        self._naming, self._control = profiles.naming, profiles.control_mean
        self._mean = profiles.mean_effect
        self.notes = {}
        genes = self._gene_features(profiles, context.seed)
        if self.features == "pca":
            known = named(profiles, "the features `pca`")
        else:
            known = np.array([i for i, name in enumerate(profiles.names) if self._row(name).any()], dtype=np.intp)
        if len(known) < 2:
            raise MethodSkipped(
                f"the features `{self.features}` know {len(known)} of {len(profiles.names)} training conditions, "
                "expected at least 2"
            )
        rows = np.array([self._row(profiles.names[i]) for i in known])
        # what is predicted of an unknown condition is the mean of all conditions, and so is the intercept
        response = profiles.effects[known] - self._mean
        gram = rows.T @ rows + self.ridge * np.eye(rows.shape[1])
        weights = np.linalg.solve(gram, rows.T @ response)  # (features, genes)
        if genes is not None:  # and effects lie in the space of the components of genes
            inner = genes.T @ genes + self.ridge * np.eye(genes.shape[1])
            weights = weights @ genes @ np.linalg.solve(inner, genes.T)
        self._weights = weights
        self.trainable_parameters = rows.shape[1] * (profiles.means.shape[1] if genes is None else genes.shape[1])
        self.notes |= {"conditions_trained": len(known), "conditions_not_used": len(profiles.names) - len(known)}

    def _gene_features(self, profiles: Profiles, seed: int) -> "Array | None":
        """Set the features of genes by name; returns them (genes, components) where effects lie in their space."""
        self._of_gene: dict[str, Array] = {}
        if self.features == "pca":
            genes = gene_components(profiles.values, self.components, seed)
            self._of_gene = {name: genes[at] for name, at in profiles.naming.at.items()}
            return genes
        if self.features == "one_hot":
            words = sorted({word for name in profiles.names for word in profiles.naming.words(name)})
            self._of_gene = dict(zip(words, np.eye(len(words)), strict=True))
            return None
        sets = self._sets()
        held = sorted(set().union(*sets.values()))
        table = np.array([[word in members for members in sets.values()] for word in held], dtype=float)
        self._of_gene = dict(zip(held, table, strict=True))
        return None

    def _sets(self) -> dict[str, set[str]]:
        path = located(self.gene_sets) if self.gene_sets else None
        if path is None or not path.is_file():
            raise MethodSkipped(
                f"parameters.gene_sets: there is no file '{self.gene_sets}'; name a GMT file of gene sets"
                if self.gene_sets
                else "parameters.gene_sets: the features `gene_sets` need a GMT file; name one"
            )
        self.notes = {"sha256": {str(self.gene_sets): sha256_of(path)}}
        return located_sets(path)

    def _row(self, condition: str) -> "Array":
        """Features of a condition: the sum over its genes, or zeros where one of them is unknown."""
        size = len(next(iter(self._of_gene.values())))
        words = self._naming.words(condition)
        if not words or any(word not in self._of_gene for word in words):
            return np.zeros(size)
        return np.asarray(sum(self._of_gene[word] for word in words))

    def predict_expression(self, query: "AnnData", conditions: "Sequence[str]") -> Expression:
        wanted = sorted(set(conditions))
        rows = {name: self._row(name) for name in wanted}
        unknown = [name for name in wanted if not rows[name].any()]
        self.notes = {**(self.notes or {}), "conditions_unknown": len(unknown), "unknown": listed(unknown)}
        effects = {name: self._mean + row @ self._weights for name, row in rows.items()}
        return expression_of(query, conditions, {name: self._control + effect for name, effect in effects.items()})
