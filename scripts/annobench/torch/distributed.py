"""Training in several processes, one per GPU, under PyTorch's own launcher.

    python -m torch.distributed.run --nproc-per-node 2 -m annobench.torch.distributed job.json

Every process has the whole network and a share of each epoch's cells; gradients are averaged after every step. The size
of a batch is that of all processes together, so that the recipe means the same for any number of them. Batch norm takes
the statistics of the cells of its own process; its running statistics are averaged at the end of each epoch. Rank 0
validates, writes checkpoints and saves the model.
"""

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import torch
from torch import Tensor, nn

from annobench.errors import AnnobenchError

MODEL = "joint_model"  # folder in that of the job, in which rank 0 leaves the model
_PATIENCE = timedelta(hours=2)  # the others wait while rank 0 validates; the launcher ends them where it dies


class ProcessFailedError(AnnobenchError):
    """One of the processes that train together ended badly."""


@dataclass(frozen=True)
class World:
    """This process among those that train together."""

    rank: int = 0
    size: int = 1

    @classmethod
    def current(cls) -> "World":
        """That of the launcher, once `join` was called; else a world of one."""
        if "RANK" in os.environ and torch.distributed.is_initialized():
            return cls(torch.distributed.get_rank(), torch.distributed.get_world_size())
        return cls()

    def average(self, gradients: Sequence[Tensor], weight: Tensor) -> None:
        """Weighted mean over all processes, in place and in one message.

        weight: scalar, by which the loss of this process' batch was divided (its number of cells, or the sum of their
        class weights): so the result is the gradient of the mean over the joint batch.
        """
        if self.size == 1:
            return
        flat = torch.cat([*(g.reshape(-1) for g in gradients), torch.ones(1, device=weight.device)]) * weight
        torch.distributed.all_reduce(flat)
        flat /= flat[-1].clone()
        _spread(flat, gradients)

    def average_statistics(self, network: nn.Module) -> None:
        """Mean of the running statistics of batch norm over all processes."""
        buffers = [buffer for buffer in network.buffers() if buffer.is_floating_point()]
        if self.size == 1 or not buffers:
            return
        flat = torch.cat([buffer.reshape(-1) for buffer in buffers])
        torch.distributed.all_reduce(flat)
        _spread(flat / self.size, buffers)

    def agree(self, values: Any) -> Any:
        """What rank 0 has, in every process; values that can be written as JSON."""
        if self.size == 1:
            return values
        shared = [values]
        torch.distributed.broadcast_object_list(shared)
        return shared[0]


def _spread(flat: Tensor, targets: Sequence[Tensor]) -> None:
    """Copy pieces of a flat tensor into tensors."""
    start = 0
    for target in targets:
        target.copy_(flat[start : start + target.numel()].view_as(target))
        start += target.numel()


def launch(job_file: Path, processes: int) -> None:
    """Run `main` in several processes, as the command above; raises ProcessFailedError for the first that fails."""
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=processes,
        run_id=uuid4().hex,
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        max_restarts=0,
        monitor_interval=0.2,
    )
    try:
        elastic_launch(config, sys.executable)("-m", "annobench.torch.distributed", str(job_file))
    except ChildFailedError as error:
        rank, failure = error.get_first_failure()
        said = _first_line(failure.message)
        raise ProcessFailedError(f"process {rank} of the {processes} that train together failed: {said}") from error


def _first_line(message: Any) -> str:
    """What a failed process said; the launcher has it as a text or as a dictionary."""
    text = message.get("message", message) if isinstance(message, dict) else message
    return (str(text).splitlines() or [""])[0]


def main(job_file: Path) -> None:
    """One of the processes: fit the method of a job (see `annobench.runner.child`); rank 0 saves it."""
    from torch.distributed.elastic.multiprocessing.errors import record

    record(_main)(job_file)


def _main(job_file: Path) -> None:
    from annobench.files import read_json
    from annobench.methods.registry import load_class
    from annobench.ontology import Ontology
    from annobench.processes import die_with_parent
    from annobench.runner import child, inputs

    die_with_parent()
    job = read_json(job_file)
    kind = load_class(job["implementation"])
    cells = inputs.load_cells(job, streams=kind.streams)
    context = child._context(job, Ontology.load(job["ontology"]), cells.train, cells.validation, cells.truth)
    method = child._create(kind, job)
    if context.device == "cuda":
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    torch.distributed.init_process_group("nccl" if context.device == "cuda" else "gloo", timeout=_PATIENCE)
    method.fit(cells.train, context)
    if World.current().rank == 0:
        folder = Path(job["work"]) / MODEL
        folder.mkdir(exist_ok=True)
        method.save(folder)
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
