"""Scoring one fit: the only place, but for the oracle, where predictions meet the truth.

Cells are matched by id. A test cell whose own label is unknown is left out of every metric and counted; a cell that the
method called unknown is wrong.
"""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from annobench.core.errors import DataError
from annobench.core.files import atomic
from annobench.core.parquet import ColumnWriter
from annobench.fit.run_record import RunRecord
from annobench.ontology import UNKNOWN, Ontology
from annobench.score.evidence import FitEvidence
from annobench.score.registry import rows_of, runnable
from annobench.score.score_tables import (
    ScoredView,
    confidence_columns,
    confusion_columns,
    group_columns,
    score_columns,
    sums_columns,
)
from annobench.score.spec import ScoreSpec, ViewSpec
from annobench.score.truths import Truths, read_truths, rollup_of

if TYPE_CHECKING:
    from annobench.core.parquet import Column

_AFFECTED = {
    "probabilities": "brier and auroc_ovr, and of labels that are rolled up ece, are not computed",
    "decisions": "confidence rules are compared on a part of the cells",
}


@dataclass(frozen=True, kw_only=True)
class FitTables:
    """Tables of the dataset and of the split that was fitted.

    Parameters
    ----------
    obs
        Observations of the dataset.
    train
        Training cells of the split.
    roles
        Roles of the cells, one file for each view of the spec.
    cells
        The cells themselves, where the dataset declares perturbations or the cells are clustered; else None.
    """

    obs: Path
    train: Path
    roles: Sequence[Path]
    cells: Path | None = None


def score_fit(spec: ScoreSpec, fit: Path, tables: FitTables, ontology: Ontology, outputs: Mapping[str, Path]) -> None:
    """Score a fit as every view that the study has of it.

    Parameters
    ----------
    spec
        What of the study counts.
    fit
        Folder of the fit.
    tables
        Of the dataset and the split.
    ontology
        Relates the labels.
    outputs
        Files to write, whose columns split and method name the view: `scores` (one row per value), and what intervals
        come from: `confusion` (cells of each unit by true and predicted label), `groups` (the same within groups of
        cells), `sums` (sums over the cells of each unit) and `confidence` (confidence rules compared).

    Raises
    ------
    DataError
        Where a test cell has no prediction or, if the study says so, no known label.
    """
    run = RunRecord.read(fit / "run.json")
    for output, reason in run.left_out.items():
        print(f"{_AFFECTED[output]}: {reason}", flush=True)
    rule = rollup_of(spec.rollup, ontology)
    views = [
        (view, read_truths(tables.obs, roles, tables.train, ontology, rule, groups=view.columns.groups))
        for roles, view in zip(tables.roles, spec.views, strict=True)
    ]
    later = [truths for view, truths in views if view.part == "query"]
    with ExitStack() as files:
        writers = {
            name: files.enter_context(ColumnWriter(files.enter_context(atomic(outputs[name])))) for name in outputs
        }
        for view, truths in views:
            _check_known(truths, tables.obs, spec)
            if later and view.part == "reference":
                truths = replace(truths, ood=sorted(set(later[0].labels.counts()) - {UNKNOWN}))
            for method, decoding in view.methods.items():
                evidence = FitEvidence(
                    fit,
                    run,
                    truths,
                    ontology,
                    bins=spec.bins,
                    min_units=spec.min_units,
                    decoding=decoding,
                    decoding_options=spec.decoding_options.get(decoding),
                    allowed=spec.allowed,
                    obs=tables.obs,
                    columns=view.columns,
                    cells=tables.cells,
                    options=view.options,
                    seed=spec.seed,
                )
                for name, columns in _score_view(spec, view, method, evidence).items():
                    writers[name].write(columns)


def _check_known(truths: Truths, obs: Path, spec: ScoreSpec) -> None:
    if truths.unlabelled and spec.unknown_truth == "error":
        raise DataError(
            f"{obs}: {truths.unlabelled} test cells have an unknown label, and scoring.unknown_truth is error; map the "
            "labels or set it to drop"
        )


def _score_view(
    spec: ScoreSpec, view: ViewSpec, method: str, evidence: FitEvidence
) -> "dict[str, Mapping[str, Column]]":
    """Columns of all tables of one view."""
    about = ScoredView(spec.dataset, view.split, method, spec.seed)
    rows = list(rows_of(evidence, view.families))
    return {
        "scores": score_columns(about, evidence.run.status, rows),
        "confusion": confusion_columns(about, evidence),
        "groups": group_columns(about, evidence, view.columns.groups),
        "sums": sums_columns(about, evidence, runnable(evidence, view.families)),
        "confidence": confidence_columns(about, evidence, rollup_of(spec.merge, evidence.ontology)),
    }
