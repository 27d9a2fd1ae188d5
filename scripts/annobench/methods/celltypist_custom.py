"""CellTypist trained on the reference: the real package, with its own defaults."""

import logging
import os
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from annobench.genesets import only_measured
from annobench.methods.base import Context, Method, load_state, save_state
from annobench.methods.features import log_normalised
from annobench.predictions import Predictions

if TYPE_CHECKING:
    from anndata import AnnData

# celltypist makes a folder for downloaded models when it is imported; none is downloaded here
os.environ.setdefault("CELLTYPIST_FOLDER", tempfile.mkdtemp(prefix="celltypist-"))

import celltypist
from celltypist.models import Model
from scipy.special import softmax
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

logging.getLogger("celltypist").setLevel(logging.WARNING)


class CellTypistCustom(Method):
    """One-against-rest logistic regression on standardised log1p CP10k expression of all genes.

    The confidence is CellTypist's own, the sigmoid of the decision value of the best class. The sigmoids of all classes
    do not add up to one; as probabilities they are divided by their sum, as scikit-learn does for one against rest.
    """

    def __init__(
        self, *, feature_selection: bool = False, top_genes: int = 300, use_SGD: bool = False, C: float = 1.0
    ) -> None:
        self.options: dict[str, Any] = {
            "feature_selection": feature_selection,
            "top_genes": top_genes,
            "use_SGD": use_SGD,
            "C": C,
        }

    def fit(self, train: "AnnData", context: Context) -> None:
        np.random.seed(context.seed)  # celltypist draws from numpy's global generator
        self._model = celltypist.train(
            _normalised(train),
            labels="label_id",
            n_jobs=context.threads,
            date="-",
            random_state=context.seed,
            **self.options,
        )
        self._top_k = context.top_k
        self.trainable_parameters = self._model.classifier.coef_.size + self._model.classifier.intercept_.size

    def predict(self, query: "AnnData") -> Predictions:
        result = celltypist.annotate(_normalised(only_measured(query)), model=self._model)
        table = result.probability_matrix
        sigmoids = table.to_numpy()
        decisions = result.decision_matrix.to_numpy()
        total = sigmoids.sum(axis=1, keepdims=True)
        # where all sigmoids have become zero, their ratios are those of the exponentials
        probabilities = np.where(total > 1e-30, sigmoids / np.maximum(total, 1e-30), softmax(decisions, axis=1))
        found = Predictions.from_probabilities(
            query.obs_names, probabilities, list(map(str, table.columns)), self._top_k, decisions
        )
        return replace(found, confidence=sigmoids.max(axis=1))

    def save(self, folder: Path) -> None:
        # CellTypist's own format is a pickle; the same numbers are kept as arrays
        classifier, scaler = self._model.classifier, self._model.scaler
        arrays = {
            "coef": classifier.coef_,
            "intercept": classifier.intercept_,
            "mean": scaler.mean_,
            "scale": scaler.scale_,
        }
        names = {"classes": list(map(str, classifier.classes_)), "features": list(map(str, classifier.features))}
        save_state(folder, arrays, top_k=self._top_k, **names)

    @classmethod
    def load(cls, folder: Path) -> "CellTypistCustom":
        arrays, values = load_state(folder)
        classifier, scaler = LogisticRegression(), StandardScaler()
        classifier.coef_, classifier.intercept_ = arrays["coef"], arrays["intercept"]
        classifier.classes_, classifier.features = np.array(values["classes"]), np.array(values["features"])
        classifier.n_features_in_ = len(classifier.features)
        scaler.mean_, scaler.scale_ = arrays["mean"], arrays["scale"]
        method = cls()
        method._model, method._top_k = Model(classifier, scaler, {}), values["top_k"]
        return method


def _normalised(cells: "AnnData") -> "AnnData":
    """CellTypist asks for log1p of counts per 10,000 over the genes that it gets."""
    from anndata import AnnData

    matrix = log_normalised(cells)
    if str(cells.uns["annobench"]["matrix"]) != "counts":  # values of a subset of genes: fill up to 10,000 again
        np.expm1(matrix.data, out=matrix.data)
        totals = np.asarray(matrix.sum(axis=1)).ravel()
        matrix.data *= np.repeat(
            np.divide(1e4, totals, out=np.zeros_like(totals), where=totals > 0), np.diff(matrix.indptr)
        )
        np.log1p(matrix.data, out=matrix.data)
    return AnnData(matrix, obs=cells.obs.copy(), var=cells.var[[]].copy())
