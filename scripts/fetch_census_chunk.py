"""Fetch the counts of a part of the selected cells of a Census release."""

from pathlib import Path
from typing import TYPE_CHECKING

from annobench.data.census.chunks import fetch_chunk
from annobench.data.census.spec import ChunkSpec, SelectionFiles
from annobench.workflow.driver import job

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with job(snakemake) as say:
    source = ChunkSpec.from_params(snakemake.params.spec)
    fetch_chunk(
        source,
        int(snakemake.wildcards.chunk),
        SelectionFiles(*(Path(snakemake.input[key]) for key in ("cells", "genes", "record"))),
        Path(snakemake.output.folder),
        uri=snakemake.input.get("release") or source.uri,
        report=say,
    )
