"""Choose which of the training cells of a split are used."""

from typing import TYPE_CHECKING

from annobench.core.parquet import read_columns, take, write_columns
from annobench.splits.balance.select import names_of, select_cells
from annobench.splits.spec import BalanceSpec
from annobench.workflow.driver import job

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with job(snakemake):
    train = read_columns(snakemake.input.split, ["role"], categorical=["role"])["role"] == "train"
    coded = ["label_id", "label", "study"]
    obs = read_columns(snakemake.input.obs, coded, categorical=coded)
    labels, studies = obs["label_id"][train], obs["study"][train]
    spec = BalanceSpec.from_params(snakemake.params.spec)
    chosen = select_cells(labels, studies, spec, names=names_of(obs["label_id"], obs["label"]))
    ids = read_columns(snakemake.input.obs, ["cell_id"], texts=["cell_id"], rows=train)["cell_id"]
    cells = {"cell_id": take(ids, chosen), "label_id": labels[chosen], "source": studies[chosen]}
    write_columns(snakemake.output[0], cells)
