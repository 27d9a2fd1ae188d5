"""From the job of a fit to what its method is given: context, device, parameters."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from annobench.core.errors import MethodSkipped
from annobench.fit.downloads import with_paths

if TYPE_CHECKING:
    from anndata import AnnData

    from annobench.fit.method import Context, Method
    from annobench.ontology import Ontology


def processes_of(job: dict[str, Any], context: "Context") -> int:
    """Processes that train together: what the job says, else one for each of its GPUs that are there."""
    if "processes" in job:
        return int(job["processes"])
    if context.device != "cuda" or job.get("gpus", 1) < 2:
        return 1
    import torch

    return min(int(job["gpus"]), torch.cuda.device_count())


def context_of(
    job: dict[str, Any], ontology: "Ontology", train: "AnnData", validation: "AnnData | None", truth: dict[str, str]
) -> "Context":
    """What the method may know besides the training cells."""
    from annobench.fit.method import Context

    last = 0.0

    def progress(fraction: float, text: str) -> None:
        nonlocal last
        if time.monotonic() - last > 5:
            last = time.monotonic()
            print(f"{fraction:4.0%}  {text}", flush=True)

    return Context(
        seed=job["seed"],
        classes=sorted(map(str, train.obs["label_id"].unique())),
        ontology=ontology,
        validation=validation,
        device=device_of(job),
        threads=job["threads"],
        top_k=job["top_k"],
        progress=progress,
        truth=truth if job["needs"]["truth"] else None,
        checkpoint=Path(job["checkpoint"]) if job.get("checkpoint") else None,
    )


def device_of(job: dict[str, Any]) -> str:
    """`cuda` where the study allows it and torch finds it; torch is only asked by methods that may use it."""
    wanted = job["device"]
    if wanted == "cpu" or not (job["needs"]["gpu"] or job["abilities"]["gpu"]):
        if job["needs"]["gpu"]:
            raise MethodSkipped("the method needs a GPU (needs.gpu), but the study says device: cpu")
        return "cpu"
    import torch

    if torch.cuda.is_available():
        return "cuda"
    if job["needs"]["gpu"] or wanted == "cuda":
        raise MethodSkipped("a CUDA device is needed (needs.gpu, or device: cuda), but torch finds none")
    return "cpu"


def create_method(kind: "type[Method]", job: dict[str, Any]) -> "Method":
    """The method with its parameters, those that name downloads as paths."""
    parameters = with_paths(job["parameters"], job.get("downloads", {}))
    if job["exec"]:
        return kind(options=parameters, command=job["exec"]["command"], format=job["exec"]["format"])  # type: ignore[call-arg]
    return kind(**parameters)
