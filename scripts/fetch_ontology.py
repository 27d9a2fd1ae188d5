"""Write one release of the Cell Ontology as JSON."""

from typing import TYPE_CHECKING

from annobench.data.ontology import read_release
from annobench.data.spec import OntologySpec
from annobench.workflow.driver import job

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with job(snakemake):
    read_release(OntologySpec.from_params(snakemake.params.spec)).save(snakemake.output[0])
