"""Write one release of the Cell Ontology as JSON."""

import json
from typing import TYPE_CHECKING

from annobench.driver import job
from annobench.ontology.releases import read_release

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with job(snakemake):
    read_release(json.loads(snakemake.params.settings)).save(snakemake.output[0])
