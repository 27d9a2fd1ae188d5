"""The classes of a model within the ontology, as decodings look at them."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from annobench.ontology import Ontology


@dataclass(frozen=True)
class ClassGraph:
    """Classes of a model, and the ontology that relates them.

    Parameters
    ----------
    classes
        Label ids, one for every column of the probabilities.
    ontology
        Relations between them.
    """

    classes: Sequence[str]
    ontology: "Ontology"

    @cached_property
    def below(self) -> "NDArray[np.bool_]":
        """(classes, classes), true at [i, j] where j is i or below it."""
        return self.ontology.reachability(self.classes)
