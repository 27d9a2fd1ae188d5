"""A probe: a classifier on the embedding that another method has left, trained and tested on the cells of the split."""

import warnings
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from annobench.core.errors import DataError
from annobench.core.parquet import NOT_GIVEN, positions, to_arrow
from annobench.fit.method import Abilities, Context, Method, Needs
from annobench.fit.predictions import Predictions

if TYPE_CHECKING:
    from anndata import AnnData
    from numpy.typing import NDArray
    from sklearn.base import ClassifierMixin
    from sklearn.pipeline import Pipeline

    Texts = NDArray[np.object_]
    Numbers = NDArray[np.float64]

_SHOWN = 3  # names that a message gives as examples


class Probe(Method):
    """scikit-learn's classifiers on an embedding, joined by cell id.

    The dimensions are standardised by the training cells (mean 0, variance 1), but for the forest, which does not
    depend on it. The embedding comes from the fit of another method on the same split: `uses: {embedding: METHOD}`.

    Parameters
    ----------
    classifier
        `logistic_regression` (multinomial, L2, lbfgs), `knn` (each neighbour has one vote) or `random_forest`.
    aggregate
        `mean` or `median` trains on one profile for every class of every donor, in place of its cells; training cells
        of unknown donor are then left out and counted. Test cells are never aggregated: each gets a label of its own.
    C
        Inverse strength of the regularisation of the logistic regression.
    max_iter
        Most iterations of the logistic regression.
    n_neighbors
        Neighbours that vote.
    n_trees
        Trees of the forest.
    """

    needs = Needs(cells="none")
    uses: ClassVar[Mapping[str, str]] = {"embedding": "embedding"}
    abilities = Abilities(probabilities=True)

    def __init__(
        self,
        *,
        classifier: Literal["logistic_regression", "knn", "random_forest"] = "logistic_regression",
        aggregate: Literal["none", "mean", "median"] = "none",
        C: float = 1.0,
        max_iter: int = 1000,
        n_neighbors: int = 5,
        n_trees: int = 100,
    ) -> None:
        self.classifier, self.aggregate = classifier, aggregate
        self.C, self.max_iter, self.n_neighbors, self.n_trees = C, max_iter, n_neighbors, n_trees

    def fit(self, train: "AnnData", context: Context) -> None:
        (self._fit,) = context.uses["embedding"]
        self._embedding = self._fit.embedding()
        self._ids = to_arrow(self._embedding.cell_ids)
        self._top_k = context.top_k
        labels = train.obs["label_id"].astype(str).to_numpy(dtype=object)
        places = self._places(train)
        notes: dict[str, str | int] = {}
        if self.aggregate != "none":
            places, labels, notes = profiles(places, labels, _donors(train), self.aggregate)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # the notes say it
            self._model = self._classifier(len(labels), context).fit(places, labels.astype(str))
        self.notes = {"embedding": self._fit.run.method, "dimensions": places.shape[1], **notes, **self._unfinished()}
        for name, value in self.notes.items():
            print(f"{name}: {value}", flush=True)
        if self.classifier == "logistic_regression":
            last = self._model[-1]
            self.trainable_parameters = last.coef_.size + last.intercept_.size

    def _classifier(self, cells: int, context: Context) -> "ClassifierMixin | Pipeline":
        from sklearn.ensemble import RandomForestClassifier
        from sklearn.linear_model import LogisticRegression
        from sklearn.neighbors import KNeighborsClassifier
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler

        if self.classifier == "random_forest":
            return RandomForestClassifier(self.n_trees, random_state=context.seed, n_jobs=context.threads)
        if self.classifier == "knn":
            neighbours = KNeighborsClassifier(min(self.n_neighbors, cells), n_jobs=context.threads)
            return make_pipeline(StandardScaler(), neighbours)
        regression = LogisticRegression(C=self.C, max_iter=self.max_iter, random_state=context.seed)
        return make_pipeline(StandardScaler(), regression)

    def _unfinished(self) -> dict[str, str]:
        """A note where the logistic regression has not converged."""
        if self.classifier != "logistic_regression" or self._model[-1].n_iter_.max() < self.max_iter:
            return {}
        return {"not_converged": f"stopped after {self.max_iter} iterations (parameters.max_iter)"}

    def _places(self, cells: "AnnData") -> "Numbers":
        """Where cells lie in the embedding, (cells, dimensions), in their order."""
        names = cells.obs_names.to_numpy(dtype=object)
        rows = positions(to_arrow(names), self._ids)
        if absent := int((rows < 0).sum()):
            raise DataError(
                f"{self._fit.path}: the embedding of '{self._fit.run.method}' lacks {absent} of {len(names)} cells, "
                f"such as {', '.join(names[rows < 0][:_SHOWN])}; have them embedded (keep.embedding_roles)"
            )
        return self._embedding.values[rows].astype(np.float64)

    def predict(self, query: "AnnData") -> Iterator[Predictions]:
        places = self._places(query)
        decisions = None
        if self.classifier == "logistic_regression":
            decisions = self._model.decision_function(places)
            if decisions.ndim == 1:  # two classes
                decisions = np.column_stack([-decisions, decisions])
        classes = self._model.classes_.tolist()
        probabilities = self._model.predict_proba(places)
        yield Predictions.from_probabilities(query.obs_names, probabilities, classes, self._top_k, decisions)


def _donors(train: "AnnData") -> "Texts":
    """Donor of every training cell."""
    if "donor" not in train.obs:
        return np.full(train.n_obs, NOT_GIVEN, dtype=object)
    donors: Texts = train.obs["donor"].astype(str).to_numpy(dtype=object)
    return donors


def profiles(
    places: "Numbers", labels: "Texts", donors: "Texts", how: str
) -> "tuple[Numbers, Texts, dict[str, str | int]]":
    """One profile for every class of every donor, in the order of donors and classes.

    Parameters
    ----------
    places
        (cells, dimensions) where the cells lie.
    labels, donors
        (cells,) class and donor of every cell; a donor may be `unknown`.
    how
        `mean` or `median`, of each dimension.

    Returns
    -------
    (profiles, dimensions) profiles, (profiles,) their classes, and notes: what was aggregated and what was left out.

    Raises
    ------
    DataError
        No cell has a donor, or those that have one are of a single class.
    """
    import pandas as pd

    known = donors != NOT_GIVEN
    if not known.any():
        raise DataError(
            f"parameters.aggregate: {how}: no training cell has a donor; name the column in cells.donor of the "
            "dataset, or set aggregate to none"
        )
    of_each = pd.DataFrame(places[known]).groupby([donors[known], labels[known]], sort=True)
    table = of_each.median() if how == "median" else of_each.mean()
    classes = table.index.get_level_values(1).to_numpy(dtype=object)
    lost = sorted(set(labels) - set(classes))
    left = int((~known).sum())
    notes: dict[str, str | int] = {"aggregate": how, "profiles": len(table), "cells_without_donor": left}
    if lost:
        notes["classes_without_donor"] = ", ".join(lost)
    if len(set(classes)) < 2:
        raise DataError(
            f"parameters.aggregate: {how}: training cells of known donor have one class only ({classes[0]}), "
            f"{left} cells of unknown donor are left out; set aggregate to none"
        )
    return table.to_numpy(), classes, notes
