"""Nodes of the ontology that a model can answer with: its classes, and the types above some of them.

The probability of a node is the sum over the classes at and below it. Of types above the same classes the most specific
one stands for all. A type above all classes is none of them: it says nothing about a cell of this model.
"""

from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from annobench.fit.decodings.graph import ClassGraph
from annobench.ontology.graph import ROOT, UNKNOWN

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Nodes:
    """The nodes above some classes.

    Parameters
    ----------
    graph
        The classes; `unknown` among them is below no node.

    Attributes
    ----------
    names
        Ids of the nodes, the deepest first; of equal depth by id.
    above
        (classes, nodes), 1 where a class is the node or below it.
    depths
        (nodes,) longest path from the root of the ontology.
    """

    def __init__(self, graph: ClassGraph) -> None:
        self.graph = graph
        ontology, below = graph.ontology, self._classes_below
        known = sum(label != UNKNOWN for label in graph.classes)
        specific: dict[frozenset[int], str] = {}
        for node in sorted(below, key=lambda one: (-ontology.depth(one), one not in set(graph.classes), one)):
            if len(below[node]) < known or known == 1:
                specific.setdefault(frozenset(below[node]), node)
        self.names = sorted(specific.values(), key=lambda one: (-ontology.depth(one), one))
        self.above: NDArray[np.float64] = np.zeros((len(graph.classes), len(self.names)))
        for i, name in enumerate(self.names):
            self.above[sorted(below[name]), i] = 1
        self.depths: NDArray[np.intp] = np.array([ontology.depth(name) for name in self.names], dtype=np.intp)

    @cached_property
    def _classes_below(self) -> dict[str, list[int]]:
        """Node -> numbers of the classes at and below it, for all but the root."""
        found: dict[str, list[int]] = {}
        for i, label in enumerate(self.graph.classes):
            if label != UNKNOWN:
                for node in {label, *self.graph.ontology.ancestors(label)} - {ROOT}:
                    found.setdefault(node, []).append(i)
        return found

    def deepest(self, probabilities: "NDArray[np.float64]", confidence: float) -> "NDArray[np.intp]":
        """The deepest node of every cell that is at least so probable; among equally deep ones the most probable.

        Parameters
        ----------
        probabilities
            (n, nodes) of the nodes.
        confidence
            The wanted probability.

        Returns
        -------
        (n,) numbers of nodes; -1 where no node is as probable.
        """
        if not self.names:
            return np.full(len(probabilities), -1, dtype=np.intp)
        held = probabilities >= confidence
        # a probability is at most one, a step of depth more: depth comes first
        rank = np.where(held, 2.0 * self.depths + probabilities, -1.0)
        return np.where(held.any(axis=1), rank.argmax(axis=1), -1)
