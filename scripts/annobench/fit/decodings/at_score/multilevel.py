"""Goes down the ontology as far as a wanted confidence holds, and answers with the most specific type that is sure.

The probabilities are calibrated on the validation cells (annobench.fit.temperature). The probability of a type is the
sum over the classes at and below it, whether it is a class of the model or not. The answer is the deepest type whose
probability is at least the wanted confidence: where the model hesitates between two subtypes, the type above both.
Depth is the longest path from the root. Where only the root, or a type above all classes of the model, is as probable,
the answer is `unknown`.
"""

from dataclasses import dataclass

import numpy as np

from annobench.core.errors import PredictionError
from annobench.core.parquet import Categorical
from annobench.fit.decodings.given import Chosen, Given
from annobench.fit.decodings.nodes import Nodes
from annobench.fit.temperature import tempered
from annobench.ontology.graph import UNKNOWN

LABEL = "multi-level"
NEEDS = ("probabilities", "temperature")
_TOLERANCE = 1e-9  # of sums that are one


@dataclass(frozen=True)
class Options:
    """The wanted confidence: above 0.5, so that no two answers that exclude each other both hold it; at most 1."""

    confidence: float = 0.9


def decode(given: Given, options: Options) -> Chosen:
    """Labels are types of the ontology or `unknown`; the confidence is the probability of the answer."""
    if not 0.5 < options.confidence <= 1:
        raise PredictionError(f"the wanted confidence is {options.confidence:g}, expected more than 0.5 and at most 1")
    assert given.graph is not None
    assert given.temperature is not None
    nodes = Nodes(given.graph)
    codes = np.empty(len(given.labels), dtype=np.int32)
    confidence = np.full(len(codes), np.nan)
    for cells, p in given.blocks():
        summed = np.minimum(tempered(p, given.temperature) @ nodes.above, 1)
        chosen = nodes.deepest(summed, options.confidence - _TOLERANCE)
        codes[cells] = np.where(chosen >= 0, chosen, len(nodes.names))
        there = np.flatnonzero(chosen >= 0)
        confidence[cells.start + there] = summed[there, chosen[there]]
    return Chosen(Categorical(codes, [*nodes.names, UNKNOWN]), confidence)
