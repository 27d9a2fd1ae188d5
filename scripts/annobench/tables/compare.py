"""Tables that compare methods: metrics with intervals, the ranking, and paired tests.

What intervals and tests are computed from: see `annobench.tables.shared.measures`.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from annobench.score import statistics as stats
from annobench.score.metric import COUNTS, SUMS
from annobench.score.registry import METRICS
from annobench.score.statistics import ONE_VALUE
from annobench.score.units import OF_CELLS, PLURALS
from annobench.tables.shared.columns import EVALUATION, filled
from annobench.tables.shared.context import TableContext
from annobench.tables.shared.fits import Evaluation, Fits
from annobench.tables.shared.measures import Measured, Measures, basis_of
from annobench.tables.shared.spec import TablesSpec
from annobench.tables.shared.standing import DIGITS, Standing

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

COLUMNS = {
    "summary": (
        "dataset",
        "evaluation",
        "regime",
        "split",
        "method",
        "metric",
        "value",
        "low",
        "high",
        "interval_over",
        "basis",
        "n_units",
        "n_fits",
        "n_planned",
        "verdict",
    ),
    "ranking": (
        "dataset",
        "evaluation",
        "regime",
        "rank",
        "method",
        "label",
        "kind",
        "score",
        "low",
        "high",
        "interval_over",
        "basis",
        "n_units",
        "n_fits",
        "n_planned",
        "<metric>",
        "fit_seconds",
        "predict_seconds",
        "peak_rss_mb",
        "trainable_parameters",
        "total_parameters",
        "model_bytes",
        "validation_score",
        "sees_test_cells",
        "p_against_best",
        "against_best",
        "baseline_verdict",
        "verdict",
    ),
    "tests": (
        "dataset",
        "evaluation",
        "regime",
        "metric",
        "basis",
        "method_a",
        "method_b",
        "difference",
        "low",
        "high",
        "p_value",
        "p_holm",
        "n_fits",
        "n_swaps",
        "family",
        "verdict",
    ),
}
MEANINGS = {
    "interval_over": (
        "What the interval resamples: donors, studies, cells, or blocks of cells where there are more than 2,000; else "
        "seeds or splits; empty for nothing."
    ),
    "basis": (
        "What intervals and tests are computed from: `unit counts` or `unit sums` over donors, studies, cells or "
        "blocks of cells; else values of whole fits, over `seeds` or `splits`; `one value` where there is only one."
    ),
    "rank": (
        "Place among the methods that finished all fits; controls have none. By the primary metric; ties by balanced "
        "accuracy, then accuracy (where they are among `scoring.metrics`), fewer trainable parameters, and less time "
        "to fit and predict. `against_best` says whether a place means anything."
    ),
    "label": "Name of the method.",
    "score": "The primary metric: mean over splits of the mean over seeds.",
    "<metric>": "One column for every metric of `scoring.metrics`.",
    "validation_score": "Mean score on the validation cells by which settings were chosen, where methods state one.",
    "p_against_best": "The p-value against the best-ranked method, after Holm's correction.",
    "against_best": (
        "`best`; `same score`; `not told apart`, where the paired interval holds 0 or `p_against_best` is above 1 "
        "minus the confidence; `worse`; `not tested`. Empty without a rank, and over the study."
    ),
    "baseline_verdict": (
        "One sentence on the best other method and the best baseline, both by rank: whether the paired interval of "
        "their difference lies above 0. The interval is that of one pair, though both were picked by their scores; the "
        "p-value is corrected for all pairs of the evaluation. Empty without `scoring.baselines`, and over the study."
    ),
    "method_a": "First method.",
    "method_b": "Second method.",
    "difference": "Primary metric of the first minus that of the second, on the fits that both have.",
    "n_swaps": "Random swaps of the paired test.",
    "family": "The family of Holm's correction.",
}
IN_REPORT = ("ranking", "tests")
ALL = ("all", "all", "all")  # dataset, evaluation and regime of what is taken over the whole study
_MEANS = (
    "fit_seconds",
    "predict_seconds",
    "trainable_parameters",
    "total_parameters",
    "model_bytes",
    "validation_score",
)
_SUMMARY = COLUMNS["summary"][:-1]  # the verdict is added last
_TESTS = COLUMNS["tests"][:-1]


def summary(context: TableContext) -> pd.DataFrame:
    """The metrics of `scoring.metrics` with intervals: per split, per evaluation, and over the study."""
    return context.verdicts.added_to(context.once(_summary))


def ranking(context: TableContext) -> pd.DataFrame:
    """Methods in order, for every evaluation and over the study (`all`), with intervals and cost; within an evaluation
    also the corrected p-value against the best. Methods with failed or missing fits, and controls, have no rank.
    """
    comparison, resources = context.once(_comparison), context.table("resources")
    table = comparison.ranking(context.once(_summary), resources, context.once(_tests))
    return context.verdicts.added_to(table, comparison.primary.name)


def tests(context: TableContext) -> pd.DataFrame:
    """Paired differences between all methods on the same splits and seeds: interval, p-value of the randomisation test,
    and Holm's correction over the family that the row names.
    """
    return context.verdicts.added_to(context.once(_tests))


def _comparison(context: TableContext) -> "Comparison":
    return Comparison(context.fits, context.spec)


def _summary(context: TableContext) -> pd.DataFrame:
    return context.once(_comparison).summary()


def _tests(context: TableContext) -> pd.DataFrame:
    return context.once(_comparison).tests()


class Comparison:
    """Compares the methods of a study.

    Parameters
    ----------
    fits
        The fits of the study.
    spec
        The study: its methods, how they are ranked, and how intervals and tests are made.
    """

    def __init__(self, fits: Fits, spec: TablesSpec) -> None:
        self.fits, self.methods = fits, spec.methods
        self.primary, self.baselines = METRICS[spec.scoring.primary], spec.scoring.baselines
        self.metrics = [METRICS[name] for name in spec.scoring.shown]
        others = [name for name in spec.scoring.metrics if name not in COLUMNS["ranking"]]
        self.columns = filled(COLUMNS["ranking"][: COLUMNS["ranking"].index("p_against_best")], others)
        self.confidence = spec.statistics.confidence
        self.weights = stats.Weights(spec.statistics.replicates, self.confidence)
        self.measures = Measures(fits, {*self.metrics, self.primary}, self.weights)

    def summary(self) -> pd.DataFrame:
        """Metrics with intervals: per split, per evaluation, and over the study.

        The value over the study is the mean over its evaluations, each counting the same; only a method with fits in
        all of them has one.
        """
        rows = []
        wanted = {metric.name: self.measures.evaluations(metric) for metric in self.metrics}
        for method in self.methods:
            parts: dict[str, dict[Evaluation, Measured]] = {metric.name: {} for metric in self.metrics}
            for evaluation in dict.fromkeys(place for places in wanted.values() for place in places):
                metrics = [metric for metric in self.metrics if evaluation in wanted[metric.name]]
                planned = self.fits.of(method, evaluation)
                for split in dict.fromkeys(fit.split for fit in planned):
                    of_split = [fit for fit in planned if fit.split == split]
                    rows += self._rows(evaluation, split, method, self.measures.over(metrics, of_split))
                measured = self.measures.over(metrics, planned)
                rows += self._rows(evaluation, "all", method, measured)
                for name, one in measured.items():
                    parts[name][evaluation] = one
            means = {
                name: Measured.mean(list(of.values())) for name, of in parts.items() if of and list(of) == wanted[name]
            }
            rows += self._rows(ALL, "all", method, means)
        return pd.DataFrame(rows, columns=_SUMMARY)

    def _rows(
        self,
        evaluation: Sequence[str],
        split: str,
        method: str,
        measured: Mapping[str, Measured],
    ) -> list[dict[str, object]]:
        place = dict(zip(EVALUATION, evaluation, strict=True)) | {"split": split, "method": method}
        rows = []
        for metric, one in measured.items():
            low, high = np.nan, np.nan
            if one.replicates is not None:
                bounds = (METRICS[metric].low, METRICS[metric].high)
                low, high = stats.interval(one.replicates, one.value, self.confidence, bounds)
            rows.append(
                {
                    **place,
                    **{"metric": metric, "value": one.value, "low": low, "high": high},
                    **{"interval_over": _plural(one.kinds), "basis": one.basis, "n_units": len(one.units)},
                    **{"n_fits": one.n_fits, "n_planned": one.n_planned},
                }
            )
        return rows

    def ranking(self, summary: pd.DataFrame, resources: pd.DataFrame, tests: pd.DataFrame) -> pd.DataFrame:
        """Methods in order, per evaluation and over the study (`all`).

        Order: the primary metric by its distance to the best value, then balanced accuracy, accuracy, fewer trainable
        parameters, less time to fit and predict. A method with fits that failed, are missing or lack the metric, and a
        control, gets no rank.
        """
        rows = []
        resources = resources[resources["status"] == "ok"]
        for keys, part in summary[summary["split"] == "all"].groupby(EVALUATION, sort=False):
            here = (resources["dataset"] == keys[0]) & (resources["evaluation"] == keys[1])
            used = resources if keys == ALL else resources[here]
            values = part.pivot(index="method", columns="metric", values="value")
            for row in self._ranked_rows(part).to_dict("records"):
                mine = used[used["method"] == row["method"]]
                cost = {name: pd.to_numeric(mine[name]).mean() for name in _MEANS}
                cost |= {"peak_rss_mb": mine["peak_rss_mb"].max()}
                cost |= {"sees_test_cells": bool(mine["sees_test_cells"].any())}
                method = {key: getattr(self.methods[row["method"]], key) for key in ("label", "kind")}
                rows.append(values.loc[row["method"]].to_dict() | row | method | {"score": row["value"]} | cost)
        table = self._ordered(pd.DataFrame(rows, columns=self.columns))
        standing = Standing(table, tests, self.primary, 1 - self.confidence)
        return table.assign(
            p_against_best=standing.p_against_best(),
            against_best=standing.against_best(),
            baseline_verdict=standing.on_baselines(self.baselines),
        )

    def _ranked_rows(self, part: pd.DataFrame) -> pd.DataFrame:
        """Rows of the primary metric of one evaluation; a method without it has a row without value."""
        of_primary = part[part["metric"] == self.primary.name]
        lacking = part[~part["method"].isin(of_primary["method"])].drop_duplicates("method")
        empty = dict.fromkeys(["value", "low", "high"], np.nan) | {"interval_over": "", "basis": ""}
        lacking = lacking.assign(**empty, n_units=0, n_fits=0)
        return pd.concat([of_primary, lacking]) if len(of_primary) and len(lacking) else of_primary

    def _ordered(self, table: pd.DataFrame) -> pd.DataFrame:
        """Sort within each evaluation and number the methods that completed all their fits."""
        falling = [name for name in ("balanced_accuracy", "accuracy") if name in table]
        keys = pd.DataFrame({"loss": table["score"].map(self.primary.loss)}).join(table[falling])
        keys = keys.astype(float).round(DIGITS).join(table["trainable_parameters"])
        keys["seconds"] = table["fit_seconds"] + table["predict_seconds"].fillna(0)
        ascending = [name not in falling for name in keys]
        parts = []
        for _, part in table.groupby(EVALUATION, sort=False):
            order = keys.loc[part.index].sort_values(list(keys), ascending=ascending, kind="stable", na_position="last")
            part = part.loc[order.index]
            counted = (part["kind"] == "method") & (part["n_fits"] == part["n_planned"]) & part["score"].notna()
            parts.append(part.assign(rank=counted.cumsum().where(counted).astype("Int64")))
        return pd.concat(parts, ignore_index=True) if parts else table

    def tests(self) -> pd.DataFrame:
        """Paired differences of the primary metric between all methods (controls left out), per evaluation."""
        methods = [name for name, method in self.methods.items() if method.kind == "method"]
        return self.tests_of(list(combinations(methods, 2)))

    def tests_of(self, pairs: Sequence[tuple[str, str]], places: Sequence[Evaluation] | None = None) -> pd.DataFrame:
        """Paired differences of the primary metric between some pairs of methods, per evaluation; by default of all."""
        known = self.measures.evaluations(self.primary)
        rows = [row for place in known if places is None or place in places for row in self._family(place, pairs)]
        return pd.DataFrame(rows, columns=_TESTS)

    def _family(self, evaluation: Evaluation, wanted: Sequence[tuple[str, str]]) -> list[dict[str, object]]:
        """The pairs of methods in one evaluation, which Holm's correction is made over."""
        metric, dataset = self.primary, evaluation[0]
        methods = list(dict.fromkeys(method for pair in wanted for method in pair))
        samples = {m: self.measures.samples_of(metric, self.fits.of(m, evaluation)) for m in methods}
        shared = {pair: frozenset(set(samples[pair[0]]) & set(samples[pair[1]])) for pair in wanted}
        pairs = [pair for pair in shared if shared[pair]]
        kinds = {self.fits.unit_kinds.get(fit, "") for m in methods for fit in self.fits.of(m, evaluation)} - {""}
        swaps, width = stats.swaps_needed(len(pairs), self.confidence), metric.high - metric.low

        @cache
        def measured(method: str, keys: frozenset[stats.Key]) -> "tuple[float, str, stats.Samples, Array]":
            basis, mine = basis_of(metric, {key: samples[method][key] for key in keys})
            drawn = stats.replicates(mine, metric, self.weights, dataset)
            return stats.estimate(mine, metric), basis, mine, drawn

        rows: list[dict[str, object]] = []
        p_values: list[float] = []
        for pair in pairs:
            (value_a, basis, a, drawn_a), (value_b, _, b, drawn_b) = (measured(m, shared[pair]) for m in pair)
            low, high = np.nan, np.nan
            if basis != ONE_VALUE:
                bounds = (-width, width)
                low, high = stats.interval(drawn_a - drawn_b, value_a - value_b, self.confidence, bounds)
            p_values.append(stats.swap_test(a, b, metric, self.weights, dataset=dataset, number=swaps))
            if kinds and kinds <= {*OF_CELLS} and basis in (COUNTS, SUMS):
                low, high = stats.agreeing((low, high), p_values[-1], self.confidence)
            rows.append(
                {
                    **{"method_a": pair[0], "method_b": pair[1], "basis": basis, "difference": value_a - value_b},
                    **{"low": low, "high": high, "p_value": p_values[-1], "n_fits": len(shared[pair])},
                }
            )
        about: dict[str, object] = {"metric": metric.name, "n_swaps": swaps}
        about |= dict(zip(EVALUATION, evaluation, strict=True))
        about["family"] = f"{len(pairs)} pairs of methods on {metric.name}, {dataset}, {evaluation[1]}"
        return [about | row | {"p_holm": p} for row, p in zip(rows, stats.holm(p_values), strict=True)]


def _plural(kinds: Iterable[str]) -> str:
    """`donors`, `blocks of cells and studies`; empty for nothing."""
    return " and ".join(sorted(PLURALS.get(kind, f"{kind}s") for kind in kinds))
