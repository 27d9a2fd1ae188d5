"""What decodings that are made after a fit start from, and what they give."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from annobench.core.parquet import Categorical
from annobench.fit.decodings.graph import ClassGraph

if TYPE_CHECKING:
    from numpy.typing import NDArray

_BLOCK = 1 << 22  # probabilities that are looked at together


@dataclass(frozen=True, eq=False, kw_only=True)
class Given:
    """What is known of some cells; None where it is not.

    Parameters
    ----------
    labels
        (n,) the first label of every cell.
    confidence
        (n,) of that label.
    graph
        Classes of the probabilities within the ontology.
    probabilities
        (n, classes), maybe mapped from a file.
    temperature
        That calibrates them (annobench.fit.temperature), fitted on validation cells.
    clusters
        (n,) cluster of every cell.
    allowed
        Ids of the types that can be there, each with all below it.
    """

    labels: Categorical
    confidence: "NDArray[np.floating] | None" = None
    graph: ClassGraph | None = None
    probabilities: "NDArray[np.floating] | None" = None
    temperature: float | None = None
    clusters: Categorical | None = None
    allowed: Sequence[str] | None = None

    def blocks(self) -> "Iterator[tuple[slice, NDArray[np.float64]]]":
        """Cells and a copy of their probabilities, (cells, classes)."""
        assert self.probabilities is not None
        step = max(1, _BLOCK // max(1, self.probabilities.shape[1]))
        for start in range(0, len(self.probabilities), step):
            cells = slice(start, start + step)
            yield cells, np.array(self.probabilities[cells], dtype=np.float64)


@dataclass(frozen=True, eq=False)
class Chosen:
    """Labels that a decoding chose, `unknown` among them, and confidences (NaN where there is none), (n,) each."""

    labels: Categorical
    confidence: "NDArray[np.float64]"
