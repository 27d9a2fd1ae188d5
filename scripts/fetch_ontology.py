"""Write one release of the Cell Ontology as JSON."""

import json
from typing import TYPE_CHECKING

from annobench.data.ontology import read_release
from annobench.workflow.driver import job

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with job(snakemake):
    read_release(json.loads(snakemake.params.settings)).save(snakemake.output[0])
