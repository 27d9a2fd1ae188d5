"""Child process of a fit: reads the cells, fits, predicts, validates, saves, reports.

Its argument is job.json (a FitJob). Beside that file it writes its output, and result.json (a FitResult) at the end.
"""

import os
import resource
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from annobench.config.names import NO_MATRIX
from annobench.core.errors import AnnobenchError, MethodSkipped, PredictionError
from annobench.core.files import is_disk_full, read_json, write_json
from annobench.core.processes import die_with_parent
from annobench.fit.context import context_of, create_method, processes_of
from annobench.fit.job import FitJob
from annobench.fit.kept import keep_decisions, keep_embedding, keep_expression, keep_model
from annobench.fit.run_record import CellCounts, FitResult
from annobench.fit.tokens import given_tokens
from annobench.fit.uses import finished_fits, used_fits
from annobench.fit.versions import versions_of

if TYPE_CHECKING:
    from anndata import AnnData

    from annobench.fit.inputs import FitCells
    from annobench.fit.method import Context, Method
    from annobench.fit.predictions import Predictions
    from annobench.fit.writer import PredictionsWriter
    from annobench.ontology import Ontology


def main(job_file: Path) -> int:
    """Run the job; returns the exit status."""
    die_with_parent()  # nothing may run on after a `kill -9` of the job
    work = job_file.resolve().parent
    try:
        result = _run(FitJob.from_params(read_json(job_file)), work)
    except MethodSkipped as skipped:
        result = FitResult(status="skipped", reason=str(skipped))
    except BrokenInputError as error:
        traceback.print_exc()
        result = FitResult(status="broken_input", reason=str(error))
    except BaseException as error:  # noqa: BLE001 - whatever a method does, it becomes a record
        traceback.print_exc()
        with suppress(OSError):
            (work / "traceback.txt").write_text(traceback.format_exc(), encoding="utf-8")
        result = FitResult(status="failed", reason=_reason(error))
    write_json(work / "result.json", replace(result, peak_rss_mb=_peak_rss()).to_params())
    return 0


def _reason(error: BaseException) -> str:
    """What went wrong, in one line."""
    # our own messages are complete; any other needs the name of its type
    reason = str(error) if isinstance(error, AnnobenchError) else f"{type(error).__name__}: {error}"
    if isinstance(error, MemoryError):
        reason = f"out of memory: {error}"
    if is_disk_full(error):
        reason = f"the disk is full: {error}"
    return reason.splitlines()[0] if reason else type(error).__name__


class BrokenInputError(Exception):
    """The method was never reached: the job is at fault, not the method."""


@dataclass
class _Prepared:
    """What a fit starts from."""

    cells: "FitCells"
    ontology: "Ontology"
    context: "Context"
    method: "Method"
    test_ids: list[str]  # noted before: a method may change what it is given

    @property
    def query(self) -> "AnnData":
        """The test cells."""
        return self.cells.query


@dataclass
class _Answers:
    """What was predicted, beside the files that hold it."""

    seconds: float = 0.0
    outputs: tuple[str, ...] = ()
    confidence_is_probability: bool = False
    left_out: dict[str, str] = field(default_factory=dict)
    sample: "Predictions | None" = None  # with decision values


def _run(job: FitJob, work: Path) -> FitResult:
    """Do everything that the job asks for; returns the report of a fit that succeeded."""
    begin = time.perf_counter()
    fit = _prepare(job)
    startup = time.perf_counter() - begin
    begin = time.perf_counter()
    fit.method = _train(job, work, fit)
    fit_seconds = fit.method.seconds_before + time.perf_counter() - begin
    answers = _answer(job, work, fit) if job.abilities.predictions else _Answers()
    decided = keep_decisions(
        job,
        work,
        fit.method,
        tested=answers.sample,
        cells=fit.cells,
        context=fit.context,
        allowed=_allowed(job, fit.context),
    )
    begin = time.perf_counter()
    embedded = keep_embedding(job, work, fit.method, fit.cells)
    expressed = keep_expression(job, work, fit.method, fit.query)
    if not job.abilities.predictions:  # then this is what the method is for
        answers.seconds = time.perf_counter() - begin
    model_mb = keep_model(job, work, fit.method, cells=fit.cells, context=fit.context)
    kept = {
        "decisions": decided,
        "embedding": embedded is not None,
        "expression": expressed,
        "model": model_mb is not None,
    }
    one_step, cells = job.abilities.one_step, fit.cells
    return FitResult(
        outputs=(*answers.outputs, *(name for name, there in kept.items() if there)),
        confidence_is_probability=answers.confidence_is_probability,
        left_out={name: why for name, why in answers.left_out.items() if name != "decisions" or decided},
        startup_seconds=round(startup, 4),
        fit_seconds=round(fit_seconds + (answers.seconds if one_step else 0), 4),
        predict_seconds=None if one_step else round(answers.seconds, 4),
        peak_gpu_mb=_peak_gpu(),
        trainable_parameters=fit.method.trainable_parameters,
        model_mb=model_mb,
        device=_device_name(fit.context.device),
        genes=_genes(cells.train, fit.query) | (fit.method.gene_overlap or {}),
        cells=CellCounts(
            train=cells.train.n_obs,
            val=0 if cells.validation is None else cells.validation.n_obs,
            test=fit.query.n_obs,
        ),
        versions=versions_of(job.method.environment),
        notes={**(fit.method.notes or {}), **({} if embedded is None else {"embedding": embedded})},
        uses=used_fits(fit.context.uses),
        tokens=given_tokens(job),
    )


def _prepare(job: FitJob) -> _Prepared:
    """Read the cells and the ontology, check what the method needs, and make the method."""
    from annobench.fit.inputs import load_cells
    from annobench.fit.registry import load_class
    from annobench.ontology import Ontology

    kind = load_class(job.method.implementation)
    try:
        finished_fits(job)  # before the cells are read: without what it reads there is nothing to do
        given_tokens(job)
        cells = load_cells(job)
        ontology = Ontology.load(job.files.ontology)
    except (MemoryError, MethodSkipped):
        raise
    except Exception as error:
        if is_disk_full(error):
            raise
        raise BrokenInputError(f"the inputs of a fit cannot be read: {type(error).__name__}: {error}") from error
    context = context_of(job, ontology, cells)
    _check_needs(job, cells.train)
    return _Prepared(cells, ontology, context, create_method(kind, job), list(cells.query.obs_names))


def _train(job: FitJob, work: Path, fit: _Prepared) -> "Method":
    """Train, here or in several processes; returns the trained method."""
    method, context = fit.method, fit.context
    processes = processes_of(job, context.device)
    if processes == 1:
        method.fit(fit.cells.train, context)
        return method
    from annobench.fit import distributed

    distributed.launch(work / "job.json", processes)
    trained = type(method).load(work / distributed.MODEL)
    trained.to(context.device, context.threads)  # type: ignore[attr-defined]
    return trained


def _answer(job: FitJob, work: Path, fit: _Prepared) -> _Answers:
    """Predict the test cells, and write what is predicted."""
    from annobench.fit.writer import PredictionsWriter

    claims = job.abilities.probabilities
    with PredictionsWriter(
        work,
        fit.test_ids,
        _allowed(job, fit.context),
        top_k=job.settings.top_k,
        probabilities=claims,
        keep=job.settings.keep.probabilities,
        seed=job.seed,
        ontology=fit.ontology,
    ) as writer:
        seconds = _predict(fit.method, fit.query, writer)
        if claims and not (writer.has_probabilities or job.method.exec):
            raise PredictionError("returned no probabilities; return them, or set abilities.probabilities to false")
    return _Answers(
        seconds,
        ("predictions", "probabilities") if writer.keeps_probabilities else ("predictions",),
        claims and writer.has_confidence,
        writer.left_out,
        writer.decisions,
    )


def _predict(method: "Method", query: "AnnData", writer: "PredictionsWriter") -> float:
    """Predict and write part after part; returns the seconds that the method took."""
    from annobench.fit.predictions import Predictions

    begin = time.perf_counter()
    parts: object = method.predict(query)
    seconds = time.perf_counter() - begin
    if not isinstance(parts, Iterator):
        hint = "; write `yield` where it says `return`" if isinstance(parts, Predictions) else ""
        raise PredictionError(f"predict returned {type(parts).__name__}, expected an iterator of Predictions{hint}")
    while True:
        begin = time.perf_counter()
        part = next(parts, None)
        seconds += time.perf_counter() - begin
        if part is None:
            return seconds
        writer.add(part)


def _check_needs(job: FitJob, train: "AnnData") -> None:
    needs = job.needs
    if job.missing:
        raise MethodSkipped(job.missing)
    if needs.cells == "none":
        return
    state = str(train.uns["annobench"]["matrix"])
    if state == NO_MATRIX:
        raise MethodSkipped("the method reads expression, and the dataset has none (matrix.state: none)")
    if needs.counts and state != "counts":
        raise MethodSkipped(f"the method needs counts (needs.counts), the dataset holds {state}")
    if train.n_vars < needs.min_genes:
        raise MethodSkipped(
            f"train and test share {train.n_vars} genes, the method needs {needs.min_genes} (needs.min_genes)"
        )


def _allowed(job: FitJob, context: "Context") -> set[str]:
    """Labels that a method may predict."""
    labels = set(context.classes) if job.abilities.closed_labels else set(context.ontology.terms)
    return labels | set((context.truth or {}).values())


def _genes(train: "AnnData", query: "AnnData") -> dict[str, int]:
    """Numbers of genes of the training cells, and of measured genes of the test cells."""
    from annobench.cells.panel import measured

    return {"train": train.n_vars, "test": int(measured(query.var, None).sum())}


def _peak_rss() -> float | None:
    """Peak memory (MB) of this process and of those that it waited for; None where the system does not say it.

    What the parent is told when this process ends is at least the peak of the parent itself, which Linux hands on to
    every program that it starts.
    """
    status = Path("/proc/self/status")
    if not status.is_file():
        return None
    own = next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith("VmHWM"))
    return max(own, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss) * 1024 / 1e6


def _peak_gpu() -> float | None:
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available():
        return None
    return round(torch.cuda.max_memory_allocated() / 1e6, 1)


def _device_name(device: str) -> str:
    if device == "cuda":
        import torch

        return f"cuda: {torch.cuda.get_device_name()}"
    return "cpu"


if __name__ == "__main__":
    status = main(Path(sys.argv[1]))
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)  # everything is on disk; taking torch apart again would cost 0.3 s of every fit
