"""Bring one table of orthologues here, verified, as one-to-one pairs of gene symbols."""

from pathlib import Path
from typing import TYPE_CHECKING

from annobench.data.orthologues import fetch_orthologues
from annobench.data.spec import OrthologueSpec
from annobench.workflow.driver import job

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with job(snakemake) as say:
    fetch_orthologues(
        snakemake.wildcards.orthologue,
        OrthologueSpec.from_params(snakemake.params.spec),
        Path(snakemake.output.pairs),
        Path(snakemake.output.record),
        lock_file=Path("config/sources.lock.yaml"),
        report=say,
    )
