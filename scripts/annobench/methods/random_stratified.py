"""Control: draws labels with the class frequencies of the training cells. What guessing gives."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from annobench.cells.stored_cells import StoredCells, is_stored
from annobench.fit.method import Abilities, Context, Method, load_state, save_state
from annobench.fit.predictions import Predictions

if TYPE_CHECKING:
    from anndata import AnnData


class RandomStratified(Method):
    """Each draw is stated with full confidence, so that the control bounds the calibration metrics as well."""

    trainable_parameters = 0
    abilities = Abilities(streams=True)

    def fit(self, train: "AnnData | StoredCells", context: Context) -> None:
        counts = train.obs["label_id"].astype(str).value_counts().sort_index()
        self._classes, self._shares = counts.index.to_numpy(dtype=str), counts.to_numpy() / len(train.obs)
        self._seed, self._top_k = context.seed, context.top_k

    def predict(self, query: "AnnData | StoredCells") -> Iterator[Predictions]:
        rng = np.random.default_rng(self._seed)
        for part in query.parts() if is_stored(query) else [query]:
            yield self._drawn(part, rng)

    def _drawn(self, query: "AnnData | StoredCells", rng: np.random.Generator) -> Predictions:
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
