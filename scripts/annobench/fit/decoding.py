"""Other ways from probabilities to a label than the largest one, so that training and decoding can be told apart.

- `argmax`: the class with the largest probability, whatever it is; what predictions hold as their first label.
- `leaf`: the largest among the classes that have no other class below them.
- `top_down`: from class to class down the ontology by summed scores, the probability of a class and all classes below
  it, until the class itself is likelier than everything below any of its children.

The ontology is that over the model's own classes: relations through types that are no class are kept. Ties go to the
class that comes first.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from annobench.config.names import DECODINGS
from annobench.core.errors import PredictionError

if TYPE_CHECKING:
    from typing import Any

    from numpy.typing import NDArray

    from annobench.ontology import Ontology

_BLOCK = 1 << 14  # cells that are looked at together: 43 MB at 164 classes


class Decoder:
    """Decodes probabilities over one list of classes."""

    def __init__(self, classes: Sequence[str], ontology: "Ontology") -> None:
        self.classes = list(classes)
        number = {name: i for i, name in enumerate(self.classes)}
        below = ontology.reachability(self.classes)
        sizes = below.sum(axis=1)
        self.leaves = np.flatnonzero(sizes == 1)
        # a class has strictly more classes below it than any of its children: parents come before their children
        internal = sorted(np.flatnonzero(sizes > 1).tolist(), key=lambda i: (-sizes[i], i))
        self._below = below[internal].T.astype(np.float64)
        self._place = np.arange(len(self.classes))  # where the score of a class stands: beside p, or behind it
        self._place[internal] = len(self.classes) + np.arange(len(internal))
        self._tops = np.flatnonzero(below.sum(axis=0) == 1)
        children: dict[int, list[int]] = {i: [] for i in internal}
        for parent, child in ontology.reduced_edges(self.classes):
            children[number[parent]].append(number[child])
        self._children = {i: np.array(sorted(found)) for i, found in children.items()}

    def __call__(self, probabilities: "NDArray[Any]") -> "dict[str, tuple[NDArray[np.int32], NDArray[np.float64]]]":
        """See `decode`."""
        if probabilities.ndim != 2 or probabilities.shape[1] != len(self.classes):
            raise PredictionError(
                f"probabilities have shape {probabilities.shape}, expected (cells, {len(self.classes)}), a column for "
                "every class of the model"
            )
        n = len(probabilities)
        found = {name: (np.empty(n, dtype=np.int32), np.empty(n, dtype=np.float64)) for name in DECODINGS}
        for start in range(0, n, _BLOCK):
            block = probabilities[start : start + _BLOCK].astype(np.float64)
            rows = slice(start, start + len(block))
            for name, (codes, confidence) in (("leaf", self._leaf(block)), ("top_down", self._top_down(block))):
                found[name][0][rows], found[name][1][rows] = codes, confidence
        return found

    def _leaf(self, p: "NDArray[np.float64]") -> "tuple[NDArray[Any], NDArray[np.float64]]":
        values = np.take(p, self.leaves, axis=1)
        best = values.argmax(axis=1)
        return self.leaves[best], np.minimum(values[np.arange(len(p)), best], 1)

    def _top_down(self, p: "NDArray[np.float64]") -> "tuple[NDArray[Any], NDArray[np.float64]]":
        # a class without others below it has its own probability as its score
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


def decode(
    probabilities: "NDArray[Any]", classes: Sequence[str], ontology: "Ontology"
) -> "dict[str, tuple[NDArray[np.int32], NDArray[np.float64]]]":
    """Labels by every decoding beside argmax: name -> (codes, confidences), each (n,).

    probabilities: (n, classes), of any float type; `classes` are label ids, to which the codes point. The confidence is
    the probability that the decoding looked at: of `leaf` that of the class alone, of `top_down` the summed score of
    the class. Raises PredictionError where there is not a column for every class. Memory beyond the result is that of
    some thousand cells.
    """
    return Decoder(classes, ontology)(np.asarray(probabilities))
