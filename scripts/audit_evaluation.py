"""Audit one evaluation: every metric on its methods and on controls whose worth is known."""

from pathlib import Path
from typing import TYPE_CHECKING

from annobench.config.results import Results
from annobench.ontology import Ontology
from annobench.score.audit.evaluate import audit_evaluation
from annobench.score.spec import AuditSpec
from annobench.workflow.driver import job

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with job(snakemake):
    audit_evaluation(
        AuditSpec.from_params(snakemake.params.spec),
        {name: Path(snakemake.input[name]) for name in ("cells", "obs")},
        Results(),
        Ontology.load(snakemake.input.ontology),
        {name: Path(path) for name, path in snakemake.output.items()},
    )
