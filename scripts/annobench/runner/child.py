"""The working side of a fit: reads the cells, fits, predicts, validates, saves, reports.

The job is a JSON file: cells, split, train and ontology (paths), implementation, parameters, exec, abilities, needs,
seed, threads, device, top_k, keep, work (the folder to write into). What happened goes to result.json there.
"""

import os
import sys
import time
import traceback
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from annobench.errors import AnnobenchError, MethodSkipped, PredictionError
from annobench.files import is_disk_full, read_json, write_json
from annobench.processes import die_with_parent
from annobench.runner.downloads import with_paths

if TYPE_CHECKING:
    from anndata import AnnData

    from annobench.methods.base import Context, Method
    from annobench.ontology import Ontology
    from annobench.predictions import Predictions

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
_HIDDEN = ("label_id", "label", "label_original")  # obs columns that a method never sees of test cells


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
        # a message of ours says everything; a foreign one needs the name of its type
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
    from annobench import predictions
    from annobench.methods.registry import load_class
    from annobench.ontology import Ontology

    try:
        train, validation, query, truth, judged = load_cells(job)
        ontology = Ontology.load(job["ontology"])
    except (MemoryError, MethodSkipped):
        raise
    except Exception as error:
        if is_disk_full(error):
            raise
        raise BrokenInputError(f"the inputs of a fit cannot be read: {type(error).__name__}: {error}") from error
    context = _context(job, ontology, train, validation, truth)
    _check_needs(job, train)
    method = _create(load_class(job["implementation"]), job)
    test_ids = list(query.obs_names)  # a method may change what it is given
    startup = time.perf_counter() - begin

    begin = time.perf_counter()
    method.fit(train, context)
    fitted = time.perf_counter()
    predicted = method.predict(query)
    done = time.perf_counter()

    valid = predictions.validate(predicted, test_ids, _allowed(job, context)).cut(job["top_k"])
    if job["abilities"]["probabilities"] and valid.confidence is not None:
        low, high = valid.confidence.min(initial=0), valid.confidence.max(initial=1)
        if low < 0 or high > 1 + 1e-6:
            raise PredictionError(
                f"confidences lie between {low:.3g} and {high:.3g}; those of a method with abilities.probabilities are "
                "probabilities, else set it to false"
            )
    has_probabilities = valid.probabilities is not None and job["abilities"]["probabilities"]
    if job["abilities"]["probabilities"] and not (has_probabilities or job["exec"]):
        raise PredictionError("returned no probabilities; return them, or set abilities.probabilities to false")
    predictions.write(work / "predictions.parquet", valid)
    if has_probabilities and job["keep"]["probabilities"]:
        predictions.write_probabilities(work / "probabilities.npz", valid)
    has_decisions = _keep_decisions(job, work, method, valid, judged, query, context)
    _keep(job, work, method, query)
    model = work / "model"
    return {
        "startup_seconds": round(startup, 4),
        "fit_seconds": round((done if method.one_step else fitted) - begin, 4),
        "predict_seconds": None if method.one_step else round(done - fitted, 4),
        "peak_gpu_mb": _peak_gpu(),
        "trainable_parameters": method.trainable_parameters,
        "model_mb": round(sum(f.stat().st_size for f in model.rglob("*")) / 1e6, 3) if model.is_dir() else None,
        "device": _device_name(context.device),
        "probabilities": has_probabilities and job["keep"]["probabilities"],
        "confidence_is_probability": job["abilities"]["probabilities"] and valid.confidence is not None,
        "decisions": has_decisions,
        "genes": _genes(train, query) | (method.gene_overlap or {}),
        "cells": {"train": train.n_obs, "val": validation.n_obs if validation is not None else 0, "test": query.n_obs},
        "versions": _versions(),
    }


def load_cells(
    job: dict[str, Any],
) -> tuple["AnnData", "AnnData | None", "AnnData", dict[str, str], "AnnData | None"]:
    """Training, validation and test cells of a job, the truth that only a control may see, and judged cells.

    The test cells carry no label column. Labels of the training cells come from the balanced selection. Where a panel
    measures some of the genes, all cells are cut down to these; or, where the job trains on all genes, the test cells
    have zeros in the others. Judged cells are the validation cells as the test cells are seen, for calibration.
    """
    import anndata
    import numpy as np

    from annobench.columns import read_columns
    from annobench.genesets import hidden, measured, restricted

    cells = anndata.read_h5ad(job["cells"])
    mask = measured(cells.var, Path(job["panel"]) if job.get("panel") else None)
    all_genes = job.get("training") == "all"
    if not all_genes and not mask.all():
        cells = restricted(cells, mask)
    roles = read_columns(job["split"])
    chosen = read_columns(job["train"])
    position = {cell: i for i, cell in enumerate(cells.obs_names)}

    def rows(ids: Any) -> Any:
        return np.array([position[cell] for cell in ids], dtype=int)

    train = cells[rows(chosen["cell_id"])].copy()
    train.obs["label_id"] = chosen["label_id"].astype(str)
    val_ids = roles["cell_id"][roles["role"] == "val"]
    validation = cells[rows(val_ids)].copy() if len(val_ids) else None
    query = cells[rows(roles["cell_id"][roles["role"] == "test"])].copy()
    truth = dict(zip(query.obs_names, query.obs["label_id"].astype(str), strict=True))
    judged = validation
    if all_genes and not mask.all():
        query, judged = hidden(query, mask), hidden(validation, mask) if validation is not None else None
    _hide_labels(query)
    if judged is not None:
        judged = judged.copy()
        _hide_labels(judged)
    return train, validation, query, truth, judged


def _hide_labels(cells: "AnnData") -> None:
    """Take away what a method must not see."""
    cells.obs = cells.obs.drop(columns=[column for column in _HIDDEN if column in cells.obs])


def _context(
    job: dict[str, Any], ontology: "Ontology", train: "AnnData", validation: "AnnData | None", truth: dict[str, str]
) -> "Context":
    from annobench.methods.base import Context

    last = 0.0

    def progress(fraction: float, text: str) -> None:
        nonlocal last
        if time.monotonic() - last > 5:
            last = time.monotonic()
            print(f"{fraction:4.0%}  {text}", flush=True)

    return Context(
        seed=job["seed"],
        classes=sorted(set(train.obs["label_id"])),
        ontology=ontology,
        validation=validation,
        device=_device(job),
        threads=job["threads"],
        top_k=job["top_k"],
        progress=progress,
        truth=truth if job["needs"]["truth"] else None,
    )


def _device(job: dict[str, Any]) -> str:
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


def _create(kind: "type[Method]", job: dict[str, Any]) -> "Method":
    parameters = with_paths(job["parameters"], job.get("downloads", {}))
    if job["exec"]:
        return kind(options=parameters, command=job["exec"]["command"], format=job["exec"]["format"])  # type: ignore[call-arg]
    return kind(**parameters)


def _allowed(job: dict[str, Any], context: "Context") -> set[str]:
    """Labels that a method may predict."""
    found = set(context.classes) if job["abilities"]["closed_labels"] else set(context.ontology.terms)
    return found | set((context.truth or {}).values())


def _genes(train: "AnnData", query: "AnnData") -> dict[str, int]:
    """Genes that training and test cells have; a test cell has those that were measured."""
    from annobench.genesets import only_measured

    return {"train": train.n_vars, "test": only_measured(query).n_vars}


def _keep_decisions(
    job: dict[str, Any],
    work: Path,
    method: "Method",
    valid: "Predictions",
    judged: "AnnData | None",
    query: "AnnData",
    context: "Context",
) -> bool:
    """Write the decision values of test, validation and foreign cells; returns whether the method gives any.

    `valid` are the predictions of the test cells (`query`), `judged` the validation cells. A method that cannot
    predict twice (a foreign command) is asked for nothing more.
    """
    from annobench import predictions
    from annobench.runner.foreign import foreign_cells

    if not job["keep"]["decisions"] or method.one_step or job["needs"]["truth"]:
        return False
    if valid.decision_values() is None:
        return False
    answers: dict[str, Any] = {}
    try:  # the predictions that were asked for are there: nothing beyond them may make a failure of the fit
        path = Path(job["foreign"]) if job.get("foreign") else None
        asked = foreign_cells(query, path, context.classes, context.ontology, context.seed)
        if judged is not None and judged.n_obs:
            asked["validation"] = judged
        # one call for all of them: some methods take longer to begin than to predict
        together = _stacked(list(asked.values()), query)
        if together is not None:
            ids = list(together.obs_names)
            found = predictions.validate(method.predict(together), ids, _allowed(job, context))
            start = 0
            for name, cells in asked.items():
                answers[name] = found.rows(slice(start, start + cells.n_obs))
                start += cells.n_obs
    except Exception as error:  # noqa: BLE001
        print(f"no decision values beyond those of the test cells: {type(error).__name__}: {error}", flush=True)
    return predictions.write_decisions(work / "decisions.npz", {"test": valid, **answers})


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
