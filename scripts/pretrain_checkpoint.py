"""Train a small backbone on the unlabelled cells of a dataset."""

from pathlib import Path
from typing import TYPE_CHECKING

from annobench.data.checkpoints.spec import CheckpointSpec
from annobench.methods.transformer.pretrain import pretrain_checkpoint
from annobench.workflow.driver import job

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with job(snakemake) as say:
    pretrain_checkpoint(
        snakemake.wildcards.checkpoint,
        CheckpointSpec.from_params(snakemake.params.spec),
        Path(snakemake.input.cells),
        Path(snakemake.output.folder),
        threads=snakemake.threads,
        report=say,
    )
