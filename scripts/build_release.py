"""Write a release in the form of the Census from prepared datasets."""

from pathlib import Path
from typing import TYPE_CHECKING

from annobench.data.census.build import Part, build_release
from annobench.data.census.spec import ReleaseSpec
from annobench.workflow.driver import job

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with job(snakemake) as say:
    spec = ReleaseSpec.from_params(snakemake.params.spec)
    family = dict(zip(spec.family, map(Path, snakemake.input.parts), strict=True))
    build_release(
        snakemake.wildcards.date,
        [Part(name, family[name], about) for name, about in spec.parts.items()],
        Path(snakemake.output.folder),
        Path(snakemake.output.record),
        family=family,
        gene_table=spec.genes,
        report=say,
    )
