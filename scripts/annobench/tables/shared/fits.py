"""The fits of a study as they lie on disk: what ran, what failed, what it took."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from annobench.core.errors import DataError
from annobench.core.files import read_json
from annobench.core.parquet import read_columns
from annobench.fit.run_record import RunRecord
from annobench.ontology import Ontology
from annobench.score import statistics as stats

EVALUATION = ["dataset", "evaluation", "regime"]
FIT = ["dataset", "split", "method", "seed"]
_TAKEN = [
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
    "sees_query",
]


@dataclass(frozen=True)
class FitFiles:
    """One planned fit, or a view of one, and where its files are; a partial study lacks some.

    A file of scores holds the rows of all views of its fit; `rows` gives those of this one.
    """

    dataset: str
    evaluation: str
    regime: str
    split: str
    method: str
    seed: int
    run: Path
    scores: Path
    confusion: Path
    confidence: Path
    attempt: Path

    @property
    def key(self) -> dict[str, Any]:
        """The columns that name a fit."""
        return {name: getattr(self, name) for name in FIT}

    @property
    def belongs(self) -> dict[str, Any]:
        """The columns that name its evaluation."""
        return {name: getattr(self, name) for name in EVALUATION}

    def rows(self, path: Path, columns: Sequence[str] | None = None) -> dict[str, Any]:
        """Columns of `scores`, `confusion` or `confidence`, of this view; DataError for scores without it."""
        view = read_columns(path, ["split", "method"], categorical=["split", "method"])
        mine = (view["split"] == self.split) & (view["method"] == self.method)
        if path == self.scores and not mine.any():  # the other two may be empty: a failed fit, a query without labels
            raise DataError(
                f"{path}: holds no rows of split {self.split} and method {self.method}: it was scored for another "
                f"study; score it again with --forcerun {path}"
            )
        return read_columns(path, columns, rows=mine)  # texts become Python objects for these rows alone

    @property
    def done(self) -> bool:
        """Whether the fit has a record and is scored."""
        return self.run.is_file() and all(path.is_file() for path in (self.scores, self.confusion, self.confidence))


class Fits:
    """All planned fits, the run records of those that are done, and the counts of those that are ok."""

    def __init__(self, planned: Sequence[FitFiles], ontology: Ontology) -> None:
        self.planned, self.ontology = planned, ontology
        self.runs = {fit: RunRecord.read(fit.run) for fit in planned if fit.done}
        self.ok = [fit for fit, run in self.runs.items() if run.ok]
        tables = {fit: fit.rows(fit.confusion) for fit in self.ok}
        scored = {fit: table for fit, table in tables.items() if len(table["n"])}
        # a query that declares no labels is predicted but not compared: it has no truth to be right about
        unlabelled = {tuple(fit.belongs.values()) for fit in tables} - {tuple(fit.belongs.values()) for fit in scored}
        evaluations = dict.fromkeys(tuple(fit.belongs.values()) for fit in planned)
        self.evaluations = [evaluation for evaluation in evaluations if evaluation not in unlabelled]
        self.counts, self.unit_kinds = self._read_counts(scored)

    def of(self, method: str, evaluation: Sequence[str]) -> list[FitFiles]:
        """Planned fits of a method in an evaluation (dataset, evaluation, regime)."""
        return [fit for fit in self.planned if fit.method == method and tuple(fit.belongs.values()) == evaluation]

    def counts_of(self, fits: Iterable[FitFiles]) -> dict[stats.Key, stats.UnitCounts]:
        """Counts of the finished ones of some fits of one dataset."""
        return {(fit.split, fit.seed): self.counts[fit] for fit in fits if fit in self.counts}

    def _read_counts(
        self, tables: Mapping[FitFiles, Mapping[str, Any]]
    ) -> tuple[dict[FitFiles, stats.UnitCounts], dict[FitFiles, str]]:
        """Counts of every scored fit, over the classes that any fit of its split mentions (`classes`)."""
        classes: dict[tuple[str, str], set[str]] = {}
        for fit, table in tables.items():
            classes.setdefault((fit.dataset, fit.split), set()).update(table["true"], table["predicted"])
        self.classes = {split: sorted(mentioned) for split, mentioned in classes.items()}
        counts = {
            fit: stats.unit_counts(table, self.classes[fit.dataset, fit.split], self.ontology)
            for fit, table in tables.items()
        }
        return counts, {fit: str(table["unit_kind"][0]) for fit, table in tables.items()}

    def failed(self) -> pd.DataFrame:
        """Every fit that is not ok, once, with the reason; a fit without a record is `missing`."""
        rows = []
        first = {fit.run: fit for fit in reversed(self.planned)}
        for fit in (fit for fit in self.planned if first[fit.run] is fit):  # the first view stands for all
            if fit not in self.runs:
                rows.append({**fit.key, "status": "missing", "reason": _why_missing(fit.attempt), "traceback": None})
            elif not self.runs[fit].ok:
                run = self.runs[fit]
                trace = str(fit.run.parent / run.traceback) if run.traceback else None
                rows.append({**fit.key, "status": run.status, "reason": run.reason, "traceback": trace})
        return pd.DataFrame(rows, columns=[*FIT, "status", "reason", "traceback"])

    def resources(self) -> pd.DataFrame:
        """What every fit took, one row per view; `fit` names the fit, to which several views may belong."""
        rows = [
            {**fit.key, **fit.belongs, "fit": str(fit.run.parent), **{name: getattr(run, name) for name in _TAKEN}}
            for fit, run in self.runs.items()
        ]
        return pd.DataFrame(rows, columns=[*FIT, "evaluation", "regime", "fit", *_TAKEN])


def _why_missing(attempt: Path) -> str:
    """What is known of a fit without a record: nothing, or an attempt that never came to its end."""
    if not attempt.is_file():
        return "has not been run"
    record = read_json(attempt)
    job = f", cluster job {record['cluster_job']}" if record.get("cluster_job") else ""
    if record["ended"] is None:
        by = f" by {record['signal']} (cancelled, preempted or out of time)" if record.get("signal") else ""
        return f"was begun on {record['host']}{job} at {record['started']}, and killed from outside{by} before its end"
    ended = f"{record['status']}: {record['reason']}" if record.get("reason") else record["status"]
    return f"ended on {record['host']}{job} at {record['ended']} ({ended}), but its files are gone"
