"""Bring one file that a method declares here; a record says how it went."""

from pathlib import Path
from typing import TYPE_CHECKING

from annobench.data.model_files import fetch_file
from annobench.data.spec import DownloadSpec
from annobench.workflow.driver import job

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with job(snakemake) as say:
    fetch_file(
        snakemake.wildcards.method,
        snakemake.wildcards.download,
        DownloadSpec.from_params(snakemake.params.spec),
        Path(snakemake.output.folder),
        Path(snakemake.output.record),
        lock_file=Path("config/sources.lock.yaml"),
        report=say,
    )
