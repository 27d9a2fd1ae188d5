"""Majority within clusters: every cell gets the label that most cells of its cluster have, as CellTypist offers it.

The clusters are a column of the cells, or Leiden clusters of the cells to annotate (annobench.cells.leiden). Votes are
the first labels of the method, `unknown` among them; of equally frequent labels the first in alphabetical order wins.
The confidence is the share of the cluster that has the label. A cell without a cluster keeps its label and confidence.
"""

from dataclasses import dataclass

import numpy as np

from annobench.core.errors import PredictionError
from annobench.core.parquet import NOT_GIVEN, Categorical
from annobench.fit.decodings.given import Chosen, Given
from annobench.ontology.graph import UNKNOWN

LABEL = "cluster majority"
NEEDS = ("clusters",)


@dataclass(frozen=True)
class Options:
    """Share of a cluster that the most frequent label must have; else all of its cells are `unknown`."""

    min_share: float = 0.0


def decode(given: Given, options: Options) -> Chosen:
    """Labels are those of the method."""
    if not 0 <= options.min_share <= 1:
        raise PredictionError(f"min_share is {options.min_share:g}, expected 0 to 1")
    assert given.clusters is not None
    names = sorted({*given.labels.names, UNKNOWN})
    own = given.labels.recode(names)
    clusters = given.clusters
    inside = (clusters.codes >= 0) & ~(clusters == NOT_GIVEN)
    place = clusters.codes[inside].astype(np.int64) * len(names) + own[inside]
    votes = np.bincount(place, minlength=len(clusters.names) * len(names)).reshape(-1, len(names))
    winner = votes.argmax(axis=1)
    share = votes.max(axis=1, initial=0) / np.maximum(votes.sum(axis=1), 1)
    winner = np.where(share < options.min_share, names.index(UNKNOWN), winner)
    codes = own.copy()
    confidence = np.full(len(own), np.nan) if given.confidence is None else np.array(given.confidence, dtype=np.float64)
    codes[inside], confidence[inside] = winner[clusters.codes[inside]], share[clusters.codes[inside]]
    return Chosen(Categorical(codes, names), confidence)
