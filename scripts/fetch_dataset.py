"""Bring the files of one dataset here, verified, with a record of where they came from."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

from annobench.driver import job
from annobench.sources.fetch import fetch_dataset

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
        report=say,
    )
