"""Write a release in the form of the Census from prepared datasets."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

from annobench.data.census.build import Part, build_release
from annobench.workflow.driver import job

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with job(snakemake) as say:
    settings = json.loads(snakemake.params.settings)
    family = dict(zip(settings["family"], map(Path, snakemake.input.parts), strict=True))
    build_release(
        snakemake.wildcards.date,
        [Part(name, family[name], **about) for name, about in settings["parts"].items()],
        Path(snakemake.output.folder),
        Path(snakemake.output.record),
        family=family,
        gene_table=settings["genes"],
        report=say,
    )
