"""Linear support vector machine with calibrated probabilities, and with an option to reject cells."""

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import expit
from sklearn.calibration import CalibratedClassifierCV
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import StratifiedKFold
from sklearn.svm import LinearSVC

from annobench.core.errors import ConfigError
from annobench.fit.method import Context, Method, load_state, save_state
from annobench.fit.predictions import Predictions
from annobench.methods.shared.features import ExpressionFeatures
from annobench.ontology import UNKNOWN

if TYPE_CHECKING:
    from anndata import AnnData
    from numpy.typing import NDArray
    from scipy.sparse import csr_matrix

    Folds = list[tuple[NDArray[np.intp], NDArray[np.intp]]]

_SHOWN = 5  # classes that a message gives as examples
_ARRAYS = ("coef", "intercept", "slope", "offset")


class LinearSvm(Method):
    """scikit-learn's LinearSVC (one against the rest), calibrated by Platt's sigmoids on held-out training cells.

    As in Abdelaal et al., Genome Biology 2019, doi 10.1186/s13059-019-1795-z: the training cells are cut into folds;
    each fold calibrates the machine that was trained on the others, and the probabilities are the mean over the folds.
    With `reject_below`, it is their SVMrejection.

    Parameters
    ----------
    n_genes
        Variable genes; None for all.
    C
        Inverse strength of the regularisation.
    folds
        Folds of the training cells. Cells of classes with fewer cells than folds both train and calibrate in every
        fold, which the run record says.
    reject_below
        A cell whose highest probability is below is `unknown`; its ranked labels follow. None rejects none.
    max_iter
        Most iterations.
    """

    def __init__(
        self,
        *,
        n_genes: int | None = 2000,
        C: float = 1.0,
        folds: int = 5,
        reject_below: float | None = None,
        max_iter: int = 1000,
    ) -> None:
        if reject_below is not None and not 0 <= reject_below <= 1:
            raise ConfigError(f"parameters.reject_below: expected a probability, 0 to 1, found {reject_below}")
        if folds < 2:
            raise ConfigError(f"parameters.folds: expected at least 2, found {folds}")
        self.n_genes, self.C, self.folds, self.reject_below, self.max_iter = n_genes, C, folds, reject_below, max_iter

    def fit(self, train: "AnnData", context: Context) -> None:
        self._features = ExpressionFeatures(self.n_genes)
        values = self._features.fit(train)
        labels = train.obs["label_id"].astype(str).to_numpy()
        parts, few = calibration_folds(labels, self.folds, context.seed)
        machine = LinearSVC(C=self.C, max_iter=self.max_iter, random_state=context.seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # the notes say it
            model = CalibratedClassifierCV(machine, method="sigmoid", cv=parts, ensemble=True).fit(values, labels)
        each = model.calibrated_classifiers_
        self._classes = model.classes_
        self._coef = np.stack([one.estimator.coef_ for one in each])  # (folds, R, genes); R is 1 for two classes
        self._intercept = np.stack([one.estimator.intercept_ for one in each])
        self._slope = np.array([[sigmoid.a_ for sigmoid in one.calibrators] for one in each])
        self._offset = np.array([[sigmoid.b_ for sigmoid in one.calibrators] for one in each])
        self._top_k = context.top_k
        self.trainable_parameters = sum(getattr(self, f"_{name}").size for name in _ARRAYS)
        unfinished = sum(bool(np.max(one.estimator.n_iter_) >= self.max_iter) for one in each)
        self.notes = {"folds": len(parts), **_notes(few, parts, labels, self.folds)}
        if unfinished:
            self.notes["not_converged"] = (
                f"{unfinished} of {len(each)} machines stopped after {self.max_iter} iterations (parameters.max_iter)"
            )
        for name, value in self.notes.items():
            print(f"{name}: {value}", flush=True)

    def predict(self, query: "AnnData") -> Iterator[Predictions]:
        probabilities, decisions = self._probabilities(self._features.transform(query))
        found = Predictions.from_probabilities(
            query.obs_names, probabilities, self._classes.tolist(), self._top_k, decisions
        )
        if self.reject_below is not None:
            found = rejected(found, self.reject_below)
            if self.notes is not None:  # of the test cells, which are predicted first
                self.notes.setdefault("cells_unknown", int((found.labels[:, 0] == UNKNOWN).sum()))
        yield found

    def _probabilities(self, values: "csr_matrix") -> "tuple[NDArray[np.float64], NDArray[np.float64]]":
        """Probabilities and decision values, the mean over the folds, (cells, classes) each."""
        folds, classes = len(self._coef), len(self._classes)
        probabilities, decisions = np.zeros((2, values.shape[0], classes))
        for coef, intercept, slope, offset in zip(self._coef, self._intercept, self._slope, self._offset, strict=True):
            distances = values @ coef.T + intercept
            own = expit(-(slope * distances + offset))
            if classes == 2:
                distances, own = np.hstack([-distances, distances]), np.hstack([1 - own, own])
            else:
                total = own.sum(axis=1, keepdims=True)
                own = np.divide(own, total, out=np.full_like(own, 1 / classes), where=total > 0)
            probabilities += own
            decisions += distances
        return np.minimum(probabilities / folds, 1), decisions / folds

    def save(self, folder: Path) -> None:
        arrays = {name: getattr(self, f"_{name}") for name in _ARRAYS}
        save_state(
            folder,
            {**arrays, **self._features.state()},
            classes=self._classes.tolist(),
            top_k=self._top_k,
            reject_below=self.reject_below,
        )

    @classmethod
    def load(cls, folder: Path) -> "LinearSvm":
        arrays, values = load_state(folder)
        method = cls(reject_below=values["reject_below"])
        method._features = ExpressionFeatures.restore(arrays)
        for name in _ARRAYS:
            setattr(method, f"_{name}", arrays[name])
        method._classes, method._top_k = np.array(values["classes"]), values["top_k"]
        return method


def calibration_folds(labels: "NDArray[np.str_]", folds: int, seed: int) -> "tuple[Folds, list[str]]":
    """Training and calibration cells of every fold, so that every class is in both of each.

    Parameters
    ----------
    labels
        (cells,) class of every training cell.
    folds
        Wanted number; there are fewer where even the most frequent class has fewer cells, and one, in which all cells
        both train and calibrate, where no class has two cells.
    seed
        Seed of the draw.

    Returns
    -------
    Rows that train and rows that calibrate of every fold, and the classes with fewer cells than folds, whose cells are
    in both parts of all of them.
    """
    classes, codes, counts = np.unique(labels, return_inverse=True, return_counts=True)
    folds = min(folds, int(counts.max()))
    everything = np.arange(len(labels))
    if folds < 2:
        return [(everything, everything)], classes.tolist()
    rare = counts[codes] < folds
    often, always = everything[~rare], everything[rare]
    cut = StratifiedKFold(folds, shuffle=True, random_state=seed).split(often, codes[often])
    parts = [
        (np.sort(np.concatenate([often[rest], always])), np.sort(np.concatenate([often[held], always])))
        for rest, held in cut
    ]
    return parts, classes[counts < folds].tolist()


def rejected(predictions: Predictions, below: float) -> Predictions:
    """The predictions with `unknown` in front where the confidence is below a cut; as many labels per cell as before.

    The label that was rejected follows at the second place, with the score that it has.
    """
    assert predictions.confidence is not None
    assert predictions.scores is not None
    out = predictions.confidence < below
    k = predictions.labels.shape[1]
    predictions.labels[out] = np.column_stack([np.full(out.sum(), UNKNOWN, dtype=object), predictions.labels[out]])[
        :, :k
    ]
    predictions.scores[out] = np.column_stack([predictions.scores[out, :1], predictions.scores[out]])[:, :k]
    return predictions


def _notes(few: list[str], parts: "Folds", labels: "NDArray[np.str_]", wanted: int) -> dict[str, str]:
    """What the run record says of classes with too few cells to be held out."""
    if not few:
        return {}
    cells = int(np.isin(labels, few).sum())
    shown = ", ".join(few[:_SHOWN]) + (", ..." if len(few) > _SHOWN else "")
    return {
        "not_held_out": (
            f"{len(few)} classes with fewer than {len(parts) if len(parts) > 1 else wanted} cells ({cells} cells: "
            f"{shown}) are calibrated on cells that also train"
        )
    }
