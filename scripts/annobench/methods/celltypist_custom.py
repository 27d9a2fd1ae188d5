"""CellTypist trained on the reference: the real package, with its own defaults unless told otherwise."""

import logging
import os
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import expit, log_expit, softmax

from annobench.cells.expression import to_cp10k
from annobench.cells.panel import only_measured
from annobench.core.errors import ConfigError, MethodSkipped
from annobench.fit.method import Context, Method, load_state, save_state
from annobench.fit.predictions import Predictions

if TYPE_CHECKING:
    from anndata import AnnData

# celltypist makes a folder for downloaded models when it is imported; none is downloaded here
os.environ.setdefault("CELLTYPIST_FOLDER", tempfile.mkdtemp(prefix="celltypist-"))

import celltypist
from celltypist.models import Model
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

logging.getLogger("celltypist").setLevel(logging.WARNING)


class CellTypistCustom(Method):
    """One-against-rest logistic regression on standardised log1p CP10k expression of all genes.

    The confidence is CellTypist's own, the sigmoid of the decision value of the best class. The sigmoids of all classes
    do not add up to one; as probabilities they are divided by their sum, as scikit-learn does for one against rest.

    With `use_SGD` stochastic gradient descent trains it (`alpha`); with `mini_batch` it sees batch_number batches of
    batch_size cells in each of `epochs` epochs, drawn without replacement. `balance_cell_type` then draws rare classes
    first: where an epoch holds all cells that changes their order and nothing else. With `whole_if_small` gradient
    descent sees all cells at once where there are not more of them than one batch has. A fit is skipped where
    CellTypist would refuse it: not more cells than one batch, or not more genes than top_genes.
    """

    def __init__(
        self,
        *,
        C: float = 1.0,
        max_iter: int | None = None,
        use_SGD: bool = False,
        alpha: float = 1e-4,
        mini_batch: bool = False,
        batch_size: int = 1000,
        batch_number: int = 100,
        epochs: int = 10,
        balance_cell_type: bool = False,
        whole_if_small: bool = False,
        feature_selection: bool = False,
        top_genes: int = 300,
    ) -> None:
        descends = use_SGD or feature_selection  # which chooses genes by a first pass of SGD
        batches = {"batch_size": batch_size, "batch_number": batch_number, "epochs": epochs}
        usual = {"batch_size": 1000, "batch_number": 100, "epochs": 10}
        # CellTypist leaves out silently what does not apply; a benchmark must not name settings that did nothing
        for wrong, what in (
            (mini_batch and not descends, "mini_batch needs use_SGD"),
            (balance_cell_type and not mini_batch, "balance_cell_type needs mini_batch"),
            (whole_if_small and not mini_batch, "whole_if_small needs mini_batch"),
            (batches != usual and not mini_batch, "batch_size, batch_number and epochs need mini_batch"),
            (max_iter is not None and mini_batch and use_SGD, "max_iter does nothing with mini_batch; set epochs"),
            (alpha != 1e-4 and not descends, "alpha needs use_SGD; without it the regularisation is C"),
            (C != 1.0 and use_SGD, "C does nothing with use_SGD; the regularisation is alpha"),
            (top_genes != 300 and not feature_selection, "top_genes needs feature_selection"),
            (min(batches.values()) < 1, "batch_size, batch_number and epochs are at least 1"),
        ):
            if wrong:
                raise ConfigError(f"celltypist_custom: parameters: {what}")
        self.whole_if_small = whole_if_small
        self.options: dict[str, Any] = batches | {
            **{"C": C, "max_iter": max_iter, "use_SGD": use_SGD, "alpha": alpha, "mini_batch": mini_batch},
            "balance_cell_type": balance_cell_type,
            **{"feature_selection": feature_selection, "top_genes": top_genes},
        }

    def fit(self, train: "AnnData", context: Context) -> None:
        values = _normalised(train)
        options = self.options
        if self.whole_if_small and values.n_obs <= options["batch_size"]:
            options = options | {"mini_batch": False, "balance_cell_type": False}
        self._check_sizes(values, options)
        np.random.seed(context.seed)  # celltypist draws from numpy's global generator
        self._model = celltypist.train(
            values,
            labels="label_id",
            n_jobs=context.threads,
            date="-",
            random_state=context.seed,
            # it looks at the first cell only, and refuses all where that has no counts; all are normalised here
            check_expression=False,
            **options,
        )
        self._top_k = context.top_k
        self.trainable_parameters = self._model.classifier.coef_.size + self._model.classifier.intercept_.size

    def _check_sizes(self, values: "AnnData", options: dict[str, Any]) -> None:
        """Raises MethodSkipped where CellTypist would end with an error that says less."""
        size, top = options["batch_size"], options["top_genes"]
        if options["mini_batch"] and values.n_obs <= size:
            raise MethodSkipped(
                f"mini_batch needs more training cells than one batch has: {values.n_obs} cells, batch_size {size}; "
                "lower batch_size, or set mini_batch to false"
            )
        genes = np.count_nonzero(np.asarray(values.X.sum(axis=0)))  # genes without counts are left out by CellTypist
        if options["feature_selection"] and genes <= top:
            raise MethodSkipped(f"feature_selection needs more expressed genes than top_genes: {genes} genes, {top}")

    def predict(self, query: "AnnData") -> Iterator[Predictions]:
        result = celltypist.annotate(_normalised(only_measured(query)), model=self._model)
        table = result.decision_matrix
        decision = table.to_numpy()
        # in logarithms: models of mini-batch SGD reach values of -1,000, whose sigmoids are all zero
        probabilities = softmax(log_expit(decision), axis=1)
        found = Predictions.from_probabilities(
            query.obs_names, probabilities, list(map(str, table.columns)), self._top_k, decision
        )
        yield replace(found, confidence=expit(decision.max(axis=1)))

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

    return AnnData(
        to_cp10k(cells.X, str(cells.uns["annobench"]["matrix"])), obs=cells.obs.copy(), var=cells.var[[]].copy()
    )
