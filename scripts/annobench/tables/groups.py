"""Values within groups of test cells: of every assay, tissue or donor, as the study names columns."""

from collections.abc import Iterator

import numpy as np
import pandas as pd

from annobench.core.parquet import Categorical
from annobench.score import statistics as stats
from annobench.score.counts import Classes, UnitCounts
from annobench.score.metric import COUNTS
from annobench.score.registry import METRICS
from annobench.score.units import PLURALS
from annobench.tables.shared.context import TableContext
from annobench.tables.shared.fits import FitFiles

COLUMNS = {
    "groups": (
        "dataset",
        "evaluation",
        "regime",
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
}
Group = tuple[str, str]
Samples = dict[Group, dict[stats.Key, UnitCounts]]


def groups(context: TableContext) -> pd.DataFrame:
    """The shown metrics within every group of test cells, mean over the fits that have the group, with intervals.

    A mean over classes is over those with cells in the group. Intervals need as many donors or studies of the group as
    those of the study (`statistics.min_units`).
    """
    metrics = [METRICS[name] for name in context.spec.scoring.shown if METRICS[name].basis == COUNTS]
    given = context.spec.statistics
    weights = stats.Weights(given.replicates, given.confidence)
    rows: list[dict[str, object]] = []
    for dataset, evaluation, regime in context.spec.evaluations:
        for method in context.spec.methods:
            fits = [fit for fit in context.fits.of(method, (dataset, evaluation, regime)) if fit in context.fits.counts]
            for (level, group), samples in _samples(context, fits).items():
                units = {unit for one in samples.values() for unit in one.units}
                drawn = None
                if len(units) >= given.min_units:
                    drawn = stats.replicates_of(samples, metrics, weights, dataset)
                cells = float(np.mean([one.observed().n for one in samples.values()]))
                for metric in metrics:
                    value, low, high = stats.estimate(samples, metric), np.nan, np.nan
                    if drawn is not None:
                        bounds = (metric.low, metric.high)
                        low, high = stats.interval(drawn[metric.name], value, given.confidence, bounds)
                    kind = PLURALS[context.fits.unit_kinds[fits[0]]] if drawn is not None else ""
                    place = {"dataset": dataset, "evaluation": evaluation, "regime": regime, "method": method}
                    about = {"level": level, "group": group, "metric": metric.name, "value": value, "low": low}
                    about |= {"high": high, "interval_over": kind, "n_units": len(units), "cells": cells}
                    rows.append({**place, **about, "n_fits": len(samples)})
    return context.verdicts.added_to(pd.DataFrame(rows, columns=COLUMNS["groups"][:-1]))


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
