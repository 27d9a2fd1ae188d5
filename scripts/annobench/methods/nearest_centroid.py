"""Nearest centroid: Pearson correlation of a cell with the mean log-normalised profile of each class."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from annobench.fit.method import Abilities, Context, Method, load_state, save_state
from annobench.fit.predictions import Predictions
from annobench.methods.shared.features import ExpressionFeatures

if TYPE_CHECKING:
    from anndata import AnnData
    from scipy.sparse import csr_matrix


class NearestCentroid(Method):
    """Scores are correlations, not probabilities.

    Parameters
    ----------
    n_genes
        Variable genes; None for all.
    """

    abilities = Abilities(probabilities=False)

    def __init__(self, *, n_genes: int | None = 2000) -> None:
        self.n_genes = n_genes

    def fit(self, train: "AnnData", context: Context) -> None:
        self._features = ExpressionFeatures(self.n_genes)
        values = self._features.fit(train)
        labels = train.obs["label_id"].astype(str).to_numpy()
        self._classes = np.unique(labels)
        self._centroids = np.vstack([np.asarray(values[labels == c].mean(axis=0)).ravel() for c in self._classes])
        self._top_k = context.top_k
        self.trainable_parameters = self._centroids.size

    def predict(self, query: "AnnData") -> Iterator[Predictions]:
        scores = _correlation(self._features.transform(query), self._centroids)
        predictions = Predictions.from_probabilities(
            query.obs_names, scores, self._classes.tolist(), self._top_k, scores
        )
        predictions.probabilities = None  # correlations are not probabilities
        yield predictions

    def save(self, folder: Path) -> None:
        save_state(
            folder,
            {"centroids": self._centroids, **self._features.state()},
            classes=self._classes.tolist(),
            top_k=self._top_k,
        )

    @classmethod
    def load(cls, folder: Path) -> "NearestCentroid":
        arrays, values = load_state(folder)
        method = cls()
        method._features = ExpressionFeatures.restore(arrays)
        method._centroids, method._classes, method._top_k = (
            arrays["centroids"],
            np.array(values["classes"]),
            values["top_k"],
        )
        return method


def _correlation(cells: "csr_matrix", profiles: "np.ndarray") -> "np.ndarray":
    """Pearson correlation of every cell (CSR rows) with every profile; 0 where a row does not vary."""
    n = cells.shape[1]
    centred = profiles - profiles.mean(axis=1, keepdims=True)
    sums = np.asarray(cells.sum(axis=1)).ravel()
    squares = np.asarray(cells.multiply(cells).sum(axis=1)).ravel()
    norm = np.sqrt(np.maximum(squares - sums**2 / n, 0))[:, None] * np.linalg.norm(centred, axis=1)
    return np.divide(cells @ centred.T, norm, out=np.zeros((cells.shape[0], len(profiles))), where=norm > 0)
