"""The most probable of the classes that have no other class below them; its confidence is its probability."""

from typing import TYPE_CHECKING

import numpy as np

from annobench.fit.decodings.graph import ClassGraph

if TYPE_CHECKING:
    from numpy.typing import NDArray

LABEL = "leaf"


class Decoding:
    """Ties go to the class that comes first."""

    def __init__(self, graph: ClassGraph) -> None:
        self.leaves = np.flatnonzero(graph.below.sum(axis=1) == 1)

    def __call__(self, p: "NDArray[np.float64]") -> "tuple[NDArray[np.intp], NDArray[np.float64]]":
        """Codes and confidences, (n,) each, from (n, classes)."""
        values = np.take(p, self.leaves, axis=1)
        best = values.argmax(axis=1)
        return self.leaves[best], np.minimum(values[np.arange(len(p)), best], 1)
