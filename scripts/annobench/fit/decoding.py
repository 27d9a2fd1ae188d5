"""Decodings: how a label is chosen from probabilities, so that training and decoding can be told apart.

- `argmax`: the class with the largest probability; what predictions hold as their first label.
- `leaf`: the most probable of the classes that have no other class below them.
- `top_down`: descends the ontology by summed scores (the probability of a class and of all classes below it), until the
  class itself is more probable than the sum of any of its children.

The ontology is restricted to the classes of the model; a class reaches another through types that are not classes. Ties
go to the class that comes first.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from annobench.config.names import DECODINGS
from annobench.core.errors import PredictionError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from annobench.fit.predictions import Decoded, Numbers
    from annobench.ontology import Ontology

_BLOCK = 1 << 14  # cells that are decoded together: 43 MB at 164 classes


class Decoder:
    """Decodes probabilities over one list of classes; calling it is `decode`."""

    def __init__(self, classes: Sequence[str], ontology: "Ontology") -> None:
        self.classes = list(classes)
        number = {name: i for i, name in enumerate(self.classes)}
        below = ontology.reachability(self.classes)
        sizes = below.sum(axis=1)
        self.leaves = np.flatnonzero(sizes == 1)
        # a class has strictly more classes below it than any of its children: parents come before their children
        internal = sorted(np.flatnonzero(sizes > 1).tolist(), key=lambda i: (-sizes[i], i))
        self._below = below[internal].T.astype(np.float64)
        self._place = np.arange(len(self.classes))  # column of the score of a class: among p, or behind
        self._place[internal] = len(self.classes) + np.arange(len(internal))
        self._tops = np.flatnonzero(below.sum(axis=0) == 1)
        children: dict[int, list[int]] = {i: [] for i in internal}
        for parent, child in ontology.reduced_edges(self.classes):
            children[number[parent]].append(number[child])
        self._children = {i: np.array(sorted(below)) for i, below in children.items()}

    def __call__(self, probabilities: "Numbers") -> "Decoded":
        """See `decode`."""
        if probabilities.ndim != 2 or probabilities.shape[1] != len(self.classes):
            raise PredictionError(
                f"probabilities have shape {probabilities.shape}, expected (cells, {len(self.classes)}), a column for "
                "every class of the model"
            )
        n = len(probabilities)
        decoded = {name: (np.empty(n, dtype=np.int32), np.empty(n, dtype=np.float64)) for name in DECODINGS}
        for start in range(0, n, _BLOCK):
            block = probabilities[start : start + _BLOCK].astype(np.float64)
            rows = slice(start, start + len(block))
            for name, (codes, confidence) in (("leaf", self._leaf(block)), ("top_down", self._top_down(block))):
                decoded[name][0][rows], decoded[name][1][rows] = codes, confidence
        return decoded

    def _leaf(self, p: "NDArray[np.float64]") -> "tuple[NDArray[np.intp], NDArray[np.float64]]":
        values = np.take(p, self.leaves, axis=1)
        best = values.argmax(axis=1)
        return self.leaves[best], np.minimum(values[np.arange(len(p)), best], 1)

    def _top_down(self, p: "NDArray[np.float64]") -> "tuple[NDArray[np.intp], NDArray[np.float64]]":
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


def decode(probabilities: "Numbers", classes: Sequence[str], ontology: "Ontology") -> "Decoded":
    """Choose labels from probabilities by every decoding beside argmax.

    Parameters
    ----------
    probabilities
        (n, classes), of any float type. Some thousand cells at a time are held in float64.
    classes
        Label ids of the columns.
    ontology
        Relations between the classes.

    Returns
    -------
    Name of a decoding -> codes into `classes` and confidences, (n,) each. The confidence of `leaf` is the probability
    of the class alone, that of `top_down` the summed score of the class.

    Raises
    ------
    PredictionError
        There is not one column per class.
    """
    return Decoder(classes, ontology)(np.asarray(probabilities))
