"""The most probable of the labels that can be there: a list of types restricts the answers.

A class is allowed where the list holds it or a type above it. The probabilities of all other classes are set to zero,
and the rest is divided by its sum: the confidence is what the best class then has. A cell without any probability for
an allowed class is `unknown`, as all cells are where the list allows no class. Ties go to the class that comes first.
"""

from dataclasses import dataclass

import numpy as np

from annobench.core.parquet import Categorical
from annobench.fit.decodings.given import Chosen, Given
from annobench.ontology.graph import UNKNOWN

LABEL = "allowed labels"
NEEDS = ("probabilities", "allowed")


@dataclass(frozen=True)
class Options:
    """There are none."""


def decode(given: Given, options: Options) -> Chosen:
    """Labels are allowed classes of the model, or `unknown`."""
    assert given.graph is not None
    assert given.allowed is not None
    classes, listed = list(given.graph.classes), set(given.allowed)
    kept = np.array([bool(listed & {name, *given.graph.ontology.ancestors(name)}) for name in classes], dtype=bool)
    codes = np.full(len(given.labels), len(classes), dtype=np.int32)
    confidence = np.full(len(codes), np.nan)
    for cells, p in given.blocks():
        p[:, ~kept] = 0
        total, best = p.sum(axis=1), p.argmax(axis=1)
        there = np.flatnonzero(total > 0)
        codes[cells.start + there] = best[there]
        confidence[cells.start + there] = p[there, best[there]] / total[there]
    return Chosen(Categorical(codes, [*classes, UNKNOWN]), confidence)
