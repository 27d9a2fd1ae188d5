"""Control: predicts the most frequent training class for every cell. What class imbalance alone gives."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from annobench.methods.base import Context, Method, load_state, save_state
from annobench.predictions import Predictions

if TYPE_CHECKING:
    from anndata import AnnData


class Majority(Method):
    """The probabilities are the class frequencies of the training cells, the same for every cell."""

    trainable_parameters = 0

    def fit(self, train: "AnnData", context: Context) -> None:
        self._classes, counts = np.unique(train.obs["label_id"].astype(str), return_counts=True)
        self._shares = counts / counts.sum()
        self._top_k = context.top_k

    def predict(self, query: "AnnData") -> Predictions:
        probabilities = np.tile(self._shares, (query.n_obs, 1))
        return Predictions.from_probabilities(query.obs_names, probabilities, self._classes.tolist(), self._top_k)

    def save(self, folder: Path) -> None:
        save_state(folder, {"shares": self._shares}, classes=self._classes.tolist(), top_k=self._top_k)

    @classmethod
    def load(cls, folder: Path) -> "Majority":
        arrays, values = load_state(folder)
        method = cls()
        method._classes, method._shares, method._top_k = np.array(values["classes"]), arrays["shares"], values["top_k"]
        return method
