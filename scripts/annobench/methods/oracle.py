"""Control: predicts the true labels. The upper end of every metric."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from annobench.fit.method import Abilities, Context, Method, Needs
from annobench.fit.predictions import Predictions

if TYPE_CHECKING:
    from anndata import AnnData

_PART = 1 << 16  # cells per part of the predictions


class Oracle(Method):
    """Predicts the label of every test cell, also where it is unknown or not among the training classes."""

    needs = Needs(cells="none", truth=True)
    abilities = Abilities(trains=False)

    def fit(self, train: "AnnData", context: Context) -> None:
        if context.truth is None:
            raise ValueError("the oracle needs the true labels (needs.truth)")
        self._truth = dict(context.truth)
        self._classes = sorted(set(self._truth.values()) | set(context.classes))
        self._top_k = context.top_k

    def predict(self, query: "AnnData") -> Iterator[Predictions]:
        for start in range(0, query.n_obs, _PART):
            names = query.obs_names[start : start + _PART]
            labels = np.array([self._truth[cell] for cell in names])
            probabilities = np.equal.outer(labels, np.array(self._classes)).astype(float)
            yield Predictions.from_probabilities(names, probabilities, self._classes, self._top_k)
