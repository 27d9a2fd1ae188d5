"""Simulated counts of any number of cells with known types, studies, donors and batch effects.

Every term above a type has an expression program, and a type is the sum of its own and its ancestors' programs: related
types are similar, as in real cells. Counts are negative binomial, their means log-normal over the genes. Studies may
name the same cells at different depths (granularity).

Cells are drawn in blocks of a fixed size, each from its own random stream: they depend neither on the number of blocks
in memory nor on the order in which blocks are drawn. Simulations with the same seed, types and genes are of one world:
they share programs and means. With numbered studies an older and a newer release can be drawn from it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from annobench.core.errors import DataError, nearest
from annobench.core.progress import Report
from annobench.data.sources.shared.cohort import BLOCK, Block, Cohort, Mixed, Numbered, Shape
from annobench.data.sources.shared.granularity import Granularity, LeavesBelow, MixedDepth, chosen_types
from annobench.data.spec import Fetched, Given, SourceSpec, Surroundings
from annobench.ontology import UNKNOWN, Ontology

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from anndata import AnnData
    from numpy.typing import NDArray
    from scipy.sparse import csr_matrix

__all__ = ["BLOCK", "Simulation", "Source", "simulate", "write_simulated"]

_PROGRAM_GENES = 0.1  # share of the genes that one program moves
_TIME_GENES = 0.2  # share of the genes that change with time
_DEPTH_SPREAD = 0.3  # standard deviation of the log depth between cells


@dataclass(frozen=True)
class Source(SourceSpec):
    """Parameters of a simulation; `workflow/schemas/sources/simulate.yaml` describes each of them."""

    types: tuple[str, ...] | LeavesBelow
    cells: int = 600
    genes: int = 300
    studies: int = 3
    donors_per_study: int = 2
    first_study: int | None = None
    absent: tuple[str, ...] = ()
    granularity: str | MixedDepth = "types"
    program_strength: float = 1.0
    batch_strength: float = 0.3
    mean_spread: float = 1.5
    depth: float = 1500
    dispersion: float = 0.5
    unlabelled: float = 0.0
    times: int = 0
    time_strength: float = 1.0
    seed: int = 0

    real: ClassVar[bool] = False

    def inputs(self, near: Surroundings) -> dict[str, list[str]]:
        """The ontology, from which the types are taken."""
        return {"ontology": [near.ontology]}

    def fetch(self, folder: Path, given: Given, report: Report) -> Fetched:
        """Draw the cells into an h5ad file."""
        if not given.get("ontology"):
            raise DataError("source.kind: simulate needs an ontology for its types")
        ontology = Ontology.load(given["ontology"][0])
        file = folder / "simulated.h5ad"
        write_simulated(file, self, ontology)
        return Fetched(file, [{"step": "simulate", "ontology": ontology.release}])


class Simulation:
    """A dataset to be drawn, block by block.

    Studies differ in their mix of types (Dirichlet) and by a log fold change per gene, donors by a third of it. Without
    `first_study` the cells of all studies are mixed; with it studies follow one another, as large as each other, and
    are what the seed and their number make them.

    Parameters
    ----------
    source
        The parameters.
    ontology
        Has the types, and says which of them are related.

    Attributes
    ----------
    cells
        Number of cells.
    var
        Table of the genes.

    Raises
    ------
    DataError
        For a type that is not a live term of the ontology, and for studies that cannot differ in granularity.
    """

    def __init__(self, source: Source, ontology: Ontology) -> None:
        import numpy as np
        import pandas as pd

        self.cells, self._source, self._ontology = source.cells, source, ontology
        types = chosen_types(source.types, ontology, source.seed)
        self._types = Granularity(types, source.granularity, ontology, source.seed)
        rng = np.random.default_rng(source.seed)
        kinds = self._types.kinds
        self._drawn_as = _without(source.absent, kinds)
        shape = (source.genes, source.mean_spread, source.program_strength)
        self._log_mean = _log_means(kinds, ontology, rng, shape)
        self._slope = _slopes(source)
        cohort = Shape(
            cells=source.cells,
            kinds=len(kinds),
            genes=source.genes,
            studies=source.studies,
            donors=source.donors_per_study,
            batch_strength=source.batch_strength,
            seed=source.seed,
        )
        first = source.first_study
        self._cohort: Cohort = Mixed(cohort, rng) if first is None else Numbered(cohort, first)
        ids = [f"ENSG9{i:010d}" for i in range(source.genes)]
        self.var: pd.DataFrame = pd.DataFrame({"ensembl_id": ids}, index=[f"GENE{i}" for i in range(source.genes)])

    def blocks(self) -> "Iterator[tuple[csr_matrix, pd.DataFrame]]":
        """Counts (CSR float32) and annotations of consecutive cells."""
        for number in range(len(self._cohort)):
            yield self.block(number)

    def block(self, number: int) -> "tuple[csr_matrix, pd.DataFrame]":
        """The cells of a block; blocks may be drawn in any order."""
        import numpy as np
        from scipy.sparse import csr_matrix

        block = self._cohort.block(number)
        block.kind = self._drawn_as[block.kind]
        rate, rng, cells = block.effect, block.rng, len(block.kind)
        rate += self._log_mean[block.kind]
        # a stream of its own: without times the cells are what they were before there were any
        time = np.random.default_rng([self._source.seed, 0x71, number]).integers(0, max(self._source.times, 1), cells)
        if self._source.times:
            rate += (time / max(self._source.times - 1, 1))[:, None] * self._slope
        np.exp(rate, out=rate)
        rate *= (self._source.depth * np.exp(rng.normal(0, _DEPTH_SPREAD, cells)) / rate.sum(axis=1))[:, None]
        rate *= self._source.dispersion
        counts = rng.poisson(rng.gamma(1 / self._source.dispersion, rate))
        obs = self._obs(block, rng.random(cells) < self._source.unlabelled)
        return csr_matrix(counts, dtype=np.float32), obs.assign(time=time) if self._source.times else obs

    def _obs(self, block: Block, unlabelled: "NDArray[np.bool_]") -> "pd.DataFrame":
        import numpy as np
        import pandas as pd

        def named(names: list[str], codes: "NDArray[np.integer]") -> "NDArray[np.object_]":  # cells share the texts
            return np.array(names, dtype=object)[codes]

        labels = [*self._types.names, UNKNOWN]
        studies, place = np.unique(block.study, return_inverse=True)
        numbers = studies.tolist()
        label = np.array([self._types.labels(study) for study in numbers])[place, block.kind]
        label = np.where(unlabelled, len(labels) - 1, label)
        donors = int(block.donor.max()) + 1
        people = [f"study{study}_donor{donor + 1}" for study in numbers for donor in range(donors)]
        return pd.DataFrame(
            {
                "cell_type": named([self._ontology.label(i) for i in labels], label),
                "cell_type_ontology_term_id": named(labels, label),
                "study": named([f"study{study}" for study in numbers], place),
                "donor_id": named(people, place * donors + block.donor),
                "assay": "simulated",
                "true_type": named(self._types.kinds, block.kind),
            },
            index=block.names,
        )


def _without(absent: tuple[str, ...], kinds: list[str]) -> "NDArray[np.intp]":
    """For each kind by number the kind that its cells are of: its own or, where it is absent, the next that is not."""
    import numpy as np

    if unknown := sorted(set(absent) - set(kinds)):
        raise DataError(f"source.absent: '{unknown[0]}' is not among the types{nearest(unknown[0], kinds)}")
    present = [i for i, kind in enumerate(kinds) if kind not in absent]
    if not present:
        raise DataError("source.absent: lists all types; leave one out")
    after = np.searchsorted(present, np.arange(len(kinds))) % len(present)
    return np.array(present)[after]


def _slopes(source: Source) -> "NDArray[np.float64]":
    """Log fold change of every gene between the first time and the last, (genes,)."""
    import numpy as np

    rng = np.random.default_rng([source.seed, 0x72])
    slopes: NDArray[np.float64] = rng.normal(0, source.time_strength, source.genes)
    return slopes * (rng.random(source.genes) < _TIME_GENES)


def _log_means(
    kinds: list[str], ontology: Ontology, rng: "np.random.Generator", shape: tuple[int, float, float]
) -> "NDArray[np.float64]":
    """Log mean of every kind and gene, (kinds, genes).

    `shape` holds the number of genes and the standard deviations of means and of log fold changes.
    """
    import numpy as np

    genes, mean_spread, strength = shape
    nodes = sorted(set().union(*(ontology.closure(kind) for kind in kinds)))
    program = rng.normal(0, strength, (len(nodes), genes))
    program *= rng.random((len(nodes), genes)) < _PROGRAM_GENES
    belongs = np.array([[node in ontology.closure(kind) for node in nodes] for kind in kinds], dtype=float)
    log_means: NDArray[np.float64] = rng.normal(0, mean_spread, genes) + belongs @ program
    return log_means


def simulate(ontology: Ontology, **parameters: object) -> "AnnData":
    """Draw a `Simulation` from the parameters of a `Source`.

    obs has cell_type, cell_type_ontology_term_id, study, donor_id, assay, true_type and, where there are times, time.
    """
    import pandas as pd
    from anndata import AnnData
    from scipy.sparse import csr_matrix, vstack

    simulation = Simulation(Source.from_params({"kind": "simulate", **parameters}), ontology)
    counts, obs = zip(*simulation.blocks(), strict=True)
    return AnnData(csr_matrix(vstack(counts)), obs=pd.concat(obs), var=simulation.var)


def write_simulated(path: Path, source: Source, ontology: Ontology) -> None:
    """Draw a `Simulation` into an h5ad file, a block at a time."""
    import h5py
    import numpy as np
    import pandas as pd
    from anndata import AnnData
    from anndata.io import write_elem
    from scipy.sparse import csr_matrix

    simulation = Simulation(source, ontology)
    n, genes = simulation.cells, len(simulation.var)
    AnnData(csr_matrix((0, genes), dtype=np.float32), var=simulation.var).write_h5ad(path)
    lengths, tables = [np.zeros(1, dtype=np.int64)], []
    with h5py.File(path, "r+") as file:
        matrix = file["X"]
        for name, dtype in (("data", np.float32), ("indices", np.int32)):
            del matrix[name]
            matrix.create_dataset(name, shape=(0,), maxshape=(None,), dtype=dtype, chunks=(1 << 18,))
        for counts, obs in simulation.blocks():
            for name in ("data", "indices"):
                there = len(matrix[name])
                matrix[name].resize(there + counts.nnz, axis=0)
                matrix[name][there:] = getattr(counts, name)
            lengths.append(np.diff(counts.indptr))
            tables.append(obs)
        del matrix["indptr"]
        ends = np.cumsum(np.concatenate(lengths), dtype=np.int64)
        matrix.create_dataset("indptr", data=ends.astype(np.int32) if ends[-1] < 2**31 else ends)
        matrix.attrs["shape"] = (n, genes)
        write_elem(file, "obs", pd.concat(tables).astype("category"))
