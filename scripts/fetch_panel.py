"""Bring the genes of one panel here, verified, as a table of feature_id and feature_name."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

from annobench.data.panel import fetch_panel
from annobench.workflow.driver import job

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with job(snakemake) as say:
    fetch_panel(
        snakemake.wildcards.panel,
        json.loads(snakemake.params.panel),
        Path(snakemake.output.genes),
        Path(snakemake.output.record),
        lock_file=Path("config/sources.lock.yaml"),
        report=say,
    )
