"""Trains one fit in several processes, one per GPU, under PyTorch's own launcher.

    python -m torch.distributed.run --nproc-per-node 2 -m annobench.fit.distributed job.json

See `annobench.methods.torch.world` for what the processes share.
"""

import os
import sys
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import torch

from annobench.core.errors import AnnobenchError

MODEL = "joint_model"  # folder beside the job file in which rank 0 leaves the model
_PATIENCE = timedelta(hours=2)  # the other processes wait while rank 0 validates; the launcher ends them if it dies


class ProcessFailedError(AnnobenchError):
    """One of the processes that train together failed."""


def launch(job_file: Path, processes: int) -> None:
    """Run `main` in several processes, as the command above does; raises ProcessFailedError for the first failure."""
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
        elastic_launch(config, sys.executable)("-m", "annobench.fit.distributed", str(job_file))
    except ChildFailedError as error:
        rank, failure = error.get_first_failure()
        message = _first_line(failure.message)
        raise ProcessFailedError(f"process {rank} of the {processes} that train together failed: {message}") from error


def _first_line(message: object) -> str:
    """First line of what a failed process printed; the launcher has it as text or as a dictionary."""
    text = message.get("message", message) if isinstance(message, dict) else message
    return (str(text).splitlines() or [""])[0]


def main(job_file: Path) -> None:
    """One of the processes: fits the method of a job (see annobench.fit.child); rank 0 saves it."""
    from torch.distributed.elastic.multiprocessing.errors import record

    record(_main)(job_file)


def _main(job_file: Path) -> None:
    from annobench.core.files import read_json
    from annobench.core.processes import die_with_parent
    from annobench.fit.context import context_of, create_method
    from annobench.fit.inputs import load_cells
    from annobench.fit.job import FitJob
    from annobench.fit.registry import load_class
    from annobench.ontology import Ontology

    die_with_parent()
    job = FitJob.from_params(read_json(job_file))
    cells = load_cells(job)
    context = context_of(job, Ontology.load(job.files.ontology), cells)
    method = create_method(load_class(job.method.implementation), job)
    if context.device == "cuda":
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    torch.distributed.init_process_group("nccl" if context.device == "cuda" else "gloo", timeout=_PATIENCE)
    method.fit(cells.train, context)
    if torch.distributed.get_rank() == 0:
        folder = job_file.resolve().parent / MODEL
        folder.mkdir(exist_ok=True)
        method.save(folder)
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
