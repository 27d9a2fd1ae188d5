"""Write down what a study is made of: configuration, versions, machine, hashes of the data."""

import json
from typing import TYPE_CHECKING

from annobench.report.provenance import write_provenance
from annobench.workflow.driver import job

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with job(snakemake):
    write_provenance(json.loads(snakemake.params.study), snakemake.input.cards, snakemake.output[0])
