"""Write down what a study is made of: configuration, versions, machine, hashes of the data."""

import json
from typing import TYPE_CHECKING

from annobench.driver import job
from annobench.provenance import write_provenance

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with job(snakemake):
    write_provenance(json.loads(snakemake.params.study), snakemake.input.cards, snakemake.output[0])
