"""Write down what a study is made of: configuration, versions, machine, hashes of the data."""

from typing import TYPE_CHECKING

from annobench.report.provenance import write_provenance
from annobench.report.settings import Provenance
from annobench.workflow.driver import job

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with job(snakemake):
    write_provenance(Provenance.from_params(snakemake.params.spec), snakemake.input.cards, snakemake.output[0])
