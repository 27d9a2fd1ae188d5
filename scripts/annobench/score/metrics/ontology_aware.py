"""Ontology-aware metrics: a prediction below the truth counts as right (the rule of the HCE and scTab papers).

The rule itself rewards fine predictions: a leaf may be right for a cell that is only labelled with an ancestor, while a
correct but coarser prediction counts as wrong. The shares of exact, finer and coarser predictions are therefore
reported as well.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from annobench.core.counts import macro_f1 as mean_f1
from annobench.core.counts import ratio
from annobench.score.counts import Counts
from annobench.score.evidence import Evidence
from annobench.score.metric import Family, Metric, Row
from annobench.score.metrics.shared.groups import within
from annobench.score.metrics.shared.rows import from_counts

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]


def accuracy(counts: Counts) -> "Array":
    """Share of cells predicted as their true type or a descendant of it."""
    return ratio(counts.ontology_hits.sum(axis=-1), counts.n)


def macro_f1(counts: Counts) -> "Array":
    """Mean F1 over the member classes after such a prediction is replaced by the true label."""
    return mean_f1(counts.ontology_hits, counts.true, counts.ontology_predicted, counts.members)


def _share(counts: Counts, pairs: "NDArray[np.bool_]") -> "Array":
    """Share of cells whose true and predicted class are among some pairs, (classes, classes)."""
    return ratio(counts.pairs(pairs[:, :, None].astype(np.float64))[..., 0], counts.n)


def _exact(counts: Counts) -> "Array":
    return ratio(counts.hits.sum(axis=-1), counts.n)


def _finer(counts: Counts) -> "Array":
    return _share(counts, counts.classes.reachability & ~np.eye(len(counts.classes), dtype=bool))


def _coarser(counts: Counts) -> "Array":
    return _share(counts, counts.classes.reachability.T & ~np.eye(len(counts.classes), dtype=bool))


def _unrelated(counts: Counts) -> "Array":
    return _share(counts, ~(counts.classes.reachability | counts.classes.reachability.T))


METRICS = [
    Metric(
        name="ontology_accuracy",
        label="ontology-aware accuracy",
        meaning="share of cells predicted as their true type or a descendant of it",
        low=0,
        high=1,
        best=1,
        from_counts=accuracy,
    ),
    Metric(
        name="ontology_macro_f1",
        label="ontology-aware macro F1",
        meaning="macro F1 after such a prediction is replaced by the true label",
        low=0,
        high=1,
        best=1,
        label_set="truth",
        from_counts=macro_f1,
    ),
    Metric(
        name="exact_share",
        label="share predicted exactly",
        meaning="share predicted exactly",
        low=0,
        high=1,
        best=1,
        from_counts=_exact,
    ),
    Metric(
        name="finer_share",
        label="share predicted finer",
        meaning="share predicted as a strict descendant of the truth",
        low=0,
        high=1,
        best=None,
        from_counts=_finer,
    ),
    Metric(
        name="coarser_share",
        label="share predicted coarser",
        meaning="share predicted as a strict ancestor of the truth",
        low=0,
        high=1,
        best=None,
        from_counts=_coarser,
    ),
    Metric(
        name="unrelated_share",
        label="share predicted unrelated",
        meaning="share predicted as anything else",
        low=0,
        high=1,
        best=0,
        from_counts=_unrelated,
    ),
    Metric(
        name="leaf_share",
        label="share predicted as leaves",
        meaning="share predicted as a class without descendants among the training classes",
        low=0,
        high=1,
        best=None,
    ),
]


def compute(evidence: Evidence) -> Iterator[Row]:
    """Overall values, and accuracy and macro F1 within every group of cells."""
    scored = evidence.scored
    counts, family, macro = scored.counts, "ontology_aware", METRICS[1]
    yield from from_counts(family, METRICS[:1], scored)
    for label_set in (one for one in scored.label_sets if one != "shared"):
        value = float(macro_f1(scored.over(label_set, counts.ontology_predicted)))
        yield Row(family, macro.name, label_set, "overall", "all", value, scored.n)
    yield from from_counts(family, METRICS[2:], scored)
    trained = np.isin(scored.classes, scored.training)
    leaf = trained & (counts.classes.reachability[:, trained].sum(axis=1) == 1)
    yield Row(family, "leaf_share", "-", "overall", "all", float(counts.predicted[leaf].sum() / scored.n), scored.n)
    corrected = counts.classes.corrected(scored.true_codes, scored.predicted_codes)
    yield from within(scored, family, "ontology_", corrected)


FAMILY = Family("ontology_aware", tuple(METRICS), needs=("predictions",), compute=compute, order=5)
