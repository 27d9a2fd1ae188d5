"""Factors: what panel training, balancing, the confidence rule, merging of labels, and every part of a method change.

A factor of the evaluations (training, balance) is compared between evaluations of one dataset that differ in nothing
else; confidence rules and merging are compared within every fit; factors of methods (see `annobench.config.factors`)
between two methods in one evaluation. Differences are means over everything that the two levels have in common (other
factors, methods, splits, seeds), with intervals from the same random weights of the test cells or donors on both sides.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from annobench.config.factors import Level, pairs
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
        "evaluation",
        "factor",
        "from",
        "to",
        "from_label",
        "to_label",
        "base",
        "method",
        "setting",
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
    "effects.evaluation": (
        "Evaluation in which two methods are compared; `all` for the mean over those of the dataset, and for the other "
        "factors."
    ),
    "factor": (
        "`training`, `balance`, `merging`, `confidence rule`; of methods the `backbone`, or a part of the "
        "implementation, such as `strategy` or `loss`."
    ),
    "from": (
        "Level that is compared with. Of a factor of methods that of the first method of the study, or where a setting "
        "lacks it the first that this setting has."
    ),
    "to": "Level that is compared; a part of a method with the options that are not its defaults.",
    "from_label": "Name of the level `from`.",
    "to_label": "Name of the level `to`.",
    "base": "Method at the level `from`; the same as `method` where the factor is none of methods.",
    "effects.method": "Method at the level `to`; `all` for the mean over methods, or over pairs of them.",
    "setting": "What the two methods share in the factors of methods that change within the study; else empty.",
    "difference": "Mean of the metric at `to` minus its mean at `from`.",
    "n_comparisons": "Number of comparisons that the difference is a mean of.",
    "effects.n_fits": "Number of finished fits at one level.",
}
LABEL_METRICS = ("macro_f1", "balanced_accuracy", "accuracy")
_BASE_RULE = "raw"
_BASE_LEVEL = {"training": "all", "balance": "none"}
_LABELS = {"all": "all genes", "panel": "panel genes", "zscore": "z-score"}


def factors(context: TableContext) -> pd.DataFrame:
    """The factorial table: label metrics of every method at every combination of levels."""
    return context.once(_effects).factors()


def effects(context: TableContext) -> pd.DataFrame:
    """Differences between the levels of every factor, per method or pair of methods and over all of them."""
    return context.once(_effects).effects()


def _effects(context: TableContext) -> "Effects":
    merge = rollup_of(context.spec.merge, context.ontology)
    return Effects(context.fits, context.once(confidences_of), context.spec, merge)


@dataclass(frozen=True, kw_only=True)
class Change:
    """One metric at two levels of a factor, all else equal.

    Attributes
    ----------
    dataset, evaluation
        Where; `all` for a factor of evaluations.
    factor, levels
        What changes, from and to.
    metric
        What is measured.
    methods
        The methods on both sides.
    setting
        What they share in other factors of methods.
    before, after
        Both sides.
    n_fits
        The fits of one side.
    """

    dataset: str
    evaluation: str = "all"
    factor: str
    levels: tuple[Level, Level]
    metric: str
    methods: tuple[str, str]
    setting: str = ""
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
        self.pairs = list(pairs(spec.factors))
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
        """Differences between the levels of every factor, per method or pair of methods and over all of them."""
        of_effect: dict[tuple[str, str, str, tuple[Level, Level], str], list[Change]] = {}
        for one in self.changes():
            for evaluation in dict.fromkeys(["all", one.evaluation]):
                key = (one.dataset, evaluation, one.factor, one.levels, one.metric)
                of_effect.setdefault(key, []).append(one)
        rows = []
        for (dataset, evaluation, factor, levels, metric), changes in of_effect.items():
            places = {one.evaluation for one in changes}
            if evaluation == "all" and places != {"all"} and len(places) == 1:
                continue  # the mean of one evaluation adds nothing
            about = {"dataset": dataset, "evaluation": evaluation, "factor": factor}
            about |= {"from": levels[0].name, "to": levels[1].name}
            about |= {"from_label": levels[0].label, "to_label": levels[1].label}
            sides = dict.fromkeys(one.methods for one in changes)
            for methods in [None, *sides] if len(sides) > 1 else sides:
                mine = [one for one in changes if methods in (None, one.methods)]
                rows.append(about | {"metric": metric} | self._mean(mine, named=methods is not None))
        return pd.DataFrame(rows, columns=COLUMNS["effects"])

    def _mean(self, changes: Sequence[Change], *, named: bool) -> dict[str, object]:
        """Mean of some changes: the columns that differ between rows of one effect."""
        difference = float(np.mean([one.difference for one in changes]))
        replicates = np.mean([one.replicates for one in changes], axis=0)
        low, high = stats.interval(replicates, difference, self.confidence, (-1, 1))
        base, method = changes[0].methods if named else ("all", "all")
        return {
            **{"base": base, "method": method, "setting": changes[0].setting if named else ""},
            **{"difference": difference, "low": low, "high": high},
            **{"n_comparisons": len(changes), "n_fits": sum(one.n_fits for one in changes)},
        }

    def changes(self) -> Iterator[Change]:
        """Every method, or pair of methods, at two levels of every factor."""
        yield from self._between_evaluations()
        yield from self._between_methods()
        yield from self._of_merging()
        yield from self._of_rules()

    def _between_methods(self) -> Iterator[Change]:
        """Two methods that differ in one factor only, in every evaluation that runs both, on the fits of both."""
        for evaluation in self.levels:
            fits = {method: frozenset(self._fits(evaluation, method)) for method in self.methods}
            for pair in self.pairs:
                both = frozenset.intersection(*(fits[method] for method in pair.methods))
                before, after = (self._values(evaluation, method, "none", both) for method in pair.methods)
                for metric in before:
                    yield Change(
                        dataset=evaluation[0],
                        evaluation=evaluation[1],
                        factor=pair.factor,
                        levels=pair.levels,
                        metric=metric,
                        methods=pair.methods,
                        setting=pair.setting,
                        before=before[metric],
                        after=after[metric],
                        n_fits=len(both),
                    )

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
                            levels=_named(levels[factor], others[factor]),
                            metric=metric,
                            methods=(method, method),
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
                        levels=_named("none", "merged"),
                        metric=metric,
                        methods=(method, method),
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
                            levels=_named(_BASE_RULE, rule),
                            metric=metric,
                            methods=(method, method),
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


def _named(first: str, second: str) -> tuple[Level, Level]:
    """Two levels of a factor of evaluations."""
    return Level(first, _LABELS.get(first, first)), Level(second, _LABELS.get(second, second))
