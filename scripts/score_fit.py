"""Score one fit against the truth."""

from pathlib import Path
from typing import TYPE_CHECKING

from annobench.ontology import Ontology
from annobench.score.score_fit import FitTables, score_fit
from annobench.score.spec import ScoreSpec
from annobench.workflow.driver import job

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with job(snakemake):
    given = snakemake.input
    score_fit(
        ScoreSpec.from_params(snakemake.params.spec),
        Path(given.run).parent,
        FitTables(
            obs=Path(given.obs),
            train=Path(given.train),
            roles=[Path(path) for path in given.roles],
            cells=Path(given.cells) if given.get("cells") else None,
        ),
        Ontology.load(given.ontology),
        {name: Path(path) for name, path in snakemake.output.items()},
    )
