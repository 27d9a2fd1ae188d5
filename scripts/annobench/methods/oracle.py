"""Control: predicts the true labels. The upper end of every metric."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from annobench.cells.stored_cells import StoredCells, is_stored
from annobench.fit.method import Context, Method
from annobench.fit.predictions import Predictions

if TYPE_CHECKING:
    from collections.abc import Iterator

    from anndata import AnnData


class Oracle(Method):
    """Looks the answer up. A cell of a class that is not in training, or of unknown type, is looked up as well."""

    streams = True

    def fit(self, train: "AnnData | StoredCells", context: Context) -> None:
        if context.truth is None:
            raise ValueError("the oracle needs the true labels: needs.truth in its YAML")
        self._truth = dict(context.truth)
        self._classes = sorted(set(self._truth.values()) | set(context.classes))
        self._top_k = context.top_k

    def predict(  # type: ignore[override]
        self, query: "AnnData | StoredCells"
    ) -> "Predictions | Iterator[Predictions]":
        if is_stored(query):
            return (self._looked_up(part) for part in query.parts())
        return self._looked_up(query)

    def _looked_up(self, query: "AnnData | StoredCells") -> Predictions:
        labels = [self._truth[cell] for cell in query.obs_names]
        probabilities = np.equal.outer(np.array(labels), np.array(self._classes)).astype(float)
        return Predictions.from_probabilities(query.obs_names, probabilities, self._classes, self._top_k)

    def save(self, folder: Path) -> None:
        pass  # nothing is kept: the truth stays with the scoring

    @classmethod
    def load(cls, folder: Path) -> "Oracle":
        raise NotImplementedError("the oracle keeps no model")
