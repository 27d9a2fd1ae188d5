"""Build all tables of a study from the scores and run records of its fits."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

from annobench.config.results import AUDIT
from annobench.ontology import Ontology
from annobench.tables.shared.build import aggregate
from annobench.workflow.driver import files_of, job

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with job(snakemake):
    aggregate(
        json.loads(snakemake.params.study),
        Ontology.load(snakemake.input.ontology),
        {name: files_of(snakemake.input[f"audit_{name}"]) for name in AUDIT},
        {name: Path(path) for name, path in snakemake.output.items()},
    )
