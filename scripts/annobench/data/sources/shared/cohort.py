"""The cells of a simulation in blocks of a fixed size: the study, donor and type of each cell."""

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

BLOCK = 1024  # cells; another size would give other cells
_MIX = 5.0  # concentration of the mix of types: the higher, the more alike the studies
_STUDY, _CELLS = 3, 4  # random streams; granularity has others


@dataclass(frozen=True)
class Shape:
    """Size of a simulation; `batch_strength` is the standard deviation of log fold changes between studies."""

    cells: int
    kinds: int
    genes: int
    studies: int
    donors: int
    batch_strength: float
    seed: int


@dataclass
class Block:
    """Consecutive cells.

    Parameters
    ----------
    names
        Their ids.
    kind, study, donor
        (cells,): the type by number, the study (from 1), the donor of the study (from 0).
    effect
        Log fold changes of study and donor, (cells, genes).
    rng
        The random stream from which the counts are drawn.
    """

    names: list[str]
    kind: "NDArray[np.int64]"
    study: "NDArray[np.int64]"
    donor: "NDArray[np.int64]"
    effect: "NDArray[np.float64]"
    rng: "np.random.Generator"


class Cohort(Protocol):
    """Cells in blocks that can be drawn in any order."""

    def __len__(self) -> int:
        """Number of blocks."""

    def block(self, number: int) -> Block:
        """The cells of a block."""


class Mixed:
    """All studies mixed and drawn from one stream: another number of cells gives other studies. Every kind occurs."""

    def __init__(self, shape: Shape, rng: "np.random.Generator") -> None:
        import numpy as np

        self._shape, self._rng = shape, rng
        size = (shape.studies, shape.donors, shape.genes)
        self._study = rng.integers(shape.studies, size=shape.cells)
        self._donor = rng.integers(shape.donors, size=shape.cells)
        mix = rng.dirichlet(np.full(shape.kinds, _MIX), size=shape.studies)
        self._kind = np.empty(shape.cells, dtype=np.int64)
        drawn = rng.random(shape.cells)
        for study in range(shape.studies):
            here = self._study == study
            self._kind[here] = _kinds(mix[study], drawn[here])
        self._kind[: shape.kinds] = np.arange(shape.kinds)
        self._of_study = rng.normal(0, shape.batch_strength, (shape.studies, shape.genes))
        self._of_donor = rng.normal(0, shape.batch_strength / 3, size)

    def __len__(self) -> int:
        return -(-self._shape.cells // BLOCK)

    def block(self, number: int) -> Block:
        """Cells of all studies."""
        import numpy as np

        start, stop = number * BLOCK, min((number + 1) * BLOCK, self._shape.cells)
        # the first block continues the stream of the parameters, as in the first release
        first = np.random.default_rng(self._shape.seed)
        first.bit_generator.state = self._rng.bit_generator.state
        rng = np.random.default_rng([self._shape.seed, start]) if start else first
        kind, study, donor = (values[start:stop] for values in (self._kind, self._study, self._donor))
        names = [f"cell{i:06d}" for i in range(start, stop)]
        effect = self._of_study[study]
        effect += self._of_donor[study, donor]
        return Block(names, kind, study + 1, donor, effect, rng)


class Numbered:
    """One study after another, from number `first`; a study follows from the seed and its number alone."""

    def __init__(self, shape: Shape, first: int) -> None:
        self._shape = shape
        rest = shape.cells % shape.studies
        self._blocks: list[tuple[int, int, int]] = []  # study, and the cells of it
        for i in range(shape.studies):
            cells = shape.cells // shape.studies + (i < rest)
            self._blocks += [(first + i, start, min(start + BLOCK, cells)) for start in range(0, cells, BLOCK)]
        self._drawn = lru_cache(maxsize=1)(self._draw)

    def __len__(self) -> int:
        return len(self._blocks)

    def _draw(self, study: int) -> "tuple[NDArray[np.float64], NDArray[np.float64]]":
        """Mix of the kinds, and log fold changes (donors, genes)."""
        import numpy as np

        shape = self._shape
        rng = np.random.default_rng([shape.seed, study, _STUDY])
        mix = rng.dirichlet(np.full(shape.kinds, _MIX))
        effect = rng.normal(0, shape.batch_strength, shape.genes)
        return mix, effect + rng.normal(0, shape.batch_strength / 3, (shape.donors, shape.genes))

    def block(self, number: int) -> Block:
        """Cells of one study."""
        import numpy as np

        study, start, stop = self._blocks[number]
        mix, effect = self._drawn(study)
        rng = np.random.default_rng([self._shape.seed, study, _CELLS, start])
        kind = _kinds(mix, rng.random(stop - start))
        donor = rng.integers(self._shape.donors, size=stop - start)
        names = [f"study{study}_cell{i:06d}" for i in range(start, stop)]
        return Block(names, kind, np.full(stop - start, study), donor, effect[donor], rng)


def _kinds(mix: "NDArray[np.float64]", drawn: "NDArray[np.float64]") -> "NDArray[np.int64]":
    """Kinds with the shares of `mix`, from uniform numbers."""
    import numpy as np

    ends = np.cumsum(mix)
    return np.searchsorted(ends / ends[-1], drawn, side="right")
