"""Descends the ontology by summed scores (the probability of a class and of all classes below it), until the class
itself is more probable than the sum of any of its children; its confidence is the summed score of the class.

The ontology is restricted to the classes of the model; a class reaches another through types that are not classes.
"""

from typing import TYPE_CHECKING

import numpy as np

from annobench.fit.decodings.graph import ClassGraph

if TYPE_CHECKING:
    from numpy.typing import NDArray

LABEL = "top-down"


class Decoding:
    """Ties go to the class that comes first."""

    def __init__(self, graph: ClassGraph) -> None:
        classes, below = list(graph.classes), graph.below
        number = {name: i for i, name in enumerate(classes)}
        sizes = below.sum(axis=1)
        # a class has strictly more classes below it than any of its children: parents come before their children
        internal = sorted(np.flatnonzero(sizes > 1).tolist(), key=lambda i: (-sizes[i], i))
        self._below = below[internal].T.astype(np.float64)
        self._place = np.arange(len(classes))  # column of the score of a class: among p, or behind
        self._place[internal] = len(classes) + np.arange(len(internal))
        self._tops = np.flatnonzero(below.sum(axis=0) == 1)
        children: dict[int, list[int]] = {i: [] for i in internal}
        for parent, child in graph.ontology.reduced_edges(classes):
            children[number[parent]].append(number[child])
        self._children = {i: np.array(sorted(of)) for i, of in children.items()}

    def __call__(self, p: "NDArray[np.float64]") -> "tuple[NDArray[np.intp], NDArray[np.float64]]":
        """Codes and confidences, (n,) each, from (n, classes)."""
        # the score of a class without others below it is its own probability
        scores = np.concatenate([p, p @ self._below], axis=1)
        codes = self._tops[np.take(scores, self._place[self._tops], axis=1).argmax(axis=1)]
        width, flat = scores.shape[1], scores.ravel()
        for parent, children in self._children.items():
            rows = np.flatnonzero(codes == parent)
            start = rows * width
            offers = np.take(flat, start[:, None] + self._place[children])
            best = offers.argmax(axis=1)
            further = np.take_along_axis(offers, best[:, None], axis=1)[:, 0] > np.take(flat, start + parent)
            codes[rows[further]] = children[best[further]]
        return codes, np.minimum(scores[np.arange(len(p)), self._place[codes]], 1)
