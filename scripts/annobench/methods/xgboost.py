"""Gradient-boosted trees (XGBoost) on log-normalised variable genes."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from xgboost import XGBClassifier

from annobench.fit.method import Context, Method, load_state, save_state
from annobench.fit.predictions import Predictions
from annobench.methods.shared.features import ExpressionFeatures

if TYPE_CHECKING:
    from anndata import AnnData


class GradientBoosting(Method):
    """XGBoost's histogram trees; the number of rounds is chosen on the validation cells, if there are any.

    Parameters
    ----------
    n_genes
        Variable genes; None for all.
    n_estimators
        Most rounds.
    max_depth, learning_rate, subsample, colsample_bytree
        As in XGBoost.
    early_stopping_rounds
        Rounds without improvement on the validation cells after which training stops.
    """

    def __init__(
        self,
        *,
        n_genes: int | None = 1000,
        n_estimators: int = 200,
        max_depth: int = 4,
        learning_rate: float = 0.2,
        subsample: float = 0.8,
        colsample_bytree: float = 0.3,
        early_stopping_rounds: int = 10,
    ) -> None:
        self.n_genes, self.early_stopping_rounds = n_genes, early_stopping_rounds
        self.options: dict[str, float] = {
            "n_estimators": n_estimators,
            "max_depth": max_depth,
            "learning_rate": learning_rate,
            "subsample": subsample,
            "colsample_bytree": colsample_bytree,
        }

    def fit(self, train: "AnnData", context: Context) -> None:
        self._features = ExpressionFeatures(self.n_genes)
        values = self._features.fit(train)
        self._classes, codes = np.unique(train.obs["label_id"].astype(str), return_inverse=True)
        held_out = None
        if context.validation is not None:
            known = np.isin(context.validation.obs["label_id"].astype(str), self._classes)
            cells = context.validation[known]
            if cells.n_obs:
                held_out = [
                    (self._features.transform(cells), np.searchsorted(self._classes, cells.obs["label_id"].astype(str)))
                ]
        self._model = XGBClassifier(
            **self.options,
            tree_method="hist",
            device=context.device,
            n_jobs=context.threads,
            random_state=context.seed,
            early_stopping_rounds=self.early_stopping_rounds if held_out else None,
        )
        self._model.fit(values, codes, eval_set=held_out, verbose=False)
        self._top_k = context.top_k

    def predict(self, query: "AnnData") -> Iterator[Predictions]:
        probabilities = self._model.predict_proba(self._features.transform(query))
        yield Predictions.from_probabilities(query.obs_names, probabilities, self._classes.tolist(), self._top_k)

    def save(self, folder: Path) -> None:
        self._model.save_model(folder / "booster.json")
        save_state(folder, self._features.state(), classes=self._classes.tolist(), top_k=self._top_k)

    @classmethod
    def load(cls, folder: Path) -> "GradientBoosting":
        arrays, values = load_state(folder)
        method = cls()
        method._features = ExpressionFeatures.restore(arrays)
        method._classes, method._top_k = np.array(values["classes"]), values["top_k"]
        method._model = XGBClassifier()
        method._model.load_model(folder / "booster.json")
        return method
