"""Control: predicts the most frequent training class for every cell. What class imbalance alone gives."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from annobench.cells.stored_cells import StoredCells, is_stored
from annobench.fit.method import Abilities, Context, Method, load_state, save_state
from annobench.fit.predictions import Predictions

if TYPE_CHECKING:
    from anndata import AnnData


class Majority(Method):
    """The probabilities are the class frequencies of the training cells, the same for every cell."""

    trainable_parameters = 0
    abilities = Abilities(streams=True)

    def fit(self, train: "AnnData | StoredCells", context: Context) -> None:
        counts = train.obs["label_id"].astype(str).value_counts().sort_index()
        self._classes, self._shares = counts.index.to_numpy(dtype=str), counts.to_numpy() / len(train.obs)
        self._top_k = context.top_k

    def predict(self, query: "AnnData | StoredCells") -> Iterator[Predictions]:
        for part in query.parts() if is_stored(query) else [query]:
            yield self._same(part)

    def _same(self, query: "AnnData | StoredCells") -> Predictions:
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
