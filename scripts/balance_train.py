"""Choose which of the training cells of a split are used."""

import json
from typing import TYPE_CHECKING

from annobench.balance import select_cells
from annobench.columns import read_columns, write_columns
from annobench.driver import job

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with job(snakemake):
    obs = read_columns(snakemake.input.obs, ["cell_id", "label_id", "label", "study"])
    train = read_columns(snakemake.input.split)["role"] == "train"
    cells = {name: values[train] for name, values in obs.items()}
    chosen = select_cells(
        cells["label_id"],
        cells["study"],
        json.loads(snakemake.params.policy),
        int(snakemake.wildcards.seed),
        dict(zip(obs["label_id"], obs["label"], strict=True)),
    )
    names = {"cell_id": "cell_id", "label_id": "label_id", "source": "study"}
    write_columns(snakemake.output[0], {new: cells[old][chosen] for new, old in names.items()})
