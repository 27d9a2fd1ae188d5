"""The cell types of a simulation, and the names that its studies give them.

The same cell is a `T cell` in one study and a `naive CD8-positive, alpha-beta T cell` in another: authors stop at
different depths. Here a study may stop at classes of its own choice, one for each branch of the ontology; all below
such a class then bears its name.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from annobench.core.errors import DataError
from annobench.core.spec import Spec
from annobench.ontology import Ontology

_CHOOSING, _NAMING = 1, 2  # random streams; the cells have others


@dataclass(frozen=True)
class LeavesBelow(Spec):
    """`types`: a number of leaves below a term, drawn by the seed, and the classes that join them."""

    root: str
    leaves: int


@dataclass(frozen=True)
class MixedDepth(Spec):
    """`granularity`: share of the studies that stop before the leaves, and their chance to stop at a class."""

    coarse_studies: float
    coarse_branches: float


def chosen_types(types: Sequence[str] | LeavesBelow, ontology: Ontology, seed: int) -> list[str]:
    """The classes of a simulation: the listed ones, or leaves below a root and the classes that join them.

    The leaves are terms without descendants, drawn by the seed. With them come the classes from the root down that have
    at least two of the leaves below; of classes with the same leaves below only the deepest. Raises DataError for an id
    that is not a live term, and where the root has too few leaves.
    """
    import numpy as np

    key, named = ("types.root", [types.root]) if isinstance(types, LeavesBelow) else ("types", types)
    for label_id in named:
        if label_id not in ontology:
            raise DataError(f"source.{key}: '{label_id}' is not a live term of Cell Ontology {ontology.release}")
    if not isinstance(types, LeavesBelow):
        return list(types)
    below = sorted(one for one in ontology.descendants(types.root) if one in ontology)
    ends = [one for one in below if not any(child in ontology for child in ontology.descendants(one))]
    if len(ends) < types.leaves:
        raise DataError(
            f"source.types.leaves: {types.leaves} are asked for, but '{types.root}' has {len(ends)} types without "
            f"descendants in Cell Ontology {ontology.release}; ask for fewer, or take a root further up"
        )
    rng = np.random.default_rng([seed, _CHOOSING])
    leaves = sorted(rng.choice(ends, types.leaves, replace=False).tolist())
    deepest: dict[frozenset[str], str] = {}  # by the leaves below it
    for one in sorted([types.root, *below], key=lambda one: (ontology.depth(one), one)):
        has = frozenset(leaf for leaf in leaves if one in ontology.ancestors(leaf))
        if len(has) > 1:
            deepest[has] = one
    return [*sorted(deepest.values()), *leaves]


def leaves_of(types: Sequence[str], ontology: Ontology) -> list[str]:
    """The types that have no other of them below."""
    inner = set().union(*(ontology.ancestors(one) for one in types))
    return [one for one in types if one not in inner]


class Granularity:
    """What the cells of a simulation are, and what studies call them.

    Parameters
    ----------
    types
        Cell Ontology ids of the classes.
    granularity
        `types`: all classes have cells. `leaves`: only classes without another of them below have cells, and every
        study names what its cells are. A `MixedDepth`: as `leaves`, but a share of the studies, evenly spread, stops at
        each other class with a chance.
    ontology
        Says which classes lie below which.
    seed
        Of the names that studies choose.

    Attributes
    ----------
    kinds
        The classes that have cells.
    names
        The classes that cells may be called: `kinds`, then all others.
    """

    def __init__(self, types: Sequence[str], granularity: str | MixedDepth, ontology: Ontology, seed: int) -> None:
        self.kinds = list(types) if granularity == "types" else leaves_of(types, ontology)
        inner = sorted(set(types) - set(self.kinds), key=lambda one: (ontology.depth(one), one))
        self._mixed = granularity if isinstance(granularity, MixedDepth) else MixedDepth(0.0, 0.0)
        if isinstance(granularity, MixedDepth) and not inner:
            raise DataError(
                "source.granularity: no type of source.types is above another, so that studies have no coarser names; "
                "add their common ancestors to source.types, or set granularity to leaves"
            )
        self.names = [*self.kinds, *inner]
        self._above = [[i for i, one in enumerate(inner) if one in ontology.ancestors(kind)] for kind in self.kinds]
        self._inner, self._seed = len(inner), seed

    def is_coarse(self, study: int) -> bool:
        """Whether a study (counted from 1) stops before the leaves."""
        share = self._mixed.coarse_studies
        return int(study * share + 1e-9) > int((study - 1) * share + 1e-9)

    def labels(self, study: int) -> list[int]:
        """For each of `kinds` the position of its name among `names`, in a study: the topmost at which it stops."""
        import numpy as np

        if not self.is_coarse(study):
            return list(range(len(self.kinds)))
        stops = np.random.default_rng([self._seed, study, _NAMING]).random(self._inner)
        named = []
        for kind, above in enumerate(self._above):
            at = [i for i in above if stops[i] < self._mixed.coarse_branches]
            named.append(len(self.kinds) + at[0] if at else kind)
        return named
