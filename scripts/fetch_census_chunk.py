"""Fetch the counts of a part of the selected cells of a Census release."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

from annobench.data.census.chunks import fetch_chunk
from annobench.workflow.driver import job

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with job(snakemake) as say:
    source = json.loads(snakemake.params.source)
    fetch_chunk(
        source,
        int(snakemake.wildcards.chunk),
        {key: Path(snakemake.input[key]) for key in ("cells", "genes", "record")},
        Path(snakemake.output.folder),
        uri=snakemake.input.get("release") or source["uri"],
        report=say,
    )
