"""Probes: how well plain classifiers tell the labels from an embedding, cross-validated over the tested cells.

Logistic regression, 5 nearest neighbours (both on features divided by their standard deviation) and a random forest, in
5 stratified folds; and again in folds that keep donors whole, where there are enough of them. Accuracy, and macro means
of F1, precision, recall and AUROC (one class against the rest), are means over the folds; `overall` is the mean over
the classifiers. Rows of the level `classifier` have each of them, rows of the level `fold` every fold, and rows of the
level `class` the F1 of every class from all folds together. The label set is `cells`, or `donors` for the second kind
of fold.

Labels with fewer than 10 cells are left out and counted. A class without tested cells in a fold has no part in the
AUROC of that fold; columns never shift, because each class keeps its own.

Source: the task "label prediction" of cz-benchmarks 0.15.1, with which the first kind of folds agrees; there a fold
without a class has no AUROC and drops out of the mean silently, and two labels are scored as a positive class (the last
one in the alphabet) and a negative one (option `binary`).
"""

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from math import isfinite
from typing import TYPE_CHECKING

import numpy as np

from annobench.core.counts import class_counts, f1, ratio
from annobench.core.parquet import NOT_GIVEN
from annobench.score.evidence import Evidence
from annobench.score.metric import INFINITE, Family, Metric, Row
from annobench.score.ranks import auroc

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    Array = NDArray[np.float64]
    Codes = NDArray[np.intp]
    Classifier = Callable[["Array", "Codes", "Array", int, int], "Array"]

NEIGHBOURS = 5
CELLS, DONORS = "cells", "donors"  # what folds are drawn of


@dataclass(frozen=True)
class Options:
    """Options of the family.

    Parameters
    ----------
    folds
        Number of folds.
    min_cells
        Labels with fewer cells are left out.
    donors
        Whether folds of whole donors are drawn as well.
    aggregate
        `none`; or `mean` or `median`: a point for every label of every donor instead of one for every cell.
    binary
        Score two labels as a negative and a positive one, as the source does.
    """

    folds: int = 5
    min_cells: int = 10
    donors: bool = True
    aggregate: str = "none"
    binary: bool = False


METRICS = [
    Metric(
        name="probe_accuracy",
        label="probe accuracy",
        meaning="share of cells that classifiers on the embedding label right",
        low=0,
        high=1,
        best=1,
        label_set="cells",
    ),
    Metric(
        name="probe_f1",
        label="probe F1",
        meaning="macro F1 of classifiers on the embedding",
        low=0,
        high=1,
        best=1,
        label_set="cells",
    ),
    Metric(
        name="probe_precision",
        label="probe precision",
        meaning="macro precision of classifiers on the embedding",
        low=0,
        high=1,
        best=1,
        label_set="cells",
    ),
    Metric(
        name="probe_recall",
        label="probe recall",
        meaning="macro recall of classifiers on the embedding",
        low=0,
        high=1,
        best=1,
        label_set="cells",
    ),
    Metric(
        name="probe_auroc",
        label="probe AUROC",
        meaning="mean AUROC of one class against the rest, of classifiers on the embedding",
        low=0,
        high=1,
        best=1,
        label_set="cells",
    ),
    Metric(
        name="probe_cells_left_out",
        label="cells without a probe",
        meaning="cells of labels that are too small for the folds",
        low=0,
        high=INFINITE,
        best=None,
        label_set="cells",
    ),
    Metric(
        name="probe_classes_left_out",
        label="classes without a probe",
        meaning="labels that are too small for the folds",
        low=0,
        high=INFINITE,
        best=None,
        label_set="cells",
    ),
]
SCORES = tuple(metric.name for metric in METRICS[:5])


def _scaled(train: "Array", test: "Array") -> "tuple[Array, Array]":
    """Features divided by their standard deviation over the training cells; nothing is centred."""
    spread = train.std(axis=0)
    spread[spread == 0] = 1
    return train / spread, test / spread


def _logistic_regression(train: "Array", labels: "Codes", test: "Array", classes: int, seed: int) -> "Array":
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    a, b = _scaled(train, test)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # 100 iterations, as the source takes
        model = LogisticRegression().fit(a, labels)
    return _spread(model.predict_proba(b), model.classes_, classes)


def _nearest(train: "Array", labels: "Codes", test: "Array", classes: int, seed: int) -> "Array":
    from sklearn.neighbors import NearestNeighbors

    a, b = _scaled(train, test)
    k = min(NEIGHBOURS, len(a))
    near = NearestNeighbors(n_neighbors=k, algorithm="brute").fit(a).kneighbors(b, return_distance=False)
    place = np.arange(len(b))[:, None] * classes + labels[near]
    return np.bincount(place.ravel(), minlength=len(b) * classes).reshape(len(b), classes) / k


def _random_forest(train: "Array", labels: "Codes", test: "Array", classes: int, seed: int) -> "Array":
    from annobench.score.forest import grow_forest  # numba takes long to import, and few jobs need it

    return grow_forest(train, labels, classes, seed=seed).predict_proba(test)


CLASSIFIERS: "dict[str, Classifier]" = {
    "logistic_regression": _logistic_regression,
    "knn": _nearest,
    "random_forest": _random_forest,
}


def _spread(probabilities: "Array", known: "Codes", classes: int) -> "Array":
    """Columns of all classes; those that the training cells lack are zero."""
    full = np.zeros((len(probabilities), classes))
    full[:, known] = probabilities
    return full


@dataclass(frozen=True)
class Probed:
    """What the probes of one kind of folds found.

    Parameters
    ----------
    values
        (classifier, fold) -> metric -> value.
    predicted
        Classifier -> (n,) label that the cell was given when its fold was tested.
    """

    values: "dict[tuple[str, int], dict[str, float]]"
    predicted: "dict[str, Codes]"

    def mean(self, metric: str, classifier: str | None = None) -> float:
        """Mean over the folds of one classifier, or of all of them; folds without a value are left out."""
        chosen = [of[metric] for (name, _), of in self.values.items() if classifier in (None, name)]
        return float(np.nanmean(chosen)) if not np.isnan(chosen).all() else float("nan")


def probe(
    points: "NDArray[np.floating]",
    labels: "Codes",
    *,
    seed: int,
    folds: int = 5,
    groups: "NDArray[np.integer] | None" = None,
    classifiers: "Sequence[str]" = tuple(CLASSIFIERS),
    binary: bool = False,
    threads: int = 1,
) -> Probed:
    """Cross-validate classifiers.

    Parameters
    ----------
    points
        (n, dimensions).
    labels
        (n,) numbers from 0 on; every number occurs.
    seed
        Of the folds and of the forest.
    folds
        Number of folds.
    groups
        (n,) donors that folds keep whole; None for folds of cells.
    classifiers
        Which of `CLASSIFIERS`.
    binary
        Of two classes score the second one only, as the source does.
    threads
        Folds and classifiers that are computed at once.

    Raises
    ------
    ValueError
        For fewer than two classes.
    """
    from concurrent.futures import ThreadPoolExecutor

    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold
    from threadpoolctl import threadpool_limits

    classes = int(labels.max(initial=-1)) + 1
    if classes < 2:
        raise ValueError(f"probes need two classes at least, found {classes}")
    x = np.asarray(points, dtype=np.float64)
    kind = StratifiedKFold if groups is None else StratifiedGroupKFold
    splitter = kind(n_splits=folds, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The least populated class")  # counted by whoever chose the cells
        parts = list(splitter.split(x, labels, groups))
    jobs = [(name, fold) for name in reversed(classifiers) for fold in range(folds)]  # the longest first

    def run(job: tuple[str, int]) -> "Array":
        train, test = parts[job[1]]
        if len(np.unique(labels[train])) < 2:
            return _spread(np.ones((len(test), 1)), labels[train][:1], classes)
        return CLASSIFIERS[job[0]](x[train], labels[train], x[test], classes, seed)

    if threads == 1:
        answers = dict(zip(jobs, map(run, jobs), strict=True))
    else:
        # each computes on one thread: threads of BLAS inside of ours would wait for each other
        with threadpool_limits(1), ThreadPoolExecutor(threads) as pool:
            answers = dict(zip(jobs, pool.map(run, jobs), strict=True))
    predicted = {name: np.full(len(x), -1, dtype=np.intp) for name in classifiers}
    values: dict[tuple[str, int], dict[str, float]] = {}
    for name in classifiers:
        for fold, (_, test) in enumerate(parts):
            shares = answers[name, fold]
            predicted[name][test] = shares.argmax(axis=1)
            values[name, fold] = scores(labels[test], shares, binary=binary)
    return Probed(values, predicted)


def scores(truth: "Codes", shares: "Array", *, binary: bool = False) -> dict[str, float]:
    """Accuracy; macro F1, precision and recall over the classes that are true or predicted; macro AUROC.

    Parameters
    ----------
    truth
        (n,) numbers of the classes.
    shares
        (n, classes) probabilities; the first of the largest is predicted.
    binary
        Of two classes score the second one only.
    """
    given, classes = shares.argmax(axis=1), shares.shape[1]
    hits, true, called = class_counts(truth, given, classes)
    used = np.array([1]) if binary and classes == 2 else np.flatnonzero(true + called)
    there = [c for c in used if 0 < true[c] < len(truth)]
    areas = [auroc(shares[:, c], truth == c) for c in there]
    return {
        "probe_accuracy": float((truth == given).mean()),
        "probe_f1": float(f1(hits, true, called)[used].mean()),
        "probe_precision": float(ratio(hits, called)[used].mean()),
        "probe_recall": float(ratio(hits, true)[used].mean()),
        "probe_auroc": float(np.mean(areas)) if areas else float("nan"),
    }


def aggregated(
    points: "NDArray[np.floating]", labels: "Codes", donors: "NDArray[np.integer]", how: str
) -> "tuple[Array, Codes, NDArray[np.integer]]":
    """One point for every label of every donor, the `mean` or the `median` of its cells; its label and its donor."""
    pairs, place = np.unique(np.column_stack([donors, labels]), axis=0, return_inverse=True)
    take = np.mean if how == "mean" else np.median
    place = place.ravel()
    values = np.stack([take(points[place == i], axis=0) for i in range(len(pairs))])
    return values, pairs[:, 1].astype(np.intp), pairs[:, 0]


def compute(evidence: Evidence) -> Iterator[Row]:
    """Probes over folds of cells and, where there are donors enough, of donors."""
    options = evidence.options("probes", Options())
    points: NDArray[np.floating] = evidence.embedding
    labels, donors = evidence.label_codes, _donors(evidence)
    if options.aggregate != "none":
        if donors is None:
            print("probes: there are no donors to aggregate over; nothing is probed", flush=True)
            return
        points, labels, donors = aggregated(points, labels, donors, options.aggregate)
    folds, names = options.folds, evidence.label_names
    drawn = partial(_of_folds, points, labels, names, options=options, seed=evidence.seed)
    yield from drawn(kind=CELLS)
    if options.donors and donors is not None and len(np.unique(donors)) >= folds:
        yield from drawn(kind=DONORS, groups=donors)


def _of_folds(
    points: "NDArray[np.floating]",
    labels: "Codes",
    names: "Sequence[str]",
    *,
    kind: str,
    groups: "NDArray[np.integer] | None" = None,
    options: Options,
    seed: int,
) -> Iterator[Row]:
    """Rows of one kind of folds."""
    sizes = np.bincount(labels, minlength=len(names))
    least = max(options.min_cells, 2) if options.aggregate == "none" else 2
    kept = np.flatnonzero(sizes >= least)
    cells = np.flatnonzero(np.isin(labels, kept))
    left_out = [f"{names[i]} ({sizes[i]})" for i in np.flatnonzero((sizes > 0) & (sizes < least)).tolist()]
    if left_out:
        print(f"probes: labels with fewer than {least} cells are left out: {', '.join(left_out)}", flush=True)
    yield Row("probes", "probe_cells_left_out", kind, "overall", "all", float(len(labels) - len(cells)), len(labels))
    yield Row("probes", "probe_classes_left_out", kind, "overall", "all", float(len(left_out)), len(labels))
    if len(kept) < 2 or len(cells) < options.folds:
        print(f"probes: {len(kept)} labels are left, two are needed; nothing is probed", flush=True)
        return
    codes = np.searchsorted(kept, labels[cells])
    donors = None if groups is None else groups[cells]
    found = probe(points[cells], codes, seed=seed, folds=options.folds, groups=donors, binary=options.binary)
    n = len(cells)
    for metric in SCORES:
        rows = [("overall", "all", found.mean(metric))]
        rows += [("classifier", name, found.mean(metric, name)) for name in found.predicted]
        rows += [("fold", f"{name} {fold + 1}", values[metric]) for (name, fold), values in found.values.items()]
        # a fold whose classes are all absent, or all there is, has no AUROC
        yield from (Row("probes", metric, kind, *row, n) for row in rows if isfinite(row[2]))
    for name, predicted in found.predicted.items():
        counts = class_counts(codes, predicted, len(kept))
        for label, value, cells_of in zip(kept.tolist(), f1(*counts), counts[1], strict=True):
            yield Row("probes", "probe_f1", f"{kind} {name}", "class", names[label], float(value), int(cells_of))


def _donors(evidence: Evidence) -> "NDArray[np.integer] | None":
    """Donor of every cell; None where one is not given."""
    column = evidence.donors
    if column is None or NOT_GIVEN in column.counts():
        return None
    return column.codes


FAMILY = Family("probes", tuple(METRICS), needs=("embedding", "labels"), compute=compute, order=24, on_request=True)
