"""k nearest neighbours on principal components of log-normalised variable genes."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from sklearn.neighbors import KNeighborsClassifier

from annobench.fit.method import Abilities, Context, Embedding, Method, load_state, save_state
from annobench.fit.predictions import Predictions
from annobench.methods.shared.features import ExpressionFeatures, PrincipalComponents

if TYPE_CHECKING:
    from anndata import AnnData


class NearestNeighbours(Method):
    """scikit-learn's nearest neighbours, with votes weighted by inverse distance; probabilities are shares of votes.

    Parameters
    ----------
    n_genes
        Variable genes; None for all.
    n_components
        Principal components.
    n_neighbors
        Neighbours that vote.
    """

    abilities = Abilities(embedding=True)

    def __init__(self, *, n_genes: int | None = 2000, n_components: int = 50, n_neighbors: int = 15) -> None:
        self.n_genes, self.n_components, self.n_neighbors = n_genes, n_components, n_neighbors

    def fit(self, train: "AnnData", context: Context) -> None:
        self._features = ExpressionFeatures(self.n_genes)
        self._pca = PrincipalComponents(self.n_components, context.seed)
        self._points = self._pca.fit(self._features.fit(train))
        self._labels = train.obs["label_id"].astype(str).to_numpy()
        self._threads, self._top_k = context.threads, context.top_k
        self._index()

    def _index(self) -> None:
        neighbours = min(self.n_neighbors, len(self._labels))
        self._model = KNeighborsClassifier(neighbours, weights="distance", n_jobs=self._threads).fit(
            self._points, self._labels
        )

    def predict(self, query: "AnnData") -> Iterator[Predictions]:
        probabilities = self._model.predict_proba(self._places(query))
        yield Predictions.from_probabilities(query.obs_names, probabilities, self._model.classes_.tolist(), self._top_k)

    def embed(self, query: "AnnData") -> Iterator[Embedding]:
        yield Embedding(query.obs_names.to_numpy(), self._places(query))

    def _places(self, query: "AnnData") -> "np.ndarray":
        return self._pca.transform(self._features.transform(query))

    def save(self, folder: Path) -> None:
        arrays = {"points": self._points, "labels": self._labels.astype(str), **self._features.state()}
        arrays |= self._pca.state()
        save_state(folder, arrays, n_neighbors=self.n_neighbors, top_k=self._top_k)

    @classmethod
    def load(cls, folder: Path) -> "NearestNeighbours":
        arrays, values = load_state(folder)
        method = cls(n_neighbors=values["n_neighbors"])
        method._features = ExpressionFeatures.restore(arrays)
        method._pca = PrincipalComponents.restore(arrays)
        method._points, method._labels = arrays["points"], arrays["labels"].astype(object)
        method._threads, method._top_k = 1, values["top_k"]
        method._index()
        return method
