"""From the job of a fit to what its method is given: parameters, device, context."""

import time
from pathlib import Path
from typing import TYPE_CHECKING

from annobench.core.errors import MethodSkipped
from annobench.fit.downloads import with_paths
from annobench.fit.job import FitJob

if TYPE_CHECKING:
    from annobench.fit.inputs import FitCells
    from annobench.fit.method import Context, Method
    from annobench.ontology import Ontology


def processes_of(job: FitJob, device: str) -> int:
    """Processes that train together: the number that the job states, else one for each GPU that it may use."""
    if not job.abilities.parallel:
        return 1
    if job.processes is not None:
        return job.processes
    if device != "cuda" or job.gpus < 2:
        return 1
    import torch

    return min(job.gpus, torch.cuda.device_count())


def context_of(job: FitJob, ontology: "Ontology", cells: "FitCells") -> "Context":
    """What the method may know besides the training cells."""
    from annobench.fit.method import Context
    from annobench.fit.uses import absent_fits, finished_fits

    last = 0.0

    def progress(fraction: float, text: str) -> None:
        nonlocal last
        if time.monotonic() - last > 5:
            last = time.monotonic()
            print(f"{fraction:4.0%}  {text}", flush=True)

    return Context(
        seed=job.seed,
        dataset=job.identity.dataset,
        classes=sorted(map(str, cells.train.obs["label_id"].unique())),
        ontology=ontology,
        validation=cells.validation,
        device=device_of(job),
        threads=job.threads,
        top_k=job.settings.top_k,
        progress=progress,
        truth=cells.truth if job.needs.truth else None,
        query=cells.query if job.needs.query else None,
        checkpoint=Path(job.checkpoint) if job.checkpoint else None,
        uses=finished_fits(job),
        absent=absent_fits(job),
        tokens=Path(job.files.tokens) if job.files.tokens else None,
        weights=Path(job.files.weights) if job.files.weights else None,
    )


def device_of(job: FitJob) -> str:
    """`cuda` where the study allows it and there is one; torch is imported only for methods that may use it.

    Raises MethodSkipped where a GPU is needed and there is none.
    """
    wanted, needed = job.settings.device, job.needs.gpu
    if wanted == "cpu" or not job.method.uses_gpu:
        if needed:
            raise MethodSkipped("the method needs a GPU (needs.gpu), but the study says device: cpu")
        return "cpu"
    import torch

    if torch.cuda.is_available():
        return "cuda"
    if needed or wanted == "cuda":
        raise MethodSkipped("a CUDA device is needed (needs.gpu, or device: cuda), but torch finds none")
    return "cpu"


def create_method(kind: "type[Method]", job: FitJob) -> "Method":
    """The method with its parameters; names of downloads become paths."""
    parameters = with_paths(job.method.parameters, job.downloads)
    if command := job.method.exec:
        return kind(options=parameters, command=command.command, format=command.format)  # type: ignore[call-arg]
    return kind(**parameters)
