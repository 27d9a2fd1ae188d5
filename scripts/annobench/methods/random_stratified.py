"""Control: draws labels with the class frequencies of the training cells. What guessing gives."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from annobench.methods.base import Context, Method, load_state, save_state
from annobench.predictions import Predictions

if TYPE_CHECKING:
    from anndata import AnnData


class RandomStratified(Method):
    """Each draw is stated with full confidence, so that the control bounds the calibration metrics as well."""

    trainable_parameters = 0

    def fit(self, train: "AnnData", context: Context) -> None:
        self._classes, counts = np.unique(train.obs["label_id"].astype(str), return_counts=True)
        self._shares, self._seed, self._top_k = counts / counts.sum(), context.seed, context.top_k

    def predict(self, query: "AnnData") -> Predictions:
        rng = np.random.default_rng(self._seed)
        drawn = rng.choice(len(self._classes), size=query.n_obs, p=self._shares)
        probabilities = np.eye(len(self._classes))[drawn]
        return Predictions.from_probabilities(query.obs_names, probabilities, self._classes.tolist(), self._top_k)

    def save(self, folder: Path) -> None:
        save_state(folder, {"shares": self._shares}, classes=self._classes.tolist(), seed=self._seed, top_k=self._top_k)

    @classmethod
    def load(cls, folder: Path) -> "RandomStratified":
        arrays, values = load_state(folder)
        method = cls()
        method._classes, method._shares = np.array(values["classes"]), arrays["shares"]
        method._seed, method._top_k = values["seed"], values["top_k"]
        return method
