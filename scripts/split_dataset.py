"""Give every cell of a dataset its role in one split."""

import json
from typing import TYPE_CHECKING

from annobench.columns import read_columns, write_columns
from annobench.driver import job
from annobench.splits import assign_roles

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with job(snakemake):
    obs = read_columns(snakemake.input.obs)
    roles = assign_roles(obs, json.loads(snakemake.params.spec), int(snakemake.wildcards.seed))
    write_columns(snakemake.output[0], {"cell_id": obs["cell_id"], "role": roles})
