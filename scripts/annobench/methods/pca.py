"""Principal components of log-normalised variable genes: the baseline of every task on embeddings."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from annobench.core.errors import ConfigError
from annobench.fit.method import Abilities, Context, Embedding, Method, Needs, load_state, save_state
from annobench.methods.shared.features import ExpressionFeatures, PrincipalComponents

if TYPE_CHECKING:
    from anndata import AnnData


class PrincipalComponentAnalysis(Method):
    """Genes and components are those of the test cells, unlabelled, or of the training cells.

    Parameters
    ----------
    fitted_on
        `query`: the test cells, as where a dataset is embedded as a whole (regime zero_shot). `train`: the training
        cells; a file that says so also says `needs: {query: false}` and `abilities: {trains: true}`.
    n_genes
        Variable genes; None for all.
    n_components
        Most components.
    total
        Counts to which every cell is scaled before the logarithm; None for the median, as scanpy does.
    """

    needs = Needs(query=True)
    abilities = Abilities(predictions=False, probabilities=False, embedding=True, trains=False)
    set_by_yaml = ("needs.query", "abilities.trains")  # by `fitted_on`

    def __init__(
        self,
        *,
        fitted_on: Literal["query", "train"] = "query",
        n_genes: int | None = 3000,
        n_components: int = 50,
        total: float | None = 10000.0,
    ) -> None:
        self.fitted_on, self.n_genes, self.n_components, self.total = fitted_on, n_genes, n_components, total

    def fit(self, train: "AnnData", context: Context) -> None:
        cells = train if self.fitted_on == "train" else context.query
        if (self.fitted_on == "train") == (context.query is not None) or cells is None:
            needed = "false" if self.fitted_on == "train" else "true"
            raise ConfigError(
                f"parameters.fitted_on is {self.fitted_on}: the method file must say `needs: {{query: {needed}}}`, and "
                f"`abilities: {{trains: {'true' if needed == 'false' else 'false'}}}`"
            )
        self._features = ExpressionFeatures(self.n_genes, self.total)
        self._pca = PrincipalComponents(self.n_components, context.seed)
        self._pca.fit(self._features.fit(cells))
        self.notes = {"fitted_on": self.fitted_on, "genes": len(self._features.genes)}

    def embed(self, query: "AnnData") -> Iterator[Embedding]:
        yield Embedding(query.obs_names.to_numpy(), self._pca.transform(self._features.transform(query)))

    def save(self, folder: Path) -> None:
        if self.fitted_on == "train":  # components of the test cells are of use for these alone
            save_state(folder, {**self._features.state(), **self._pca.state()})

    @classmethod
    def load(cls, folder: Path) -> "PrincipalComponentAnalysis":
        arrays, _ = load_state(folder)
        method = cls(fitted_on="train")
        method._features = ExpressionFeatures.restore(arrays)
        method._pca = PrincipalComponents.restore(arrays)
        return method
