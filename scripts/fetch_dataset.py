"""Bring the files of one dataset here, verified, with a record of where they came from."""

from pathlib import Path
from typing import TYPE_CHECKING

from annobench.data.fetch import fetch_dataset
from annobench.data.spec import SourceSpec
from annobench.workflow.driver import files_of, job

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with job(snakemake) as say:
    fetch_dataset(
        snakemake.wildcards.dataset,
        SourceSpec.from_params(snakemake.params.spec),
        Path(snakemake.output.folder),
        Path(snakemake.output.record),
        lock_file=Path("config/sources.lock.yaml"),
        given={name: [Path(path) for path in files_of(paths)] for name, paths in snakemake.input.items()},
        report=say,
    )
