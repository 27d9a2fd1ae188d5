"""The working side of a fit: reads the cells, fits, predicts, validates, saves, reports.

The job is a JSON file: cells, split, train and ontology (paths), implementation, parameters, exec, abilities, needs,
seed, threads, device, top_k, keep, work (the folder to write into), gpus
and checkpoint (a folder). What happened goes to result.json in `work`.
"""

import os
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from annobench.core.errors import AnnobenchError, MethodSkipped, PredictionError
from annobench.core.files import is_disk_full, read_json, write_json
from annobench.core.processes import die_with_parent
from annobench.fit.job import context_of, create_method, processes_of

if TYPE_CHECKING:
    from anndata import AnnData

    from annobench.fit.method import Context, Method
    from annobench.fit.predictions import Predictions
    from annobench.fit.writer import PredictionsWriter

_DISTRIBUTIONS = {
    "numpy": ["numpy"],
    "scipy": ["scipy"],
    "anndata": ["anndata"],
    "sklearn": ["scikit-learn"],
    "torch": ["torch"],
    "xgboost": ["xgboost", "xgboost-cpu"],
    "celltypist": ["celltypist"],
    "scanpy": ["scanpy"],
}


def main(job_file: Path) -> int:
    """Run the job; returns the exit status."""
    die_with_parent()  # nothing may run on after a `kill -9` of the job
    job = read_json(job_file)
    work = Path(job["work"])
    result: dict[str, Any] = {"status": "ok", "reason": None}
    try:
        result |= _run(job, work)
    except MethodSkipped as skipped:
        result |= {"status": "skipped", "reason": str(skipped)}
    except BrokenInputError as error:
        traceback.print_exc()
        result |= {"status": "broken_input", "reason": str(error)}
    except BaseException as error:  # noqa: BLE001 - whatever a method does, it becomes a record
        traceback.print_exc()
        with suppress(OSError):
            (work / "traceback.txt").write_text(traceback.format_exc(), encoding="utf-8")
        # a message of ours says everything; an unrelated one needs the name of its type
        reason = str(error) if isinstance(error, AnnobenchError) else f"{type(error).__name__}: {error}"
        if isinstance(error, MemoryError):
            reason = f"out of memory: {error}"
        if is_disk_full(error):
            reason = f"the disk is full: {error}"
        result |= {"status": "failed", "reason": reason.splitlines()[0] if reason else type(error).__name__}
    write_json(work / "result.json", result)
    return 0


class BrokenInputError(Exception):
    """The method was never reached: not its failure, but one of the job."""


def _run(job: dict[str, Any], work: Path) -> dict[str, Any]:
    begin = time.perf_counter()
    from annobench.fit.inputs import load_cells
    from annobench.fit.registry import load_class
    from annobench.fit.writer import PredictionsWriter
    from annobench.ontology import Ontology

    kind = load_class(job["implementation"])
    try:
        train, validation, query, truth, judged = load_cells(job, streams=kind.streams)
        ontology = Ontology.load(job["ontology"])
    except (MemoryError, MethodSkipped):
        raise
    except Exception as error:
        if is_disk_full(error):
            raise
        raise BrokenInputError(f"the inputs of a fit cannot be read: {type(error).__name__}: {error}") from error
    context = context_of(job, ontology, train, validation, truth)
    _check_needs(job, train)
    method = create_method(kind, job)
    test_ids = list(query.obs_names)  # a method may change what it is given
    startup = time.perf_counter() - begin

    begin = time.perf_counter()
    method = _fit(method, job, train, context)
    fit_seconds = time.perf_counter() - begin
    claims = job["abilities"]["probabilities"]
    keep = job["keep"]
    with PredictionsWriter(
        work,
        test_ids,
        _allowed(job, context),
        top_k=job["top_k"],
        probabilities=claims,
        keep=keep["probabilities"],
        seed=job["seed"],
        ontology=ontology,
    ) as writer:
        predict_seconds = _predict(method, query, writer)
        if claims and not (writer.has_probabilities or job["exec"]):
            raise PredictionError("returned no probabilities; return them, or set abilities.probabilities to false")
    has_decisions = _keep_decisions(job, work, method, writer.decisions, judged, query, context)
    left_out = writer.left_out if has_decisions else {k: v for k, v in writer.left_out.items() if k != "decisions"}
    _keep(job, work, method, query)
    model = work / "model"
    return {
        "startup_seconds": round(startup, 4),
        "fit_seconds": round(method.seconds_before + fit_seconds + (predict_seconds if method.one_step else 0), 4),
        "predict_seconds": None if method.one_step else round(predict_seconds, 4),
        "peak_gpu_mb": _peak_gpu(),
        "trainable_parameters": method.trainable_parameters,
        "model_mb": round(sum(f.stat().st_size for f in model.rglob("*")) / 1e6, 3) if model.is_dir() else None,
        "device": _device_name(context.device),
        "probabilities": writer.keeps_probabilities,
        "confidence_is_probability": claims and writer.has_confidence,
        "decisions": has_decisions,
        "left_out": left_out,
        "genes": _genes(train, query) | (method.gene_overlap or {}),
        "cells": {"train": train.n_obs, "val": validation.n_obs if validation is not None else 0, "test": query.n_obs},
        "versions": _versions(),
    }


def _fit(method: "Method", job: dict[str, Any], train: "AnnData", context: "Context") -> "Method":
    """Train, here or in several processes; returns the trained method."""
    processes = processes_of(job, context) if method.parallel else 1
    if processes == 1:
        method.fit(train, context)
        return method
    from annobench.fit import distributed

    distributed.launch(Path(job["work"]) / "job.json", processes)
    found = type(method).load(Path(job["work"]) / distributed.MODEL)
    found.to(context.device, context.threads)  # type: ignore[attr-defined]
    return found


def _predict(method: "Method", query: "AnnData", writer: "PredictionsWriter") -> float:
    """Predict and write; returns the seconds that the method took. It may give all predictions, or parts in turn."""
    from annobench.fit.predictions import Predictions

    begin = time.perf_counter()
    predicted: Any = method.predict(query)
    seconds = time.perf_counter() - begin
    if isinstance(predicted, Predictions):
        writer.add(predicted, whole=True)
        return seconds
    if not isinstance(predicted, Iterator):
        raise PredictionError(
            f"predict returned {type(predicted).__name__}, expected Predictions or an iterator of them"
        )
    while True:
        begin = time.perf_counter()
        part = next(predicted, None)
        seconds += time.perf_counter() - begin
        if part is None:
            return seconds
        writer.add(part)


def _check_needs(job: dict[str, Any], train: "AnnData") -> None:
    if job.get("missing"):
        raise MethodSkipped(job["missing"])
    state = str(train.uns["annobench"]["matrix"])
    if job["needs"]["counts"] and state != "counts":
        raise MethodSkipped(f"the method needs counts (needs.counts), the dataset holds {state}")
    if train.n_vars < job["needs"]["min_genes"]:
        raise MethodSkipped(
            f"train and test share {train.n_vars} genes, the method needs {job['needs']['min_genes']} (needs.min_genes)"
        )


def _allowed(job: dict[str, Any], context: "Context") -> set[str]:
    """Labels that a method may predict."""
    found = set(context.classes) if job["abilities"]["closed_labels"] else set(context.ontology.terms)
    return found | set((context.truth or {}).values())


def _genes(train: "AnnData", query: "AnnData") -> dict[str, int]:
    """Genes that training and test cells have; a test cell has those that were measured."""
    from annobench.cells.panel import measured

    return {"train": train.n_vars, "test": int(measured(query.var, None).sum())}


def _keep_decisions(
    job: dict[str, Any],
    work: Path,
    method: "Method",
    tested: "Predictions | None",
    judged: "AnnData | None",
    query: "AnnData",
    context: "Context",
) -> bool:
    """Write the decision values of test, validation and unrelated cells; returns whether the method gives any.

    `tested` are the predictions of (a sample of) the test cells (`query`), `judged` the validation cells, of which a
    sample is taken as well. A method that cannot predict twice (an external command) is asked for nothing more.
    """
    from annobench.cells.stored_cells import some_cells
    from annobench.fit.decisions import sample, write_decisions
    from annobench.fit.predictions import Predictions, joined, validate
    from annobench.fit.unrelated_cells import unrelated_cells

    if not job["keep"]["decisions"] or method.one_step or job["needs"]["truth"] or tested is None:
        return False
    answers: dict[str, Any] = {}
    try:  # the predictions that were asked for are there: nothing beyond them may make a failure of the fit
        path = Path(job["unrelated"]) if job.get("unrelated") else None
        asked = unrelated_cells(query, path, context.classes, context.ontology, context.seed)
        if judged is not None and judged.n_obs:
            asked["validation"] = some_cells(judged, sample(judged.n_obs, job["seed"]))
        # one call for all of them: some methods take longer to begin than to predict
        together = _stacked(list(asked.values()), query)
        if together is not None:
            ids = list(together.obs_names)
            predicted: Any = method.predict(together)
            predicted = predicted if isinstance(predicted, Predictions) else joined(list(predicted))
            found = validate(predicted, ids, _allowed(job, context))
            start = 0
            for name, cells in asked.items():
                answers[name] = found.rows(slice(start, start + cells.n_obs))
                start += cells.n_obs
    except Exception as error:  # noqa: BLE001
        print(f"no decision values beyond those of the test cells: {type(error).__name__}: {error}", flush=True)
    return write_decisions(work / "decisions.npz", {"test": tested, **answers})


def _stacked(parts: "list[AnnData]", query: "AnnData") -> "AnnData | None":
    """Sets of cells with the genes of the query as one, with the columns of its obs; None where there are no cells."""
    import pandas as pd
    from anndata import AnnData
    from scipy.sparse import csr_matrix, vstack

    if not parts:
        return None
    names = pd.Index([cell for part in parts for cell in part.obs_names], name=query.obs.index.name)
    obs = pd.DataFrame(
        {column: [v for part in parts for v in part.obs[column].astype(str)] for column in query.obs}, index=names
    )
    found = AnnData(csr_matrix(vstack([csr_matrix(part.X) for part in parts])), obs=obs, var=query.var.copy())
    found.uns["annobench"] = dict(query.uns["annobench"])
    return found


def _keep(job: dict[str, Any], work: Path, method: "Method", query: "AnnData") -> None:
    """Write the optional files that the study keeps."""
    import numpy as np

    if job["abilities"]["embedding"] and job["keep"]["embedding"]:
        embedding = method.embed(query)
        if embedding is not None:
            with open(work / "embedding.npz", "wb") as handle:
                np.savez_compressed(
                    handle, embedding=embedding.astype(np.float32), cell_ids=np.asarray(query.obs_names, dtype=str)
                )
    if job["keep"]["model"]:
        folder = work / "model"
        folder.mkdir()
        method.save(folder)
        if not any(folder.iterdir()):
            folder.rmdir()


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


def _versions() -> dict[str, str]:
    """Versions of the libraries that were imported, and Python's own."""
    import platform
    from importlib.metadata import PackageNotFoundError, version

    found = {"python": platform.python_version()}
    for module, distributions in _DISTRIBUTIONS.items():
        for distribution in distributions if module in sys.modules else ():
            try:
                found[module] = version(distribution)
            except PackageNotFoundError:
                continue
    return found


if __name__ == "__main__":
    status = main(Path(sys.argv[1]))
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)  # everything is on disk; taking torch apart again would cost 0.3 s of every fit
