"""Bring the files of one dataset here, verified, with a record of where they came from."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

from annobench.data.fetch import fetch_dataset
from annobench.workflow.driver import files_of, job

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with job(snakemake) as say:
    fetch_dataset(
        snakemake.wildcards.dataset,
        json.loads(snakemake.params.source),
        Path(snakemake.output.folder),
        Path(snakemake.output.record),
        lock_file=Path("config/sources.lock.yaml"),
        ontology=snakemake.input.get("ontology"),
        chunks=[Path(chunk) for chunk in files_of(snakemake.input.get("chunks"))],
        selection=snakemake.input.get("selection") and Path(snakemake.input.selection),
        report=say,
    )
