"""Decodings that every fit with probabilities writes: all files of `fit/decodings/at_fit`."""

from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING

import numpy as np

from annobench.config.plugins import plugins
from annobench.core.errors import PredictionError
from annobench.fit.decodings.graph import ClassGraph

if TYPE_CHECKING:
    from annobench.fit.predictions import Decoded, Numbers
    from annobench.ontology import Ontology

PLUGINS = "fit/decodings/at_fit"  # whoever imports this module depends on all of them
_BLOCK = 1 << 14  # cells that are decoded together: 43 MB at 164 classes


class Decoder:
    """Decodes probabilities over one list of classes; calling it is `decode`."""

    def __init__(self, classes: Sequence[str], ontology: "Ontology") -> None:
        graph = ClassGraph(list(classes), ontology)
        self.classes = graph.classes
        self._decodings = {
            name: import_module(f"annobench.{PLUGINS.replace('/', '.')}.{name}").Decoding(graph)
            for name in plugins(PLUGINS)
        }

    def __call__(self, probabilities: "Numbers") -> "Decoded":
        """See `decode`."""
        if probabilities.ndim != 2 or probabilities.shape[1] != len(self.classes):
            raise PredictionError(
                f"probabilities have shape {probabilities.shape}, expected (cells, {len(self.classes)}), a column for "
                "every class of the model"
            )
        n = len(probabilities)
        decoded = {name: (np.empty(n, dtype=np.int32), np.empty(n, dtype=np.float64)) for name in self._decodings}
        for start in range(0, n, _BLOCK):
            block = probabilities[start : start + _BLOCK].astype(np.float64)
            rows = slice(start, start + len(block))
            for name, (codes, confidence) in decoded.items():
                codes[rows], confidence[rows] = self._decodings[name](block)
        return decoded


def decode(probabilities: "Numbers", classes: Sequence[str], ontology: "Ontology") -> "Decoded":
    """Choose labels from probabilities by every decoding that a fit writes beside argmax.

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
    Name of a decoding -> codes into `classes` and confidences, (n,) each.

    Raises
    ------
    PredictionError
        There is not one column per class.
    """
    return Decoder(classes, ontology)(np.asarray(probabilities))
