"""Turn the cells of a dataset into tokens of the vocabulary of a checkpoint."""

from pathlib import Path
from typing import TYPE_CHECKING

from annobench.data.tokens.tokenise import tokenise_dataset
from annobench.workflow.driver import job

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with job(snakemake) as say:
    tokenise_dataset(
        snakemake.wildcards.dataset,
        Path(snakemake.input.cells),
        Path(snakemake.input.card),
        Path(snakemake.input.checkpoint),
        Path(snakemake.output.folder),
        parts=snakemake.params.parts,
        report=say,
    )
