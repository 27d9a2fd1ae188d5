"""Tables that compare: headline metrics with intervals, the ranking, and paired tests."""

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from annobench.score import statistics as stats
from annobench.score.registry import METRICS
from annobench.tables.shared.columns import EVALUATION
from annobench.tables.shared.context import TableContext
from annobench.tables.shared.fits import FitFiles, Fits
from annobench.tables.shared.spec import TablesSpec

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
        "n_units",
        "n_fits",
        "n_planned",
        "macro_f1",
        "balanced_accuracy",
        "accuracy",
        "hierarchical_f1_micro",
        "ontology_macro_f1",
        "fit_seconds",
        "predict_seconds",
        "peak_rss_mb",
        "trainable_parameters",
        "sees_test_cells",
        "p_against_best",
        "verdict",
    ),
    "tests": (
        "dataset",
        "evaluation",
        "regime",
        "metric",
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
    "interval_over": "What the interval resamples: donors, studies or cells.",
    "rank": "Place among the methods that finished all fits; controls have none.",
    "label": "Name of the method.",
    "score": "The primary metric: mean over splits of the mean over seeds.",
    "macro_f1": "Macro F1.",
    "balanced_accuracy": "Balanced accuracy.",
    "accuracy": "Accuracy.",
    "hierarchical_f1_micro": "Hierarchical F1.",
    "ontology_macro_f1": "Ontology-aware macro F1.",
    "p_against_best": "The p-value against the best-ranked method, after Holm's correction.",
    "method_a": "First method.",
    "method_b": "Second method.",
    "difference": "Primary metric of the first minus that of the second, on the fits that both have.",
    "n_swaps": "Random swaps of the paired test.",
    "family": "The family of Holm's correction.",
}
IN_REPORT = ("ranking", "tests")
_SHOWN = ("macro_f1", "balanced_accuracy", "accuracy", "hierarchical_f1_micro", "ontology_macro_f1")
ALL = ("all", "all", "all")  # dataset, evaluation and regime of what is taken over the whole study
_SUMMARY = COLUMNS["summary"][:-1]  # the verdict is added last
_RANKING = COLUMNS["ranking"][:-2]
_TESTS = COLUMNS["tests"][:-1]


def summary(context: TableContext) -> pd.DataFrame:
    """Headline metrics with intervals: per split, per evaluation, and over the study."""
    return context.verdicts.added_to(context.once(_summary))


def ranking(context: TableContext) -> pd.DataFrame:
    """Methods in order, for every evaluation and over the study (`all`), with intervals and cost; within an evaluation
    also the corrected p-value against the best. Methods with failed or missing fits, and controls, have no rank.
    """
    comparison, resources = context.once(_comparison), context.table("resources")
    table = comparison.ranking(context.once(_summary), resources, context.once(_tests))
    return context.verdicts.added_to(table, comparison.primary)


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
        self.primary = spec.scoring.primary
        self.confidence = spec.statistics.confidence
        self.weights = stats.Weights(spec.statistics.replicates, self.confidence)

    def summary(self) -> pd.DataFrame:
        """Headline metrics with intervals: per split, per evaluation, and over the study.

        The value over the study is the mean over its evaluations, each counting the same; only a method with fits in
        all of them has one.
        """
        rows = []
        for method in self.methods:
            parts = {}
            everything = []
            for evaluation in self.fits.evaluations:
                planned = self.fits.of(method, evaluation)
                everything += planned
                for split in dict.fromkeys(fit.split for fit in planned):
                    of_split = [fit for fit in planned if fit.split == split]
                    rows += self._rows(evaluation, split, method, of_split, self._values(of_split))
                parts[evaluation] = self._values(planned)
                rows += self._rows(evaluation, "all", method, planned, parts[evaluation])
            if parts and all(parts.values()):
                means = {
                    m: (
                        float(np.mean([values[m][0] for values in parts.values()])),
                        np.mean([values[m][1] for values in parts.values()], axis=0),
                    )
                    for m in _SHOWN
                }
                rows += self._rows(ALL, "all", method, everything, means)
        return pd.DataFrame(rows, columns=_SUMMARY)

    def _values(self, fits: Sequence[FitFiles]) -> "dict[str, tuple[float, Array]]":
        """Estimate and replicates of every headline metric; empty where no fit has finished."""
        counts = self.fits.counts_of(fits)
        if not counts:
            return {}
        dataset = fits[0].dataset
        metrics = [METRICS[name] for name in _SHOWN]
        drawn = stats.replicates_of(counts, metrics, self.weights, dataset)
        return {m.name: (stats.estimate(counts, m), drawn[m.name]) for m in metrics}

    def _rows(
        self,
        evaluation: Sequence[str],
        split: str,
        method: str,
        planned: Sequence[FitFiles],
        values: "Mapping[str, tuple[float, Array]]",
    ) -> list[dict[str, object]]:
        done = [fit for fit in planned if fit in self.fits.counts]
        about = {
            "interval_over": _plural({self.fits.unit_kinds[fit] for fit in done}),
            "n_units": len({(fit.dataset, unit) for fit in done for unit in self.fits.counts[fit].units}),
            "n_fits": len(done),
            "n_planned": len(planned),
        }
        rows = []
        for metric, (value, replicates) in values.items():
            low, high = stats.interval(replicates, float(value), self.confidence)
            found = {"metric": metric, "value": float(value), "low": low, "high": high}
            rows.append(
                dict(zip(EVALUATION, evaluation, strict=True)) | {"split": split, "method": method} | found | about
            )
        return rows

    def ranking(self, summary: pd.DataFrame, resources: pd.DataFrame, tests: pd.DataFrame) -> pd.DataFrame:
        """Methods in order, per evaluation and over the study (`all`).

        Order: the primary metric, then balanced accuracy, accuracy, fewer trainable parameters, less time. A method
        with fits that failed or are missing, and a control, gets no rank.
        """
        rows = []
        resources = resources[resources["status"] == "ok"]
        for keys, part in summary[summary["split"] == "all"].groupby(EVALUATION, sort=False):
            here = (resources["dataset"] == keys[0]) & (resources["evaluation"] == keys[1])
            used = resources if keys == ALL else resources[here]
            values = part.pivot(index="method", columns="metric", values="value")
            for row in part[part["metric"] == self.primary].to_dict("records"):
                mine = used[used["method"] == row["method"]]
                cost = {
                    "fit_seconds": mine["fit_seconds"].mean(),
                    "predict_seconds": mine["predict_seconds"].mean(),
                    "peak_rss_mb": mine["peak_rss_mb"].max(),
                    "trainable_parameters": pd.to_numeric(mine["trainable_parameters"]).mean(),
                    "sees_test_cells": bool(mine["sees_test_cells"].any()),
                }
                method = {key: getattr(self.methods[row["method"]], key) for key in ("label", "kind")}
                rows.append(row | method | {"score": row["value"]} | values.loc[row["method"]].to_dict() | cost)
        table = _ranked(pd.DataFrame(rows, columns=_RANKING))
        return table.assign(p_against_best=_against_best(table, tests))

    def tests(self) -> pd.DataFrame:
        """Paired differences of the primary metric between all methods (controls left out), per evaluation."""
        rows = [row for evaluation in self.fits.evaluations for row in self._family(evaluation)]
        return pd.DataFrame(rows, columns=_TESTS)

    def _family(self, evaluation: Sequence[str]) -> list[dict[str, object]]:
        """All pairs of methods in one evaluation, which Holm's correction is made over."""
        methods = [name for name, method in self.methods.items() if method.kind == "method"]
        counts = {m: self.fits.counts_of(self.fits.of(m, evaluation)) for m in methods}
        shared = {pair: frozenset(set(counts[pair[0]]) & set(counts[pair[1]])) for pair in combinations(methods, 2)}
        pairs = [pair for pair in shared if shared[pair]]
        swaps = stats.swaps_needed(len(pairs), self.confidence)

        @cache
        def measured(method: str, keys: frozenset[stats.Key]) -> "tuple[float, Array]":
            mine = {key: counts[method][key] for key in keys}
            values = stats.replicates(mine, METRICS[self.primary], self.weights, evaluation[0])
            return stats.estimate(mine, METRICS[self.primary]), values

        rows: list[dict[str, object]] = []
        p_values: list[float] = []
        for first, second in pairs:
            keys = shared[first, second]
            (value_a, spread_a), (value_b, spread_b) = measured(first, keys), measured(second, keys)
            low, high = stats.interval(spread_a - spread_b, value_a - value_b, self.confidence, (-1, 1))
            a, b = ({key: counts[m][key] for key in keys} for m in (first, second))
            p_value = stats.swap_test(a, b, METRICS[self.primary], self.weights, dataset=evaluation[0], number=swaps)
            p_values.append(p_value)
            found = {"difference": value_a - value_b, "low": low, "high": high, "p_value": p_value}
            rows.append({"method_a": first, "method_b": second, **found, "n_fits": len(keys)})
        about = dict(zip(EVALUATION, evaluation, strict=True)) | {"metric": self.primary, "n_swaps": swaps}
        about["family"] = f"{len(pairs)} pairs of methods on {self.primary}, {evaluation[0]}, {evaluation[1]}"
        corrected = stats.holm(p_values)
        return [about | row | {"p_holm": p} for row, p in zip(rows, corrected, strict=True)]


def _plural(kinds: Iterable[str]) -> str:
    """`donors`, `cells and studies`."""
    return " and ".join(sorted("studies" if kind == "study" else f"{kind}s" for kind in kinds))


def _ranked(table: pd.DataFrame) -> pd.DataFrame:
    """Sort within each evaluation and number the methods that completed all their fits."""
    order = ["score", "balanced_accuracy", "accuracy", "trainable_parameters", "fit_seconds"]
    parts = []
    for _, part in table.groupby(EVALUATION, sort=False):
        part = part.sort_values(order, ascending=[False, False, False, True, True], kind="stable", na_position="last")
        counted = (part["kind"] == "method") & (part["n_fits"] == part["n_planned"])
        parts.append(part.assign(rank=counted.cumsum().where(counted).astype("Int64")))
    return pd.concat(parts, ignore_index=True) if parts else table


def _against_best(ranking: pd.DataFrame, tests: pd.DataFrame) -> list[float | None]:
    """Holm-corrected p-value of each method against the best-ranked one; empty for that one and for controls."""
    best = {(r.dataset, r.evaluation): r.method for r in ranking.itertuples() if not pd.isna(r.rank) and r.rank == 1}
    found = {}
    for r in tests.itertuples():
        found[r.dataset, r.evaluation, frozenset((r.method_a, r.method_b))] = r.p_holm
    return [
        found.get((r.dataset, r.evaluation, frozenset((r.method, best.get((r.dataset, r.evaluation))))))
        for r in ranking.itertuples()
    ]
