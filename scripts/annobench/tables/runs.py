"""How the fits of a study ended, and what they took."""

import pandas as pd

from annobench.core.files import read_json
from annobench.tables.shared.context import TableContext
from annobench.tables.shared.fits import FitFiles

COLUMNS = {
    "failed": ("dataset", "split", "method", "seed", "status", "reason", "traceback"),
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
        "model_mb",
        "threads",
        "device",
        "host",
        "sees_test_cells",
    ),
}
MEANINGS = {
    "traceback": "File with the traceback; empty where there is none.",
    "fit": "Folder of the fit, to which several rows (views) may belong.",
    "startup_seconds": "Wall time of imports and of reading the data (s).",
    "total_seconds": "Wall time of the whole process (s).",
    "cpu_seconds": "Processor time of the fit and of all its processes (s).",
    "peak_gpu_mb": "Peak memory that torch allocated on the GPU (MB).",
    "model_mb": "Size of the saved model (MB).",
    "threads": "Threads that the method was given.",
    "device": "Where the method ran: cpu or cuda.",
    "host": "Machine.",
}
IN_REPORT = ("failed", "resources")
_OF_RECORD = COLUMNS["resources"][COLUMNS["resources"].index("status") : -1]


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
            "sees_test_cells": run.sees_test_cells,
        }
        for fit, run in context.fits.runs.items()
    ]
    return pd.DataFrame(rows, columns=COLUMNS["resources"])


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
