"""Values within groups of test cells: of every assay, tissue or donor, as the study names columns."""

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from annobench.core.parquet import Categorical
from annobench.score import statistics as stats
from annobench.score.counts import Classes, UnitCounts
from annobench.score.metric import COUNTS, Metric
from annobench.score.registry import METRICS
from annobench.score.units import PLURALS
from annobench.tables.shared.context import TableContext
from annobench.tables.shared.fits import FitFiles
from annobench.tables.shared.tested import Tested

COLUMNS = {
    "groups": (
        "dataset",
        "evaluation",
        "regime",
        "split",
        "method",
        "level",
        "group",
        "metric",
        "value",
        "low",
        "high",
        "interval_over",
        "n_units",
        "cells",
        "n_fits",
        "verdict",
    ),
}
MEANINGS = {
    "level": "Column of obs (`columns.groups` of the evaluation).",
    "group": "Its value.",
    "interval_over": "What the interval resamples; empty where the group has too few of them.",
    "cells": "Test cells of the group in a fit, on average.",
    "split": "Split that is shown by itself (a share of the labels); `all` for the splits of the evaluation together.",
}
Group = tuple[str, str]
Samples = dict[Group, dict[stats.Key, UnitCounts]]


def groups(context: TableContext) -> pd.DataFrame:
    """The shown metrics within every group of test cells, mean over the fits that have the group, with intervals.

    A mean over classes is over those with cells in the group. Intervals need as many donors or studies of the group as
    those of the study (`statistics.min_units`). Shares of the labels are apart.
    """
    metrics = [METRICS[name] for name in context.spec.scoring.shown if METRICS[name].basis == COUNTS]
    given = context.spec.statistics
    weights = stats.Weights(given.replicates, given.confidence)
    tested = context.once(Tested)
    rows: list[dict[str, object]] = []
    for dataset, evaluation, regime in context.spec.evaluations:
        for method in context.spec.methods:
            fits = [fit for fit in context.fits.of(method, (dataset, evaluation, regime)) if fit in context.fits.counts]
            for split, together in tested.apart(fits).items():
                place = {"dataset": dataset, "evaluation": evaluation, "regime": regime, "split": split}
                kind = PLURALS[context.fits.unit_kinds[together[0]]]
                for (level, group), samples in _samples(context, together).items():
                    about = {**place, "method": method, "level": level, "group": group}
                    rows += [
                        {**about, **row}
                        for row in _values(samples, metrics, weights, context, dataset=dataset, kind=kind)
                    ]
    return context.verdicts.added_to(pd.DataFrame(rows, columns=COLUMNS["groups"][:-1]))


def _values(
    samples: dict[stats.Key, UnitCounts],
    metrics: Sequence[Metric],
    weights: stats.Weights,
    context: TableContext,
    *,
    dataset: str,
    kind: str,
) -> Iterator[dict[str, object]]:
    """Every metric in one group, with an interval where it has enough units, of which `kind` says what they are."""
    given = context.spec.statistics
    units = {unit for one in samples.values() for unit in one.units}
    drawn = stats.replicates_of(samples, metrics, weights, dataset) if len(units) >= given.min_units else None
    cells = float(np.mean([one.observed().n for one in samples.values()]))
    for metric in metrics:
        value, low, high = stats.estimate(samples, metric), np.nan, np.nan
        if drawn is not None:
            low, high = stats.interval(drawn[metric.name], value, given.confidence, (metric.low, metric.high))
        about = {"metric": metric.name, "value": value, "low": low, "high": high}
        about |= {"interval_over": kind if drawn is not None else "", "n_units": len(units), "cells": cells}
        yield {**about, "n_fits": len(samples)}


def _samples(context: TableContext, fits: list[FitFiles]) -> Samples:
    """Counts of every group by split and seed, groups sorted."""
    samples: Samples = {}
    for fit in fits:
        for group, counts in _counts(context, fit):
            samples.setdefault(group, {})[fit.split, fit.seed] = counts
    return dict(sorted(samples.items()))


def _counts(context: TableContext, fit: FitFiles) -> Iterator[tuple[Group, UnitCounts]]:
    if not fit.groups.is_file():
        return
    table = pd.DataFrame(fit.rows(fit.groups))
    classes = Classes(context.fits.classes[fit.dataset, fit.split], context.ontology)
    for (level, group), part in table.groupby(["level", "group"], sort=True):
        columns = {name: Categorical.of(part[name].astype(str).to_numpy()) for name in ("unit", "true", "predicted")}
        yield (
            (str(level), str(group)),
            UnitCounts.of_table(
                {**columns, "n": part["n"].to_numpy(), "unit_kind": part["unit_kind"].to_numpy()}, classes
            ),
        )
