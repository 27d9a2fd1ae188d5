"""Multinomial logistic regression on log-normalised variable genes, or on their principal components."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from sklearn.linear_model import LogisticRegression

from annobench.fit.method import Context, Embedding, Method, load_state, save_state
from annobench.fit.predictions import Predictions
from annobench.methods.shared.features import ExpressionFeatures, PrincipalComponents

if TYPE_CHECKING:
    from anndata import AnnData
    from numpy.typing import NDArray
    from scipy.sparse import csr_matrix


class LogisticRegressionMethod(Method):
    """scikit-learn's logistic regression (L2, lbfgs).

    Parameters
    ----------
    n_genes
        Variable genes; None for all.
    n_components
        Principal components on which it is trained, which are also its embedding; None for the genes themselves.
    C
        Inverse strength of the regularisation.
    max_iter
        Most iterations.
    """

    set_by_yaml = ("abilities.embedding",)  # with a PCA

    def __init__(
        self, *, n_genes: int | None = 2000, n_components: int | None = None, C: float = 1.0, max_iter: int = 1000
    ) -> None:
        self.n_genes, self.n_components, self.C, self.max_iter = n_genes, n_components, C, max_iter

    def fit(self, train: "AnnData", context: Context) -> None:
        self._features = ExpressionFeatures(self.n_genes)
        values: csr_matrix | NDArray[np.float32] = self._features.fit(train)
        self._pca = PrincipalComponents(self.n_components, context.seed) if self.n_components else None
        if self._pca:
            values = self._pca.fit(values)
        self._model = LogisticRegression(C=self.C, max_iter=self.max_iter, random_state=context.seed)
        self._model.fit(values, train.obs["label_id"].astype(str).to_numpy())
        self._top_k = context.top_k
        self.trainable_parameters = self._model.coef_.size + self._model.intercept_.size

    def _values(self, query: "AnnData") -> "csr_matrix | NDArray[np.float32]":
        values = self._features.transform(query)
        return self._pca.transform(values) if self._pca else values

    def predict(self, query: "AnnData") -> Iterator[Predictions]:
        values = self._values(query)
        decisions = self._model.decision_function(values)
        if decisions.ndim == 1:  # two classes
            decisions = np.column_stack([-decisions, decisions])
        yield Predictions.from_probabilities(
            query.obs_names, self._model.predict_proba(values), self._model.classes_.tolist(), self._top_k, decisions
        )

    def embed(self, query: "AnnData") -> Iterator[Embedding]:
        yield Embedding(query.obs_names.to_numpy(), self._values(query))

    def save(self, folder: Path) -> None:
        arrays = {"coef": self._model.coef_, "intercept": self._model.intercept_, **self._features.state()}
        if self._pca:
            arrays |= self._pca.state()
        save_state(folder, arrays, classes=self._model.classes_.tolist(), top_k=self._top_k)

    @classmethod
    def load(cls, folder: Path) -> "LogisticRegressionMethod":
        arrays, values = load_state(folder)
        method = cls()
        method._features = ExpressionFeatures.restore(arrays)
        method._pca = PrincipalComponents.restore(arrays) if "components" in arrays else None
        method._model = LogisticRegression()
        method._model.coef_, method._model.intercept_ = arrays["coef"], arrays["intercept"]
        method._model.classes_, method._top_k = np.array(values["classes"]), values["top_k"]
        return method
