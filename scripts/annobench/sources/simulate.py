"""A small generator of counts with a known truth: real cell types, studies, donors and batch effects.

Every node of the ontology above a type carries an expression program, and a type is the sum of its own and its
ancestors' programs: related types look alike, as in life. Counts are negative binomial.
"""

from typing import TYPE_CHECKING

from annobench.errors import DataError
from annobench.ontology import UNKNOWN, Ontology

if TYPE_CHECKING:
    from anndata import AnnData

_PROGRAM_GENES = 0.1  # share of the genes that one program moves
_DEPTH_SPREAD = 0.3  # standard deviation of the log depth between cells
_MEAN_SPREAD = 1.5  # standard deviation of the log mean between genes


def simulate(
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
) -> "AnnData":
    """Draw a dataset; X is CSR float32 counts, obs has cell_type, cell_type_ontology_term_id, study, donor_id, assay.

    Studies differ in their mix of types (Dirichlet) and by a log fold change per gene, donors by a third of it.
    Raises DataError for a type that is no live term of the ontology.
    """
    import numpy as np
    import pandas as pd
    from anndata import AnnData
    from scipy.sparse import csr_matrix

    for label_id in types:
        if label_id not in ontology:
            raise DataError(f"source.types: '{label_id}' is not a live term of Cell Ontology {ontology.release}")
    rng = np.random.default_rng(seed)
    nodes = sorted(set().union(*(ontology.closure(label_id) for label_id in types)))
    program = rng.normal(0, program_strength, (len(nodes), genes)) * (rng.random((len(nodes), genes)) < _PROGRAM_GENES)
    belongs = np.array([[node in ontology.closure(label_id) for node in nodes] for label_id in types], dtype=float)
    log_mean = rng.normal(0, _MEAN_SPREAD, genes) + belongs @ program

    study = rng.integers(studies, size=cells)
    donor = rng.integers(donors_per_study, size=cells)
    mix = rng.dirichlet(np.full(len(types), 5.0), size=studies)
    kind = np.array([rng.choice(len(types), p=mix[s]) for s in study])
    kind[: len(types)] = np.arange(len(types))  # every type occurs
    study_effect = rng.normal(0, batch_strength, (studies, genes))
    donor_effect = rng.normal(0, batch_strength / 3, (studies, donors_per_study, genes))
    rate = np.exp(log_mean[kind] + study_effect[study] + donor_effect[study, donor])
    rate *= (depth * np.exp(rng.normal(0, _DEPTH_SPREAD, cells)) / rate.sum(axis=1))[:, None]
    counts = rng.poisson(rng.gamma(1 / dispersion, rate * dispersion)).astype("float32")

    label_id = np.array(types, dtype=object)[kind]
    label_id[rng.random(cells) < unlabelled] = UNKNOWN
    obs = pd.DataFrame(
        {
            "cell_type": [ontology.label(i) for i in label_id],
            "cell_type_ontology_term_id": label_id,
            "study": [f"study{s + 1}" for s in study],
            "donor_id": [f"study{s + 1}_donor{d + 1}" for s, d in zip(study, donor, strict=True)],
            "assay": "simulated",
        },
        index=[f"cell{i:06d}" for i in range(cells)],
    )
    var = pd.DataFrame(
        {"ensembl_id": [f"ENSG9{i:010d}" for i in range(genes)]}, index=[f"GENE{i}" for i in range(genes)]
    )
    return AnnData(csr_matrix(counts), obs=obs, var=var)
