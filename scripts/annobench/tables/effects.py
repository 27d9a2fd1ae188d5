"""Factors: what panel training, balancing, the confidence rule and merging of labels each change, all else equal.

A factor of the evaluations (training, balance) is compared between evaluations of one dataset that differ in nothing
else; confidence rules and merging are compared within every fit. Differences are means over everything that the two
levels have in common (other factors, methods, splits, seeds), with intervals from the same random weights of the test
cells or donors on both sides.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from annobench.ontology.rollup import Rollup
from annobench.score import statistics as stats
from annobench.score.confidence import RULES
from annobench.score.metrics.confidence_rules import RESAMPLED
from annobench.score.truths import rolled
from annobench.tables.confidence import Confidences
from annobench.tables.shared.fits import EVALUATION, FitFiles, Fits

LABEL_METRICS = ("macro_f1", "balanced_accuracy", "accuracy")
FACTORS = [*EVALUATION, "panel", "training", "balance", "merging", "method", "metric", "value", "low", "high", "n_fits"]
EFFECTS = [
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
]
BASE_RULE = "raw"
_LEVELS = ("genes", "balance", "fold", "fraction", "held_out", "rule", "dataset", "regime")  # not what else differs


def balance_name(policy: Mapping[str, Any]) -> str:
    """none, or how the cap is shared and what it is; the published inexact rule says so."""
    if policy["policy"] == "none":
        return "none"
    name = str(policy.get("share", "proportional"))
    name = name if policy["policy"] == "cap" else f"{policy['policy']} {name}"
    return f"{name} {policy['max_cells']}{', target' if policy.get('target_proportions') else ''}"


class Effects:
    """The factors of a study.

    `splits` lists dataset, evaluation, regime and spec; `methods` are those to compare; `merge` is the rule that merges
    labels, or None.
    """

    def __init__(
        self,
        fits: Fits,
        confidences: Confidences,
        splits: Sequence[Mapping[str, Any]],
        methods: Sequence[str],
        merge: Rollup | None,
        statistics: Mapping[str, Any],
    ) -> None:
        self.fits, self.confidences, self.methods, self.merge = fits, confidences, methods, merge
        self.confidence = statistics["confidence"]
        self.weights = stats.Weights(statistics["replicates"], self.confidence)
        self.settings = {
            tuple(split[key] for key in EVALUATION): {
                "panel": split["spec"]["genes"]["panel"] or "-",
                "training": split["spec"]["genes"]["training"],
                "balance": balance_name(split["spec"]["balance"]),
                "rest": str({k: v for k, v in sorted(split["spec"].items()) if k not in _LEVELS}),
            }
            for split in splits
        }
        self._measured: dict[tuple[Any, ...], dict[str, tuple[float, Any]]] = {}

    def _keys(self, evaluation: Sequence[str], method: str) -> dict[stats.Key, FitFiles]:
        """Finished fits by number of the split and seed: the same fold or family in evaluations of other names."""
        fits = self.fits.of(method, tuple(evaluation))
        number = {split: str(i) for i, split in enumerate(dict.fromkeys(fit.split for fit in fits))}
        return {(number[fit.split], fit.seed): fit for fit in fits if fit in self.fits.counts}

    def _value(
        self,
        evaluation: Sequence[str],
        method: str,
        merging: str,
        metric: str,
        keys: frozenset[stats.Key] | None = None,
    ) -> "tuple[float, Any] | None":
        """Estimate and replicates of a label metric of a method in an evaluation, over some or all of its fits."""
        fits = self._keys(evaluation, method)
        chosen = frozenset(fits) if keys is None else keys
        key = (*evaluation, method, merging, chosen)
        if key not in self._measured:
            counts = {one: self._counts(fits[one], merging) for one in sorted(chosen)}
            self._measured[key] = {}
            if counts:
                drawn = stats.replicates_of(counts, LABEL_METRICS, self.weights, evaluation[0])
                self._measured[key] = {m: (stats.estimate(counts, m), drawn[m]) for m in LABEL_METRICS}
        return self._measured[key].get(metric)

    def _counts(self, fit: FitFiles, merging: str) -> stats.UnitCounts:
        if merging == "none" or self.merge is None:
            return self.fits.counts[fit]
        table: dict[str, Any] = fit.rows(fit.confusion)
        for column in ("true", "predicted"):
            table[column] = rolled(table[column], self.merge, self.fits.ontology)
        classes = sorted(set(table["true"]) | set(table["predicted"]))
        return stats.unit_counts(table, classes, self.fits.ontology)

    def _mergings(self) -> list[str]:
        return ["none", "merged"] if self.merge else ["none"]

    def factors(self) -> pd.DataFrame:
        """The factorial table: label metrics of every method at every combination of levels."""
        rows = []
        for evaluation, levels in self.settings.items():
            about = dict(zip(EVALUATION, evaluation, strict=True)) | {
                k: levels[k] for k in ("panel", "training", "balance")
            }
            for method in self.methods:
                n = len(self._keys(evaluation, method))
                for merging in self._mergings():
                    for metric in LABEL_METRICS:
                        found = self._value(evaluation, method, merging, metric)
                        if found:
                            low, high = stats.interval(found[1], found[0], self.confidence)
                            named = {"merging": merging, "method": method, "metric": metric, "value": found[0]}
                            rows.append(about | named | {"low": low, "high": high, "n_fits": n})
        return pd.DataFrame(rows, columns=FACTORS)

    def effects(self) -> pd.DataFrame:
        """Differences between the levels of every factor, per method and over all methods."""
        found: dict[tuple[str, ...], list[tuple[str, float, Any, int]]] = {}
        for dataset, factor, pair, metric, method, difference, drawn, n in self._comparisons():
            found.setdefault((dataset, factor, *pair, metric), []).append((method, difference, drawn, n))
        rows = []
        for (dataset, factor, before, after, metric), comparisons in found.items():
            names = list(dict.fromkeys(method for method, *_ in comparisons))
            for method in ["all", *names] if len(names) > 1 else names:
                mine = [one for one in comparisons if method in ("all", one[0])]
                value = float(np.mean([one[1] for one in mine]))
                low, high = stats.interval(np.mean([one[2] for one in mine], axis=0), value, self.confidence, (-1, 1))
                rows.append(
                    {
                        **{"dataset": dataset, "factor": factor, "from": before, "to": after, "method": method},
                        **{"metric": metric, "difference": value, "low": low, "high": high},
                        **{"n_comparisons": len(mine), "n_fits": sum(one[3] for one in mine)},
                    }
                )
        return pd.DataFrame(rows, columns=EFFECTS)

    def _comparisons(self) -> Iterator[tuple[Any, ...]]:
        """dataset, factor, (from, to), metric, method, difference, its replicates, fits of one side."""
        yield from self._between_evaluations()
        yield from self._merging()
        yield from self._rules()

    def _between_evaluations(self) -> Iterator[tuple[Any, ...]]:
        base = {"training": "all", "balance": "none"}
        for first, levels in self.settings.items():
            for second, others in self.settings.items():
                differing = [key for key in levels if levels[key] != others[key]]
                if first[0] != second[0] or first[2] != second[2] or differing not in (["training"], ["balance"]):
                    continue
                factor = differing[0]
                if levels[factor] != base[factor]:
                    continue
                for method in self.methods:
                    both = frozenset(self._keys(first, method)) & frozenset(self._keys(second, method))
                    for metric in LABEL_METRICS:
                        a, b = (self._value(one, method, "none", metric, both) for one in (first, second))
                        if a and b:
                            yield (
                                first[0], factor, (levels[factor], others[factor]), metric, method,
                                b[0] - a[0], b[1] - a[1], len(both),
                            )  # fmt: skip

    def _merging(self) -> Iterator[tuple[Any, ...]]:
        for evaluation in self.settings if self.merge else ():
            for method in self.methods:
                for metric in LABEL_METRICS:
                    a, b = (self._value(evaluation, method, merging, metric) for merging in ("none", "merged"))
                    if a and b and np.abs(b[1] - a[1]).max() > 1e-12:  # else there was nothing to merge
                        n = len(self._keys(evaluation, method))
                        yield evaluation[0], "merging", ("none", "merged"), metric, method, b[0] - a[0], b[1] - a[1], n

    def _rules(self) -> Iterator[tuple[Any, ...]]:
        for evaluation in self.settings:
            for method in self.methods:
                fits = self.confidences.of(method, evaluation)
                for metric in RESAMPLED:
                    for rule in (rule for rule in RULES if rule != BASE_RULE):
                        keys = [(name, "none", metric, "-") for name in (BASE_RULE, rule)]
                        # the same fits on both sides: a rule may be missing in some of them
                        both = [fit for fit in fits if all(key in self.confidences.values[fit] for key in keys)]
                        base, other = (self.confidences.measured(both, key) for key in keys)
                        if base is None or base.replicates is None or other is None or other.replicates is None:
                            continue
                        yield (
                            evaluation[0], "confidence rule", (BASE_RULE, rule), metric, method,
                            other.value - base.value, other.replicates - base.replicates, other.n_fits,
                        )  # fmt: skip
