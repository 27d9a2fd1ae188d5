"""Factors: what panel training, balancing, the confidence rule and merging of labels each change, all else equal.

A factor of the evaluations (training, balance) is compared between evaluations of one dataset that differ in nothing
else; confidence rules and merging are compared within every fit. Differences are means over everything that the two
levels have in common (other factors, methods, splits, seeds), with intervals from the same random weights of the test
cells or donors on both sides.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from annobench.ontology.rollup import Rollup
from annobench.score import statistics as stats
from annobench.score.confidence import RULES
from annobench.score.confidence_rules import RESAMPLED
from annobench.score.counts import Classes, UnitCounts
from annobench.score.registry import METRICS
from annobench.score.truths import rolled, rollup_of
from annobench.tables.shared.columns import EVALUATION
from annobench.tables.shared.confidences import Confidences, confidences_of
from annobench.tables.shared.context import TableContext
from annobench.tables.shared.fits import Evaluation, FitFiles, Fits
from annobench.tables.shared.spec import TablesSpec

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Measured = tuple[float, NDArray[np.float64]]  # a value, and its replicates

COLUMNS = {
    "factors": (
        "dataset",
        "evaluation",
        "regime",
        "panel",
        "training",
        "balance",
        "merging",
        "method",
        "metric",
        "value",
        "low",
        "high",
        "n_fits",
    ),
    "effects": (
        "dataset",
        "factor",
        "from",
        "to",
        "method",
        "metric",
        "difference",
        "low",
        "high",
        "n_comparisons",
        "n_fits",
    ),
}
MEANINGS = {
    "panel": "Gene panel that the test cells have; `-` for none.",
    "training": "Genes that train: those of the `panel`, or `all`.",
    "balance": "How the training cells are balanced, and the cap.",
    "merging": "Whether labels are merged by the study's rule (`merged`) or not (`none`).",
    "factor": "`training`, `balance`, `merging` or `confidence rule`.",
    "from": "Level that is compared with.",
    "to": "Level that is compared.",
    "effects.method": "Method; `all` for the mean over methods.",
    "difference": "Mean of the metric at `to` minus its mean at `from`.",
    "n_comparisons": "Number of comparisons that the difference is a mean of.",
    "effects.n_fits": "Number of finished fits at one level.",
}
LABEL_METRICS = ("macro_f1", "balanced_accuracy", "accuracy")
_BASE_RULE = "raw"
_BASE_LEVEL = {"training": "all", "balance": "none"}


def factors(context: TableContext) -> pd.DataFrame:
    """The factorial table: label metrics of every method at every combination of levels."""
    return context.once(_effects).factors()


def effects(context: TableContext) -> pd.DataFrame:
    """Differences between the levels of every factor, per method and over all methods."""
    return context.once(_effects).effects()


def _effects(context: TableContext) -> "Effects":
    merge = rollup_of(context.spec.merge, context.ontology)
    return Effects(context.fits, context.once(confidences_of), context.spec, merge)


@dataclass(frozen=True, kw_only=True)
class Change:
    """One metric of one method at two levels of a factor, all else equal: both sides, and the fits of one side."""

    dataset: str
    factor: str
    levels: tuple[str, str]
    metric: str
    method: str
    before: "Measured"
    after: "Measured"
    n_fits: int

    @property
    def difference(self) -> float:
        """After minus before."""
        return self.after[0] - self.before[0]

    @property
    def replicates(self) -> "NDArray[np.float64]":
        """Replicates of the difference, (replicates,)."""
        return self.after[1] - self.before[1]


class Effects:
    """The factors of a study.

    Parameters
    ----------
    fits, confidences
        All fits, and what they say of confidence rules.
    spec
        The study.
    merge
        The rule that merges labels, or None.
    """

    def __init__(self, fits: Fits, confidences: Confidences, spec: TablesSpec, merge: Rollup | None) -> None:
        self.fits, self.confidences, self.methods, self.merge = fits, confidences, spec.method_names, merge
        self.confidence = spec.statistics.confidence
        self.weights = stats.Weights(spec.statistics.replicates, self.confidence)
        self.levels = {
            split.place: {
                "panel": split.panel or "-",
                "training": split.training,
                "balance": split.balance,
                "other": split.other_settings,
            }
            for split in spec.splits
        }
        self._measured: dict[tuple[Evaluation, str, str, frozenset[stats.Key]], dict[str, Measured]] = {}

    def factors(self) -> pd.DataFrame:
        """Label metrics of every method at every combination of levels."""
        rows = []
        for evaluation, levels in self.levels.items():
            about = dict(zip(EVALUATION, evaluation, strict=True))
            about |= {factor: levels[factor] for factor in ("panel", "training", "balance")}
            for method in self.methods:
                n = len(self._fits(evaluation, method))
                for merging in ("none", "merged") if self.merge else ("none",):
                    for metric, (value, replicates) in self._values(evaluation, method, merging).items():
                        low, high = stats.interval(replicates, value, self.confidence)
                        named = {"merging": merging, "method": method, "metric": metric, "value": value}
                        rows.append(about | named | {"low": low, "high": high, "n_fits": n})
        return pd.DataFrame(rows, columns=COLUMNS["factors"])

    def effects(self) -> pd.DataFrame:
        """Differences between the levels of every factor, per method and over all methods."""
        of_effect: dict[tuple[str, str, tuple[str, str], str], list[Change]] = {}
        for one in self.changes():
            of_effect.setdefault((one.dataset, one.factor, one.levels, one.metric), []).append(one)
        rows = []
        for (dataset, factor, levels, metric), changes in of_effect.items():
            names = list(dict.fromkeys(one.method for one in changes))
            for method in ["all", *names] if len(names) > 1 else names:
                mine = [one for one in changes if method in ("all", one.method)]
                difference = float(np.mean([one.difference for one in mine]))
                replicates = np.mean([one.replicates for one in mine], axis=0)
                low, high = stats.interval(replicates, difference, self.confidence, (-1, 1))
                rows.append(
                    {
                        **{"dataset": dataset, "factor": factor, "from": levels[0], "to": levels[1], "method": method},
                        **{"metric": metric, "difference": difference, "low": low, "high": high},
                        **{"n_comparisons": len(mine), "n_fits": sum(one.n_fits for one in mine)},
                    }
                )
        return pd.DataFrame(rows, columns=COLUMNS["effects"])

    def changes(self) -> Iterator[Change]:
        """Every method at two levels of every factor."""
        yield from self._between_evaluations()
        yield from self._of_merging()
        yield from self._of_rules()

    def _between_evaluations(self) -> Iterator[Change]:
        """Evaluations of one dataset and regime that differ in one factor only; one side has the base level."""
        for first, levels in self.levels.items():
            for second, others in self.levels.items():
                differing = [factor for factor in levels if levels[factor] != others[factor]]
                if first[0] != second[0] or first[2] != second[2] or differing not in (["training"], ["balance"]):
                    continue
                factor = differing[0]
                if levels[factor] != _BASE_LEVEL[factor]:
                    continue
                for method in self.methods:
                    both = frozenset(self._fits(first, method)) & frozenset(self._fits(second, method))
                    before, after = (self._values(one, method, "none", both) for one in (first, second))
                    for metric in before:
                        yield Change(
                            dataset=first[0],
                            factor=factor,
                            levels=(levels[factor], others[factor]),
                            metric=metric,
                            method=method,
                            before=before[metric],
                            after=after[metric],
                            n_fits=len(both),
                        )

    def _of_merging(self) -> Iterator[Change]:
        """Every fit with labels as they are and merged, where there was anything to merge."""
        for evaluation in self.levels if self.merge else ():
            for method in self.methods:
                before, after = (self._values(evaluation, method, merging) for merging in ("none", "merged"))
                for metric in before:
                    change = Change(
                        dataset=evaluation[0],
                        factor="merging",
                        levels=("none", "merged"),
                        metric=metric,
                        method=method,
                        before=before[metric],
                        after=after[metric],
                        n_fits=len(self._fits(evaluation, method)),
                    )
                    if np.abs(change.replicates).max() > 1e-12:
                        yield change

    def _of_rules(self) -> Iterator[Change]:
        """Every confidence rule and the method's own confidence, on the same fits: a rule may be missing in some."""
        for evaluation in self.levels:
            for method in self.methods:
                fits = self.confidences.of(method, evaluation)
                for metric in RESAMPLED:
                    for rule in (rule for rule in RULES if rule != _BASE_RULE):
                        keys = [(name, "none", metric, "-") for name in (_BASE_RULE, rule)]
                        both = [fit for fit in fits if all(key in self.confidences.values[fit] for key in keys)]
                        base, other = (self.confidences.measured(both, key) for key in keys)
                        if base is None or base.replicates is None or other is None or other.replicates is None:
                            continue
                        yield Change(
                            dataset=evaluation[0],
                            factor="confidence rule",
                            levels=(_BASE_RULE, rule),
                            metric=metric,
                            method=method,
                            before=(base.value, base.replicates),
                            after=(other.value, other.replicates),
                            n_fits=other.n_fits,
                        )

    def _fits(self, evaluation: Sequence[str], method: str) -> dict[stats.Key, FitFiles]:
        """Finished fits by number of the split and seed: the same fold or family in evaluations of other names."""
        fits = self.fits.of(method, evaluation)
        number = {split: str(i) for i, split in enumerate(dict.fromkeys(fit.split for fit in fits))}
        return {(number[fit.split], fit.seed): fit for fit in fits if fit in self.fits.counts}

    def _values(
        self, evaluation: Evaluation, method: str, merging: str, keys: frozenset[stats.Key] | None = None
    ) -> "dict[str, Measured]":
        """Label metrics of a method in an evaluation, over some or all of its fits; empty where there are none."""
        fits = self._fits(evaluation, method)
        chosen = frozenset(fits) if keys is None else keys
        key = (evaluation, method, merging, chosen)
        if key not in self._measured:
            counts = {one: self._counts(fits[one], merging) for one in sorted(chosen)}
            self._measured[key] = {}
            if counts:
                metrics = [METRICS[name] for name in LABEL_METRICS]
                replicates = stats.replicates_of(counts, metrics, self.weights, evaluation[0])
                self._measured[key] = {m.name: (stats.estimate(counts, m), replicates[m.name]) for m in metrics}
        return self._measured[key]

    def _counts(self, fit: FitFiles, merging: str) -> UnitCounts:
        """Counts of a fit, with labels merged or as they are."""
        if merging == "none" or self.merge is None:
            return self.fits.counts[fit]
        table = fit.rows(fit.confusion)
        for column in ("true", "predicted"):
            table[column] = rolled(np.asarray(table[column], dtype=object), self.merge, self.fits.ontology)
        classes = sorted(set(table["true"]) | set(table["predicted"]))
        return UnitCounts.of_table(table, Classes(classes, self.fits.ontology))
