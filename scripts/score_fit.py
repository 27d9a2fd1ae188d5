"""Score one fit against the truth."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

from annobench.ontology import Ontology
from annobench.score.score_fit import score_fit
from annobench.workflow.driver import job

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with job(snakemake):
    wildcards = snakemake.wildcards
    score_fit(
        Path(snakemake.input.run).parent,
        Path(snakemake.input.obs),
        [Path(path) for path in snakemake.input.roles],
        Path(snakemake.input.train),
        Ontology.load(snakemake.input.ontology),
        json.loads(snakemake.params.settings),
        {"dataset": wildcards.dataset, "seed": int(wildcards.seed)},
        {key: Path(snakemake.output[key]) for key in ("scores", "confusion", "confidence")},
    )
