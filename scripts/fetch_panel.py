"""Bring the genes of one panel here, verified, as a table of feature_id and feature_name."""

from pathlib import Path
from typing import TYPE_CHECKING

from annobench.data.panel import fetch_panel
from annobench.data.spec import PanelSpec
from annobench.workflow.driver import job

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with job(snakemake) as say:
    fetch_panel(
        snakemake.wildcards.panel,
        PanelSpec.from_params(snakemake.params.spec),
        Path(snakemake.output.genes),
        Path(snakemake.output.record),
        lock_file=Path("config/sources.lock.yaml"),
        report=say,
    )
