"""How the fits of a study ended, and what they took."""

from collections.abc import Mapping
from pathlib import Path
from typing import TypeAlias

import numpy as np
import pandas as pd

from annobench.core.files import read_json
from annobench.fit.run_record import OUTPUTS, Note, RunRecord
from annobench.fit.saved_model import BESIDE
from annobench.tables.shared.context import TableContext
from annobench.tables.shared.fits import FitFiles

COLUMNS = {
    "failed": ("dataset", "split", "method", "seed", "status", "reason", "traceback"),
    "warnings": ("dataset", "evaluation", "method", "warning", "n_fits", "fit"),
    "resources": (
        "dataset",
        "split",
        "method",
        "seed",
        "evaluation",
        "regime",
        "fit",
        "status",
        "fit_seconds",
        "predict_seconds",
        "startup_seconds",
        "total_seconds",
        "cpu_seconds",
        "peak_rss_mb",
        "peak_gpu_mb",
        "trainable_parameters",
        "total_parameters",
        "model_mb",
        "model_bytes",
        "validation_score",
        "threads",
        "device",
        "host",
        "sees_test_cells",
    ),
}
MEANINGS = {
    "traceback": "File with the traceback; empty where there is none.",
    "fit": "Folder of the fit, to which several rows (views) may belong.",
    "warning": "What the method warns of (`notes.warnings` of its run record), such as genes without a match.",
    "warnings.n_fits": "Number of fits of the evaluation that say so.",
    "warnings.fit": "Folder of the first of them.",
    "startup_seconds": "Wall time of imports and of reading the data (s).",
    "total_seconds": "Wall time of the whole process (s).",
    "cpu_seconds": "Processor time of the fit and of all its processes (s).",
    "peak_gpu_mb": "Peak memory that torch allocated on the GPU (MB).",
    "model_mb": "Size of the saved model (MB), with the genes and labels that every model carries.",
    "validation_score": (
        "Score on the validation cells by which the method chose its settings, where its run record has one "
        "(`notes`: macro F1 of an adapted backbone)."
    ),
    "threads": "Threads that the method was given.",
    "device": "Where the method ran: cpu or cuda.",
    "host": "Machine.",
}
IN_REPORT = ("failed", "warnings", "resources")
_MADE = ("total_parameters", "model_bytes", "validation_score")  # not fields of the run record
_OF_RECORD = [name for name in COLUMNS["resources"][COLUMNS["resources"].index("status") : -1] if name not in _MADE]


Notes: TypeAlias = Mapping[str, Note | Mapping[str, Note] | tuple[str, ...]]


def failed(context: TableContext) -> pd.DataFrame:
    """Every fit that failed, was killed, ran out of time, was skipped or is missing, with its reason.

    None of them is in a mean. A fit with several views has one row.
    """
    fits = context.fits
    rows = []
    first = {fit.run: fit for fit in reversed(fits.planned)}
    for fit in (fit for fit in fits.planned if first[fit.run] is fit):
        if fit not in fits.runs:
            rows.append({**fit.key, "status": "missing", "reason": _why_missing(fit), "traceback": None})
        elif not (run := fits.runs[fit]).ok:
            trace = str(fit.folder / run.traceback) if run.traceback else None
            rows.append({**fit.key, "status": run.status, "reason": run.reason, "traceback": trace})
    return pd.DataFrame(rows, columns=COLUMNS["failed"])


def warnings(context: TableContext) -> pd.DataFrame:
    """What methods warn of in fits that succeeded all the same, each text once per evaluation."""
    rows: dict[tuple[str, str, str, str], dict[str, object]] = {}
    counted: dict[tuple[str, str, str, str], set[Path]] = {}
    for fit, run in context.fits.runs.items():
        texts = run.notes.get("warnings", ())
        for text in (texts,) if isinstance(texts, str) else texts if isinstance(texts, tuple) else ():
            key = (fit.dataset, fit.evaluation, fit.method, text)
            counted.setdefault(key, set()).add(fit.run)  # a fit with several views counts once
            rows.setdefault(key, {**dict(zip(COLUMNS["warnings"], key, strict=False)), "fit": str(fit.folder)})
    return pd.DataFrame(
        [{**row, "n_fits": len(counted[key])} for key, row in rows.items()], columns=COLUMNS["warnings"]
    )


def resources(context: TableContext) -> pd.DataFrame:
    """What every fit took: wall time of training and prediction, start-up, peak memory of the largest process, device
    and host.

    One row per view of a fit.
    """
    rows = [
        {
            **fit.key,
            "evaluation": fit.evaluation,
            "regime": fit.regime,
            "fit": str(fit.folder),
            **{name: getattr(run, name) for name in _OF_RECORD},
            "total_parameters": _number(_part(run.notes, "parameters").get("all")),
            "model_bytes": _stored(fit, run),
            "validation_score": _validation(run.notes),
            "sees_test_cells": run.sees_test_cells,
        }
        for fit, run in context.fits.runs.items()
    ]
    return pd.DataFrame(rows, columns=COLUMNS["resources"])


def _part(notes: Notes, name: str) -> Mapping[str, Note]:
    """The notes of one name, where a method wrote a mapping there."""
    part = notes.get(name)
    return part if isinstance(part, Mapping) else {}


def _number(note: object) -> float:
    return float(note) if isinstance(note, int | float) and not isinstance(note, bool) else np.nan


def _validation(notes: Notes) -> float:
    """The first note on a score of validation cells, such as `validation_macro_f1`."""
    written = [notes, *(part for part in notes.values() if isinstance(part, Mapping))]
    found = (value for part in written for name, value in part.items() if name.startswith("validation_"))
    return next((number for value in found if np.isfinite(number := _number(value))), np.nan)


def _stored(fit: FitFiles, run: RunRecord) -> float:
    """Bytes of the files that the method itself saved."""
    if not run.has("model"):
        return np.nan
    files = (path for path in (fit.folder / OUTPUTS["model"]).rglob("*") if path.is_file())
    sizes = [path.stat().st_size for path in files if path.name not in BESIDE]
    return float(sum(sizes)) if sizes else np.nan


def _why_missing(fit: FitFiles) -> str:
    """Why a fit has no record: it was never run, or an attempt did not end."""
    if not fit.attempt.is_file():
        return "has not been run"
    attempt = read_json(fit.attempt)
    job = f", cluster job {attempt['cluster_job']}" if attempt.get("cluster_job") else ""
    if attempt["ended"] is None:
        by = f" by {attempt['signal']} (cancelled, preempted or out of time)" if attempt.get("signal") else ""
        return (
            f"was begun on {attempt['host']}{job} at {attempt['started']}, and killed from outside{by} before its end"
        )
    ended = f"{attempt['status']}: {attempt['reason']}" if attempt.get("reason") else attempt["status"]
    return f"ended on {attempt['host']}{job} at {attempt['ended']} ({ended}), but its files are gone"
