"""Cuts for a wanted error, and conformal sets: what was found on validation cells, and what holds of the test cells.

The cut is a calibrated confidence, found with a guarantee (annobench.fit.cuts): where test cells come as validation
cells do, the error above it is at most the wanted one. On cells of another study it is what `cut_error` says. All
metrics have a value for each wanted error (level `error`), and none ranks: a method is no better for a stricter cut.
Where no cut passes, all cells are unknown: `cut_kept` is 0, and there is no error.

Conformal sets hold all classes whose softmax of the decision values is at least a threshold from the validation cells.
They are not made where labels are rolled up.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from annobench.core.errors import ConfigError
from annobench.core.parquet import Categorical, positions, to_arrow
from annobench.fit.calibration import logsumexp
from annobench.fit.cuts import Cut, Ladder, conformal_threshold
from annobench.ontology import UNKNOWN
from annobench.score.confidence import CALIBRATED
from annobench.score.confidence_rules import RuleConfidences
from annobench.score.evidence import Evidence
from annobench.score.metric import INFINITE, Family, Metric, Row

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

    from annobench.fit.predictions import Texts


@dataclass(frozen=True)
class Options:
    """The wanted errors."""

    errors: tuple[float, ...] = (0.05, 0.1)


METRICS = [
    Metric(
        name="cut_confidence",
        label="cut",
        meaning="calibrated confidence above which the error on validation cells is at most the wanted one",
        low=0,
        high=1,
        best=None,
        level="error",
    ),
    Metric(
        name="cut_validation_kept",
        label="validation cells kept",
        meaning="share of validation cells above the cut",
        low=0,
        high=1,
        best=None,
        level="error",
    ),
    Metric(
        name="cut_validation_error",
        label="error among validation cells kept",
        meaning="share of wrong cells among the validation cells above the cut",
        low=0,
        high=1,
        best=None,
        level="error",
    ),
    Metric(
        name="cut_validation_low",
        label="lower end of the error on validation",
        meaning="lower end of the exact 95% interval of the error among the validation cells above the cut",
        low=0,
        high=1,
        best=None,
        level="error",
    ),
    Metric(
        name="cut_validation_high",
        label="upper end of the error on validation",
        meaning="upper end of the exact 95% interval of the error among the validation cells above the cut",
        low=0,
        high=1,
        best=None,
        level="error",
    ),
    Metric(
        name="cut_kept",
        label="share kept",
        meaning="share of test cells above the cut",
        low=0,
        high=1,
        best=1,
        level="error",
    ),
    Metric(
        name="cut_error",
        label="error among cells kept",
        meaning="share of wrong cells among the test cells above the cut",
        low=0,
        high=1,
        best=0,
        level="error",
    ),
    Metric(
        name="cut_accepted",
        label="unrelated cells accepted at the cut",
        meaning="share of a kind of unrelated cells above the cut",
        low=0,
        high=1,
        best=0,
        level="error",
    ),
    Metric(
        name="conformal_coverage",
        label="coverage of conformal sets",
        meaning="share of test cells whose conformal set holds the true label",
        low=0,
        high=1,
        best=None,
        level="error",
    ),
    Metric(
        name="conformal_size",
        label="size of conformal sets",
        meaning="mean number of labels in the conformal set of a test cell",
        low=0,
        high=INFINITE,
        best=None,
        level="error",
    ),
    Metric(
        name="conformal_single",
        label="conformal sets of one label",
        meaning="share of test cells whose conformal set is one label",
        low=0,
        high=1,
        best=1,
        level="error",
    ),
]


def compute(evidence: Evidence) -> Iterator[Row]:
    """Values for every wanted error; nothing without validation cells."""
    errors = evidence.options("cuts", Options()).errors
    if bad := [one for one in errors if not 0 < one < 1]:
        raise ConfigError(f"metric_options.cuts.errors: {bad[0]:g} is not above 0 and below 1")
    calibrated = [one for one in evidence.rules.confidences if one.rule == CALIBRATED]
    for one in calibrated:
        if one.validation is None or one.validation_right is None or not len(one.validation):
            continue
        ladder = Ladder.of(one.validation, one.validation_right)
        for error in errors:
            yield from _cut_rows(one, ladder.cut(error), f"{error:g}")
    yield from _conformal_rows(evidence, errors)


def _cut_rows(one: RuleConfidences, cut: Cut | None, error: str) -> Iterator[Row]:
    """What a cut keeps of validation, test and unrelated cells, and how much of it is wrong."""

    def row(metric: str, value: float, n: int, variant: str = "-") -> Row:
        return Row("cuts", metric, variant, "error", error, value, n)

    n = len(one.test)
    kept = np.zeros(n, dtype=bool) if cut is None else one.test >= cut.confidence
    yield row("cut_kept", float(kept.mean()), n)
    for kind, confidence in one.unrelated.items():
        accepted = 0.0 if cut is None else float((confidence >= cut.confidence).mean())
        yield row("cut_accepted", accepted, len(confidence), kind)
    if cut is None:
        return
    if kept.any():
        yield row("cut_error", float((~one.right[kept]).mean()), int(kept.sum()))
    assert one.validation is not None
    on_validation = {"kept": cut.kept, "error": cut.error, "low": cut.low, "high": cut.high}
    yield row("cut_confidence", cut.confidence, len(one.validation))
    for name, value in on_validation.items():
        yield row(f"cut_validation_{name}", value, len(one.validation))


def _conformal_rows(evidence: Evidence, errors: tuple[float, ...]) -> Iterator[Row]:
    """Coverage and size of conformal sets."""
    if evidence.truths.rollup is not None:
        return
    decisions, truths = evidence.decided, evidence.truths
    names, part = decisions["classes"].tolist(), decisions["part"]
    values = decisions["decisions"].astype(np.float64)
    p = np.exp(values - logsumexp(values)[:, None])
    ids, labels = truths.validation
    validation, expected = _of(part, decisions["cell_ids"], "validation", ids, labels)
    test, truth = _of(part, decisions["cell_ids"], "test", truths.ids, truths.labels)
    if not len(validation) or not len(test):
        return
    known, true = (one.recode(names) for one in (expected, truth))
    own = np.where(known >= 0, p[validation, np.maximum(known, 0)], 0.0)
    for error in errors:
        inside = p[test] >= conformal_threshold(own, error)
        size = inside.sum(axis=1)
        covered = inside[np.arange(len(test)), np.maximum(true, 0)] & (true >= 0)
        found = {"coverage": covered.mean(), "size": size.mean(), "single": (size == 1).mean()}
        for name, value in found.items():
            yield Row("cuts", f"conformal_{name}", "-", "error", f"{error:g}", float(value), len(test))


def _of(
    part: "Texts", cell_ids: "Texts", name: str, ids: "pa.Array", labels: Categorical
) -> "tuple[NDArray[np.intp], Categorical]":
    """Rows of a part whose cells have a known label, and these labels."""
    rows = np.flatnonzero(part == name)
    place = positions(to_arrow(cell_ids[rows]), ids)
    rows, place = rows[place >= 0], place[place >= 0]
    known = ~(labels[place] == UNKNOWN)
    return rows[known], labels[place[known]]


FAMILY = Family("cuts", tuple(METRICS), needs=("decisions",), compute=compute, order=7)
