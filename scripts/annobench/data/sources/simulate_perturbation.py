"""Simulated counts of one kind of cell with perturbations whose effects are known.

Genes belong to modules that vary together between cells. Knocking down a gene lowers the gene itself, moves the modules
it belongs to, and does two things that nothing else tells of: an effect that all perturbations share, and one of its
own. What a gene varies with in unperturbed cells therefore predicts a part of what its perturbation does.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from annobench.core.progress import Report
from annobench.data.spec import Fetched, Given, SourceSpec

if TYPE_CHECKING:
    import numpy as np
    from anndata import AnnData
    from numpy.typing import NDArray

CONTROL = "non-targeting"
_IN_MODULE = 0.25  # share of the genes that belong to a module
_DEPTH_SPREAD = 0.2  # standard deviation of the log depth between cells
_EFFECTS, _CELLS = 1, 2  # random streams


@dataclass(frozen=True)
class Source(SourceSpec):
    """Parameters; `workflow/schemas/sources/simulate_perturbation.yaml` describes each of them."""

    conditions: int = 24
    cells_per_condition: int = 40
    control_cells: int = 200
    genes: int = 300
    modules: int = 6
    knockdown: float = 0.2
    module_effect: float = 1.0
    common_effect: float = 0.4
    own_effect: float = 0.2
    module_spread: float = 0.5
    mean_spread: float = 1.0
    depth: float = 3000
    dispersion: float = 0.2
    seed: int = 0

    real: ClassVar[bool] = False

    def fetch(self, folder: Path, given: Given, report: Report) -> Fetched:
        """Draw the cells into an h5ad file."""
        file = folder / "simulated.h5ad"
        simulated(self).write_h5ad(file)
        return Fetched(file, [{"step": "simulate"}])


@dataclass(frozen=True)
class World:
    """What is true of all cells of a simulation.

    Parameters
    ----------
    log_mean
        (genes,) log mean of a cell at rest, up to a constant.
    loadings
        (genes, modules) how much a gene follows a module.
    targets
        (conditions,) the perturbed gene of every condition.
    effects
        (conditions, genes) log fold changes.
    """

    log_mean: "NDArray[np.float64]"
    loadings: "NDArray[np.float64]"
    targets: "NDArray[np.intp]"
    effects: "NDArray[np.float64]"

    @classmethod
    def of(cls, source: Source) -> "World":
        """Draw the world of a source; raises DataError where it has more conditions than genes."""
        import numpy as np

        from annobench.core.errors import DataError

        if source.conditions > source.genes:
            raise DataError(
                f"source.conditions: {source.conditions} conditions of {source.genes} genes; expected at most one for "
                "every gene"
            )
        rng = np.random.default_rng([source.seed, _EFFECTS])
        genes, modules = source.genes, source.modules
        log_mean = rng.normal(0, source.mean_spread, genes)
        loadings = rng.normal(0, 1, (genes, modules)) * (rng.random((genes, modules)) < _IN_MODULE)
        # targets are genes with some expression that follow a module, as in a screen
        worth = np.abs(loadings).max(axis=1) + 0.2 * log_mean
        targets = np.sort(np.argsort(-worth, kind="stable")[: source.conditions])
        effects = -source.module_effect * loadings[targets] @ loadings.T / np.sqrt(modules)
        effects += rng.normal(0, source.common_effect, genes)
        effects += rng.normal(0, source.own_effect, effects.shape)
        effects[np.arange(len(targets)), targets] = np.log(source.knockdown)
        return cls(log_mean, loadings, targets, effects)


def simulated(source: Source) -> "AnnData":
    """Draw the cells: controls first, then condition by condition.

    obs has `condition`, the perturbed gene or `non-targeting`, and cell_type; `varm["effects"]` holds the log fold
    changes (genes, conditions), whose names are in `uns["conditions"]`.
    """
    import numpy as np
    import pandas as pd
    from anndata import AnnData
    from scipy.sparse import csr_matrix

    world = World.of(source)
    rng = np.random.default_rng([source.seed, _CELLS])
    names = [f"GENE{i}" for i in range(source.genes)]
    conditions = [names[target] for target in world.targets]
    kind = np.concatenate(
        [np.full(source.control_cells, -1), np.repeat(np.arange(source.conditions), source.cells_per_condition)]
    )
    activity = rng.normal(0, source.module_spread, (len(kind), source.modules))
    effects = np.vstack([world.effects, np.zeros(source.genes)])
    rate = np.exp(world.log_mean + activity @ world.loadings.T + effects[kind])
    depth = source.depth * np.exp(rng.normal(0, _DEPTH_SPREAD, len(kind)))
    # the total of a cell at rest: a perturbation may then change what a cell expresses in all
    rate *= (depth / np.exp(world.log_mean + activity @ world.loadings.T).sum(axis=1))[:, None]
    counts = rng.poisson(rng.gamma(1 / source.dispersion, rate * source.dispersion))
    obs = pd.DataFrame(
        {"condition": pd.Categorical(np.array([*conditions, CONTROL], dtype=object)[kind]), "cell_type": "cell line"},
        index=[f"cell{i:06d}" for i in range(len(kind))],
    )
    var = pd.DataFrame({"ensembl_id": [f"ENSG9{i:010d}" for i in range(source.genes)]}, index=names)
    cells = AnnData(csr_matrix(counts, dtype=np.float32), obs=obs, var=var)
    cells.varm["effects"] = world.effects.T
    cells.uns["conditions"] = conditions
    return cells
