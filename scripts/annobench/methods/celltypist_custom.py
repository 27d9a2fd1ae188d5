"""CellTypist trained on the reference: the celltypist package with its own defaults."""

import logging
import os
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import expit, log_expit, softmax

from annobench.cells.expression import to_cp10k
from annobench.cells.panel import only_measured
from annobench.core.errors import ConfigError, MethodSkipped
from annobench.fit.method import Context, Method, load_state, save_state
from annobench.fit.predictions import Predictions

if TYPE_CHECKING:
    from anndata import AnnData

# celltypist creates a folder for downloaded models when it is imported; none is downloaded here
os.environ.setdefault("CELLTYPIST_FOLDER", tempfile.mkdtemp(prefix="celltypist-"))

import celltypist
from celltypist.models import Model
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

logging.getLogger("celltypist").setLevel(logging.WARNING)


class CellTypistCustom(Method):
    """One-against-rest logistic regression on standardised log1p CP10k expression of all genes.

    The confidence is CellTypist's own: the sigmoid of the decision value of the best class. The sigmoids of all classes
    do not sum to one; as probabilities they are divided by their sum, as scikit-learn does for one-against-rest.

    A fit is skipped where CellTypist would refuse it: with at most as many cells as one batch, or as many genes as
    `top_genes`.

    Parameters
    ----------
    C
        Inverse strength of the L2 regularisation, without SGD.
    max_iter
        Most iterations; None for CellTypist's choice by the number of cells.
    use_SGD
        Train by stochastic gradient descent.
    alpha
        Strength of the L2 regularisation, with SGD.
    mini_batch
        Train SGD on batches, drawn without replacement.
    batch_size, batch_number, epochs
        Cells per batch, batches per epoch, and epochs.
    balance_cell_type
        Draw rare classes first. Where an epoch contains all cells, this changes their order only.
    whole_if_small
        Train SGD on all cells at once where they do not exceed one batch.
    feature_selection
        Choose genes by a first pass of SGD.
    top_genes
        Genes that are chosen per class.
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
        # CellTypist silently ignores what does not apply; a benchmark must not list settings without effect
        for wrong, what in (
            (mini_batch and not descends, "mini_batch needs use_SGD"),
            (balance_cell_type and not mini_batch, "balance_cell_type needs mini_batch"),
            (whole_if_small and not mini_batch, "whole_if_small needs mini_batch"),
            (batches != usual and not mini_batch, "batch_size, batch_number and epochs need mini_batch"),
            (max_iter is not None and mini_batch and use_SGD, "max_iter has no effect with mini_batch; set epochs"),
            (alpha != 1e-4 and not descends, "alpha needs use_SGD; without it the regularisation is C"),
            (C != 1.0 and use_SGD, "C has no effect with use_SGD; the regularisation is alpha"),
            (top_genes != 300 and not feature_selection, "top_genes needs feature_selection"),
            (min(batches.values()) < 1, "batch_size, batch_number and epochs are at least 1"),
        ):
            if wrong:
                raise ConfigError(f"celltypist_custom: parameters: {what}")
        self.whole_if_small = whole_if_small
        self.mini_batch, self.batch_size, self.top_genes = mini_batch, batch_size, top_genes
        self.balance_cell_type, self.feature_selection = balance_cell_type, feature_selection
        self.options = batches | {"C": C, "max_iter": max_iter, "use_SGD": use_SGD, "alpha": alpha}
        self.options |= {"feature_selection": feature_selection, "top_genes": top_genes}

    def fit(self, train: "AnnData", context: Context) -> None:
        values = _normalised(train)
        in_batches = self.mini_batch and not (self.whole_if_small and values.n_obs <= self.batch_size)
        self._check_sizes(values, in_batches)
        np.random.seed(context.seed)  # celltypist draws from numpy's global generator
        self._model = celltypist.train(
            values,
            labels="label_id",
            n_jobs=context.threads,
            date="-",
            random_state=context.seed,
            mini_batch=in_batches,
            balance_cell_type=self.balance_cell_type and in_batches,
            # the check reads the first cell only, and fails where it has no counts; all cells are normalised here
            check_expression=False,
            **self.options,
        )
        self._top_k = context.top_k
        self.trainable_parameters = self._model.classifier.coef_.size + self._model.classifier.intercept_.size

    def _check_sizes(self, values: "AnnData", in_batches: bool) -> None:
        """Raise MethodSkipped where CellTypist would fail with a less informative error."""
        if in_batches and values.n_obs <= self.batch_size:
            raise MethodSkipped(
                f"mini_batch needs more training cells than one batch has: {values.n_obs} cells, batch_size "
                f"{self.batch_size}; lower batch_size, or set mini_batch to false"
            )
        genes = np.count_nonzero(np.asarray(values.X.sum(axis=0)))  # CellTypist leaves out genes without counts
        if self.feature_selection and genes <= self.top_genes:
            raise MethodSkipped(
                f"feature_selection needs more expressed genes than top_genes: {genes} genes, {self.top_genes}"
            )

    def predict(self, query: "AnnData") -> Iterator[Predictions]:
        result = celltypist.annotate(_normalised(only_measured(query)), model=self._model)
        table = result.decision_matrix
        decision = table.to_numpy()
        # in logarithms: models of mini-batch SGD reach decision values of -1,000, whose sigmoids are all zero
        probabilities = softmax(log_expit(decision), axis=1)
        predictions = Predictions.from_probabilities(
            query.obs_names, probabilities, list(map(str, table.columns)), self._top_k, decision
        )
        yield replace(predictions, confidence=expit(decision.max(axis=1)))

    def save(self, folder: Path) -> None:
        # CellTypist's own format is a pickle; the same numbers are saved as arrays
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
    """The input that CellTypist expects: log1p of counts per 10,000 over the given genes."""
    from anndata import AnnData

    return AnnData(
        to_cp10k(cells.X, str(cells.uns["annobench"]["matrix"])), obs=cells.obs.copy(), var=cells.var[[]].copy()
    )
