"""Test cells of types that no training cell has: how near a method comes to them, and what that costs the other cells.

There are values only where some test cell is of such a type, or a method gives one. A method that knows no other types
than those of its training cells can still be right by the descendant rule (see `ontology_aware`), or near.
"""

from collections.abc import Iterator

import numpy as np

from annobench.core.counts import ratio
from annobench.ontology import UNKNOWN
from annobench.score.evidence import Evidence
from annobench.score.metric import Family, Metric, Row

METRICS = [
    Metric(
        name="unseen_ontology_accuracy",
        label="ontology-aware accuracy on unseen types",
        meaning="share of cells of unseen types that are predicted as their type or a descendant of it",
        low=0,
        high=1,
        best=1,
    ),
    Metric(
        name="unseen_hierarchical_f1",
        label="hierarchical F1 on unseen types",
        meaning="F1 over labels with their ancestors, summed over the cells of unseen types: how near predictions lie",
        low=0,
        high=1,
        best=1,
    ),
    Metric(
        name="unseen_named_share",
        label="share of unseen types given an unseen type",
        meaning="share of cells of unseen types that are predicted as any type that no training cell has",
        low=0,
        high=1,
        best=None,
    ),
    Metric(
        name="seen_lost_share",
        label="share of seen types given an unseen type",
        meaning="share of cells of types in training that are predicted as a type that no training cell has",
        low=0,
        high=1,
        best=None,
    ),
]


def compute(evidence: Evidence) -> Iterator[Row]:
    """Overall values; n counts the cells of unseen types, and for the last metric those of the others."""
    scored = evidence.scored
    true, predicted, classes = scored.true_codes, scored.predicted_codes, scored.counts.classes
    unseen = ~np.isin(scored.classes, [*scored.training, UNKNOWN])
    own = unseen[true]
    given = unseen[predicted]
    if not (own.any() or given.any()):
        return

    def row(metric: str, value: float, cells: "np.ndarray") -> Row:
        return Row("unseen_types", metric, "-", "overall", "all", float(value), int(cells.sum()))

    if own.any():
        nodes = np.diag(classes.shared_nodes)
        shared = classes.shared_nodes[true, predicted][own].sum()
        yield row("unseen_ontology_accuracy", classes.reachability[true, predicted][own].mean(), own)
        both = nodes[true][own].sum() + nodes[predicted][own].sum()
        yield row("unseen_hierarchical_f1", float(ratio(2 * shared, both)), own)
        yield row("unseen_named_share", given[own].mean(), own)
    if (~own).any():
        yield row("seen_lost_share", given[~own].mean(), ~own)


FAMILY = Family("unseen_types", tuple(METRICS), needs=("predictions",), compute=compute, order=6)
