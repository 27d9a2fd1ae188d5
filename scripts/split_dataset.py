"""Give every cell of a dataset its role in one split."""

from typing import TYPE_CHECKING

from annobench.core.parquet import Categorical, read_columns, write_columns
from annobench.splits.roles import assign_roles, read_obs, words_of
from annobench.splits.spec import SplitSpec
from annobench.workflow.driver import job

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with job(snakemake):
    spec = SplitSpec.from_params(snakemake.params.spec)
    obs = read_obs(snakemake.input.obs, spec.settings)
    roles = assign_roles(obs, spec)
    for line in words_of(spec.settings.left_out(obs)):
        print(line)
    ids = read_columns(snakemake.input.obs, ["cell_id"], texts=["cell_id"])
    write_columns(snakemake.output[0], {**ids, "role": Categorical.of(roles)})
