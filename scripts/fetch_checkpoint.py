"""Bring the weights and the vocabulary of a backbone here, in one form; a record says what they are, or why not."""

from pathlib import Path
from typing import TYPE_CHECKING

from annobench.data.checkpoints.fetch import fetch_checkpoint
from annobench.data.checkpoints.spec import CheckpointSpec
from annobench.workflow.driver import job, only_file

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with job(snakemake) as say:
    like = only_file(snakemake.input.get("like"))
    fetch_checkpoint(
        snakemake.wildcards.checkpoint,
        CheckpointSpec.from_params(snakemake.params.spec),
        Path(snakemake.output.folder),
        like=Path(like) if like else None,
        lock_file=Path("config/sources.lock.yaml"),
        report=say,
    )
