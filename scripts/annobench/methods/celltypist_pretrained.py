"""A pre-trained CellTypist model: read without executing anything, applied as CellTypist applies it."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import expit

from annobench.cells.expression import log_normalised
from annobench.cells.panel import only_measured
from annobench.core.errors import DataError, MethodSkipped
from annobench.core.files import expanded
from annobench.core.paths import ROOT
from annobench.core.records import plain
from annobench.fit.method import Abilities, Context, Method, load_state, save_state
from annobench.fit.predictions import Predictions
from annobench.methods.shared.celltypist_model import CellTypistModel, read_model
from annobench.ontology import UNKNOWN, Ontology
from annobench.ontology.labels import read_table

if TYPE_CHECKING:
    from anndata import AnnData

_FEW = 0.5  # share of the genes of a model below which people hear of it
_ARRAYS = ("coef", "intercept", "mean", "scale")


class CellTypistPretrained(Method):
    """Applies a model file; learns nothing from the training cells.

    Where several classes have one id, the best of them stands for it. Scores are the sigmoids of the decision values,
    which do not sum to one.

    Parameters
    ----------
    model
        A model file; variables such as $ANNOBENCH_DATA are expanded. A fit is skipped where it is missing.
    labels
        Name of a table in config/labels (without .tsv) from the class names of the model to Cell Ontology ids. Names
        that it lacks are looked up among labels and exact synonyms of the ontology; those found in neither are
        predicted as `unknown`, which counts as wrong.
    """

    abilities = Abilities(probabilities=False, closed_labels=False, trains=False)
    trainable_parameters = 0

    def __init__(self, *, model: str, labels: str | None = None) -> None:
        self.model, self.labels = model, labels

    def fit(self, train: "AnnData", context: Context) -> None:
        path = expanded(self.model)
        if not path.is_file():
            raise MethodSkipped(f"model: there is no file '{path}' (from '{self.model}')")
        self._model = read_model(path)
        self._ids = class_ids(self._model, self.labels, context.ontology)
        self._unmapped = [
            str(name) for name, label in zip(self._model.classes, self._ids, strict=True) if label == UNKNOWN
        ]
        self._top_k = context.top_k

    def predict(self, query: "AnnData") -> Iterator[Predictions]:
        query = only_measured(query)
        genes = list(query.var["feature_name"].astype(str))
        shared, of_model, of_query = self._model.overlap(genes)
        if not shared:
            raise MethodSkipped(
                f"the model shares none of its {of_model} genes with the {of_query} of the query; both need symbols"
            )
        self.gene_overlap = {"model": of_model, "shared": shared}
        decisions = self._model.decision(log_normalised(query), genes)
        names = sorted(set(self._ids))
        best = np.column_stack(
            [decisions[:, [i for i, own in enumerate(self._ids) if own == n]].max(axis=1) for n in names]
        )
        # ranked by decision values: the sigmoids of these models are often all zero
        ranked = Predictions.from_probabilities(query.obs_names, best, names, self._top_k, best)
        ranked.scores, ranked.confidence, ranked.probabilities = expit(ranked.scores), expit(best.max(axis=1)), None
        unknown = int((ranked.labels[:, 0] == UNKNOWN).sum())
        warnings = tuple(self._warnings(query.n_obs, unknown, shared, of_model))
        self.notes = {
            "classes": len(self._ids),
            "classes_without_id": len(self._unmapped),
            "without_id": tuple(self._unmapped[:5]),
            "cells_unknown": unknown,
            "genes_of_model": of_model,
            "genes_shared": shared,
            "warnings": warnings,
        }
        for text in warnings:
            print(text, flush=True)
        yield ranked

    def _warnings(self, cells: int, unknown: int, shared: int, of_model: int) -> Iterator[str]:
        """What a user should hear of: classes without an id, and genes that the query lacks."""
        if self._unmapped:
            yield (
                f"{len(self._unmapped)} of {len(self._ids)} classes of the model have no Cell Ontology id "
                f"({', '.join(self._unmapped[:5])}), so that {unknown} of {cells} cells are `{UNKNOWN}`; map them in "
                f"config/labels/{self.labels or '<name>'}.tsv (columns original, label_id, comment)"
                + ("" if self.labels else ", and name it in parameters.labels")
            )
        if shared < _FEW * of_model:
            yield (
                f"the cells have {shared} of the {of_model} genes of the model; the others count as if they were at "
                "their mean in its training. Are the symbols of the same organism?"
            )

    def save(self, folder: Path) -> None:
        arrays = {name: getattr(self._model, name) for name in _ARRAYS}
        names = {key: list(map(str, getattr(self._model, key))) for key in ("classes", "features")}
        save_state(folder, arrays, ids=self._ids, top_k=self._top_k, **names)

    @classmethod
    def load(cls, folder: Path) -> "CellTypistPretrained":
        arrays, values = load_state(folder)
        method = cls(model="")
        names = {key: np.array(values[key], dtype=object) for key in ("classes", "features")}
        method._model = CellTypistModel(**names, **{name: arrays[name] for name in _ARRAYS}, description={})
        method._ids, method._top_k = values["ids"], values["top_k"]
        pairs = zip(method._model.classes, method._ids, strict=True)
        method._unmapped = [str(name) for name, label in pairs if label == UNKNOWN]
        return method


def class_ids(model: CellTypistModel, labels: str | None, ontology: Ontology) -> list[str]:
    """Cell Ontology id, or `unknown`, of every class of a model. Raises DataError where none has one."""
    table = read_table(ROOT / "config" / "labels" / f"{labels}.tsv", ontology) if labels else {}
    names = [str(name) for name in model.classes]
    ids = [table.get(plain(name)) or ontology.resolve(name) or ontology.find(name) or UNKNOWN for name in names]
    if set(ids) == {UNKNOWN}:
        raise DataError(
            f"none of the {len(ids)} classes of the model (such as {model.classes[0]}) is a name of Cell Ontology "
            f"{ontology.release}; map them in config/labels/<name>.tsv and set parameters.labels to <name>"
        )
    return ids
