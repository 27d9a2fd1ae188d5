"""Counts of any number of cells with a known truth: real cell types, studies, donors and batch effects.

Every node of the ontology above a type carries an expression program, and a type is the sum of its own and its
ancestors' programs: related types look alike, as in life. Counts are negative binomial.

Cells are drawn in blocks of a fixed size, each from a random stream of its own: what a cell holds does not depend on
how many blocks are in memory, nor on the order in which they are drawn.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from annobench.errors import DataError
from annobench.ontology import UNKNOWN, Ontology

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from anndata import AnnData
    from numpy.typing import NDArray
    from scipy.sparse import csr_matrix

BLOCK = 1024  # cells; what a block holds would change with it
_PROGRAM_GENES = 0.1  # share of the genes that one program moves
_DEPTH_SPREAD = 0.3  # standard deviation of the log depth between cells
_MEAN_SPREAD = 1.5  # standard deviation of the log mean between genes


class Simulation:
    """A dataset to be drawn; see `workflow/schemas/dataset.schema.yaml` for the parameters.

    cells: their number. var: the genes. Studies differ in their mix of types (Dirichlet) and by a log fold change per
    gene, donors by a third of it. Raises DataError for a type that is no live term of the ontology.
    """

    def __init__(
        self,
        *,
        types: list[str],
        ontology: Ontology,
        cells: int = 600,
        genes: int = 300,
        studies: int = 3,
        donors_per_study: int = 2,
        program_strength: float = 1.0,
        batch_strength: float = 0.3,
        depth: float = 1500,
        dispersion: float = 0.5,
        unlabelled: float = 0.0,
        seed: int = 0,
    ) -> None:
        import numpy as np
        import pandas as pd

        for label_id in types:
            if label_id not in ontology:
                raise DataError(f"source.types: '{label_id}' is not a live term of Cell Ontology {ontology.release}")
        self.cells, self._types, self._ontology, self._seed = cells, types, ontology, seed
        self._depth, self._dispersion, self._unlabelled = depth, dispersion, unlabelled
        rng = self._rng = np.random.default_rng(seed)
        nodes = sorted(set().union(*(ontology.closure(label_id) for label_id in types)))
        program = rng.normal(0, program_strength, (len(nodes), genes))
        program *= rng.random((len(nodes), genes)) < _PROGRAM_GENES
        belongs = np.array([[node in ontology.closure(label_id) for node in nodes] for label_id in types], dtype=float)
        self._log_mean = rng.normal(0, _MEAN_SPREAD, genes) + belongs @ program

        self._study = rng.integers(studies, size=cells)
        self._donor = rng.integers(donors_per_study, size=cells)
        mix = np.cumsum(rng.dirichlet(np.full(len(types), 5.0), size=studies), axis=1)
        self._kind = np.empty(cells, dtype=np.int64)
        drawn = rng.random(cells)
        for study in range(studies):
            here = self._study == study
            self._kind[here] = np.searchsorted(mix[study] / mix[study, -1], drawn[here], side="right")
        self._kind[: len(types)] = np.arange(len(types))  # every type occurs
        self._study_effect = rng.normal(0, batch_strength, (studies, genes))
        self._donor_effect = rng.normal(0, batch_strength / 3, (studies, donors_per_study, genes))
        ids = [f"ENSG9{i:010d}" for i in range(genes)]
        self.var: pd.DataFrame = pd.DataFrame({"ensembl_id": ids}, index=[f"GENE{i}" for i in range(genes)])

    def blocks(self) -> "Iterator[tuple[csr_matrix, pd.DataFrame]]":
        """Counts (CSR float32) and annotations of consecutive cells."""
        for start in range(0, self.cells, BLOCK):
            yield self._block(slice(start, min(start + BLOCK, self.cells)))

    def _block(self, part: slice) -> "tuple[csr_matrix, pd.DataFrame]":
        import numpy as np
        from scipy.sparse import csr_matrix

        # the first block goes on with the stream of the parameters, as it always did
        first = np.random.default_rng(self._seed)
        first.bit_generator.state = self._rng.bit_generator.state
        rng = np.random.default_rng([self._seed, part.start]) if part.start else first
        kind, study, donor = (values[part] for values in (self._kind, self._study, self._donor))
        rate = self._log_mean[kind]
        rate += self._study_effect[study]
        rate += self._donor_effect[study, donor]
        np.exp(rate, out=rate)
        rate *= (self._depth * np.exp(rng.normal(0, _DEPTH_SPREAD, len(kind))) / rate.sum(axis=1))[:, None]
        rate *= self._dispersion
        counts = rng.poisson(rng.gamma(1 / self._dispersion, rate))
        return csr_matrix(counts, dtype=np.float32), self._obs(part, rng.random(len(kind)) < self._unlabelled)

    def _obs(self, part: slice, unlabelled: "NDArray[np.bool_]") -> "pd.DataFrame":
        import numpy as np
        import pandas as pd

        def named(names: list[str], codes: Any) -> "NDArray[Any]":  # cells share the texts
            return np.array(names, dtype=object)[codes]

        types = [*self._types, UNKNOWN]
        kind = np.where(unlabelled, len(types) - 1, self._kind[part])
        studies, donors, _ = self._donor_effect.shape
        people = [f"study{s + 1}_donor{d + 1}" for s in range(studies) for d in range(donors)]
        return pd.DataFrame(
            {
                "cell_type": named([self._ontology.label(i) for i in types], kind),
                "cell_type_ontology_term_id": named(types, kind),
                "study": named([f"study{s + 1}" for s in range(studies)], self._study[part]),
                "donor_id": named(people, self._study[part] * donors + self._donor[part]),
                "assay": "simulated",
            },
            index=[f"cell{i:06d}" for i in range(part.start, part.stop)],
        )


def simulate(**parameters: Any) -> "AnnData":
    """Draw a `Simulation`; obs has cell_type, cell_type_ontology_term_id, study, donor_id and assay."""
    import pandas as pd
    from anndata import AnnData
    from scipy.sparse import csr_matrix, vstack

    simulation = Simulation(**parameters)
    counts, obs = zip(*simulation.blocks(), strict=True)
    return AnnData(csr_matrix(vstack(counts)), obs=pd.concat(obs), var=simulation.var)


def write_simulated(path: Path, **parameters: Any) -> None:
    """Write the same as an h5ad file, a block at a time."""
    import h5py
    import numpy as np
    import pandas as pd
    from anndata import AnnData
    from anndata.io import write_elem
    from scipy.sparse import csr_matrix

    simulation = Simulation(**parameters)
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
