"""Intervals, paired differences and ranking, from counts of (unit, true, predicted).

Intervals: a Bayesian bootstrap (Rubin 1981). Every unit (donor, study or cell) gets a random weight, the same for all
methods and seeds that share it; a metric is computed again from the weighted counts. Unlike resampling with replacement
no class ever vanishes from a replicate. A bootstrap of few units is too narrow, and cannot leave their range: the
deviations of its replicates are stretched, so that the interval of a plain mean is as wide as Student's t makes it.
The seeds of a split add their own spread.

Tests: paired randomisation (Noreen 1989). Under the null hypothesis two methods may be swapped on every unit; the
p-value is the share of random swaps with a difference at least as large. Holm's correction over all pairs of a family.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from math import ceil
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

import numpy as np

from annobench.core.counts import macro_f1, mean_over, ratio
from annobench.ontology import UNKNOWN, Ontology
from annobench.score.metrics.hierarchical import node_matrix, pair_counts
from annobench.score.metrics.ontology_aware import corrected

if TYPE_CHECKING:
    from numpy.typing import NDArray

HEADLINES = ("macro_f1", "balanced_accuracy", "accuracy", "hierarchical_f1_micro", "ontology_macro_f1")


@dataclass
class UnitCounts:
    """Sufficient statistics of one fit for all headline metrics, per unit.

    values: (units, columns). The columns are, per class: hits, true, predicted, ontology-corrected hits and predicted;
    then the node counts |T and P|, |T|, |P| of the hierarchical F-measure. `members` marks real classes.
    """

    units: list[str]
    values: "NDArray[np.float64]"
    members: "NDArray[np.bool_]"

    @property
    def present(self) -> "NDArray[np.bool_]":
        """Real classes that have cells among the true labels."""
        size = len(self.members)
        return (self.values[:, size : 2 * size].sum(axis=0) > 0) & self.members

    def metric(self, name: str, weights: "NDArray[np.float64] | None" = None) -> "NDArray[np.float64]":
        """A headline metric; with `weights` (replicates, units) one value per replicate."""
        totals = self.values.sum(axis=0) if weights is None else weights @ self.values
        return headline(name, totals, self.present)


def unit_counts(pairs: Mapping[str, Any], classes: Sequence[str], ontology: Ontology) -> UnitCounts:
    """From the table of pairs that scoring writes (unit, true, predicted, n).

    `classes` holds every label of the table; fits that are to be compared need the same list.
    """
    true, predicted = pairs["true"], pairs["predicted"]
    at = {label: i for i, label in enumerate(classes)}
    t, p = np.array([at[v] for v in true]), np.array([at[v] for v in predicted])
    names, unit = np.unique(np.asarray(pairs["unit"]).astype(str), return_inverse=True)
    weight = np.asarray(pairs["n"], dtype=float)
    size = len(classes)
    replaced = corrected(t, p, ontology.reachability(classes))
    nodes, _ = node_matrix(np.array(classes, dtype=object), ontology)
    shared, closure = pair_counts(nodes)

    def count(code: Any, mask: Any = True) -> "NDArray[np.float64]":
        table = np.zeros((len(names), size))
        np.add.at(table, (unit, code), weight * mask)
        return table

    hierarchical = np.zeros((len(names), 3))
    for column, amount in enumerate((shared[t, p], closure[t], closure[p])):
        np.add.at(hierarchical[:, column], unit, weight * amount)
    blocks = [count(t, t == p), count(t), count(p), count(t, replaced == t), count(replaced), hierarchical]
    return UnitCounts(list(names), np.hstack(blocks), np.array([c != UNKNOWN for c in classes]))


def headline(name: str, totals: "NDArray[Any]", present: "NDArray[np.bool_]") -> "NDArray[np.float64]":
    """A headline metric from summed columns of UnitCounts.values; (..., columns) -> (...).

    `present` marks the classes that have cells (UnitCounts.present); the others are in no mean.
    """
    size = len(present)
    hits, true, predicted, ontology_hits, ontology_predicted = (
        totals[..., i * size : (i + 1) * size] for i in range(5)
    )
    if name == "macro_f1":
        return macro_f1(hits, true, predicted, present)
    if name == "ontology_macro_f1":
        return macro_f1(ontology_hits, true, ontology_predicted, present)
    if name == "balanced_accuracy":
        return mean_over(ratio(hits, true), present)
    if name == "accuracy":
        return ratio(hits.sum(axis=-1), true.sum(axis=-1))
    if name == "hierarchical_f1_micro":
        both, of_truth, of_prediction = (totals[..., 5 * size + i] for i in range(3))
        return ratio(2 * both, of_truth + of_prediction)
    raise ValueError(f"'{name}' is not one of {', '.join(HEADLINES)}")


_SETS = 4  # sets of units whose weights are kept side by side


class Weights:
    """Random weights of units, drawn by name: whoever shares a unit shares its weight."""

    def __init__(self, replicates: int, confidence: float = 0.95, seed: int = 0) -> None:
        self.replicates, self.confidence, self.seed = replicates, confidence, seed
        self._drawn: dict[str, NDArray[np.float64]] = {}
        self._together: dict[tuple[str, ...], NDArray[np.float64]] = {}
        self._swaps: dict[tuple[str, int], NDArray[np.bool_]] = {}

    def of(self, names: Sequence[str]) -> "NDArray[np.float64]":
        """Exponential weights of mean 1, (replicates, names); a single name always weighs 1."""
        if len(names) == 1:
            return np.ones((self.replicates, 1))
        key = tuple(names)
        if key not in self._together:  # whole sets come again for every method and metric
            for name in names:
                if name not in self._drawn:
                    self._drawn[name] = self._rng(name).standard_exponential(self.replicates)
            while len(self._together) >= _SETS:
                self._together.pop(next(iter(self._together)))
            self._together[key] = np.column_stack([self._drawn[name] for name in names])
        return self._together[key]

    def swaps(self, names: Sequence[str], number: int) -> "NDArray[np.float64]":
        """0 or 1 with equal chance, (number, names)."""
        for name in names:
            if (name, number) not in self._swaps:
                self._swaps[name, number] = self._rng(f"swap:{name}").random(number) < 0.5
        return np.column_stack([self._swaps[name, number] for name in names]).astype(float)

    def _rng(self, name: str) -> "np.random.Generator":
        return np.random.default_rng([self.seed, *name.encode()])


def spread(n: int) -> float:
    """How much too narrow the Bayesian bootstrap of the mean of n values is: standard error over its deviation."""
    return float(np.sqrt((n + 1) / (n - 1))) if n > 1 else 1.0


@cache
def stretch(n: int, confidence: float) -> float:
    """`spread`, and the step from the normal distribution to Student's t with n - 1 degrees of freedom."""
    from scipy.stats import t

    tail = (1 + confidence) / 2
    return spread(n) * float(t.ppf(tail, n - 1)) / NormalDist().inv_cdf(tail) if n > 1 else 1.0


Key = tuple[str, int]  # split, seed
Counts = Mapping[Key, UnitCounts]  # of one method on one dataset


def estimate(counts: Counts, metric: str) -> float:
    """Mean over splits of the mean over their seeds."""
    return float(np.mean([np.mean([one.metric(metric) for one in of_seed]) for of_seed in _by_split(counts).values()]))


def _by_split(counts: Counts) -> dict[str, list[UnitCounts]]:
    found: dict[str, list[UnitCounts]] = {}
    for split, seed in sorted(counts):
        found.setdefault(split, []).append(counts[split, seed])
    return found


def replicates(counts: Counts, metric: str, weights: Weights, dataset: str) -> "NDArray[np.float64]":
    """Replicates of `estimate`, (replicates,): around it, as far as units and seeds make it vary."""
    return replicates_of(counts, [metric], weights, dataset)[metric]


def replicates_of(
    counts: Counts, metrics: Sequence[str], weights: Weights, dataset: str
) -> "dict[str, NDArray[np.float64]]":
    """Replicates of several metrics; the weighted counts of a fit are made once for all of them."""
    total = {metric: np.zeros(weights.replicates) for metric in metrics}
    by_split = _by_split(counts)
    for split, of_seed in by_split.items():
        observed = {metric: np.array([one.metric(metric) for one in of_seed]) for metric in metrics}
        for number, one in enumerate(of_seed):
            drawn = weights.of([f"unit:{dataset}/{unit}" for unit in one.units]) @ one.values
            widened = stretch(len(one.units), weights.confidence) / len(of_seed)
            for metric in metrics:
                total[metric] += (headline(metric, drawn, one.present) - observed[metric][number]) * widened
        of_names = weights.of([f"seed:{dataset}/{split}/{seed}" for s, seed in sorted(counts) if s == split])
        for metric, values in observed.items():
            mean = of_names @ values / of_names.sum(axis=1)
            total[metric] += values.mean() + (mean - values.mean()) * spread(len(values))
    return {metric: values / len(by_split) for metric, values in total.items()}


def interval(
    values: "NDArray[np.float64]", observed: float, confidence: float, bounds: tuple[float, float] = (0, 1)
) -> tuple[float, float]:
    """Bias-corrected percentile interval (Efron 1987) of replicates around what was observed, within `bounds`.

    Macro F1 of randomly weighted cells lies below that of the cells themselves; plain percentiles would leave the
    observed value near the upper end. Raises ValueError where a replicate is not a number.
    """
    if not np.isfinite(values).all():
        raise ValueError(f"{int((~np.isfinite(values)).sum())} of {len(values)} replicates are not numbers")
    normal = NormalDist()
    below = ((values < observed).sum() + 0.5 * (values == observed).sum()) / len(values)
    shift = 2 * normal.inv_cdf(min(max(below, 1 / len(values)), 1 - 1 / len(values)))
    ends = [normal.cdf(shift + normal.inv_cdf(tail)) for tail in ((1 - confidence) / 2, (1 + confidence) / 2)]
    low, high = np.clip(np.quantile(values, ends), *bounds)
    return float(low), float(high)


def swaps_needed(pairs: int, confidence: float) -> int:
    """Random swaps that let a p-value be five times smaller than what Holm asks of the smallest of `pairs`."""
    return ceil(5 * pairs / (1 - confidence))


def swap_test(first: Counts, second: Counts, metric: str, weights: Weights, dataset: str, number: int) -> float:
    """p-value of the paired randomisation test with `number` swaps, on the fits that both have; two-sided, never 0."""
    keys = sorted(set(first) & set(second))
    splits = [split for split, _ in keys]
    observed = 0.0
    swapped = np.zeros(number)
    for split, seed in keys:
        a, b = first[split, seed], second[split, seed]
        if a.units != b.units or a.values.shape != b.values.shape:
            raise ValueError(
                f"{dataset}/{split}: two fits of one split must be counted over the same units and classes"
            )
        share = 1 / len(set(splits)) / splits.count(split)
        change = b.values - a.values
        differing = np.flatnonzero(change.any(axis=1))  # a swap of the others changes nothing
        observed += share * float(a.metric(metric) - b.metric(metric))
        if differing.size:
            moved = weights.swaps([f"unit:{dataset}/{a.units[i]}" for i in differing], number) @ change[differing]
            total_a, total_b = a.values.sum(axis=0), b.values.sum(axis=0)
            swapped += share * (
                headline(metric, total_a + moved, a.present) - headline(metric, total_b - moved, a.present)
            )
    extreme = int((np.abs(swapped) >= abs(observed) - 1e-12).sum())
    return (1 + extreme) / (1 + number)


_SAME = 1e-12  # runs whose differences vary by less do not vary: what is left is rounding


def paired_t(differences: "NDArray[np.float64]") -> "tuple[NDArray[np.intp], NDArray[np.float64], NDArray[np.float64]]":
    """Paired t-test (two-sided) of every row, over runs (columns); NaN where a run has no value.

    Returns the number of runs, t and p, (rows,) each. With fewer than two runs t and p are NaN. Where all runs are
    identical t is 0 and p is 1. Where they differ by the same amount, t is infinite and p is NaN: without any spread
    nothing says how far chance could move the difference.
    """
    from scipy.special import stdtr

    known = np.isfinite(differences)
    n = known.sum(axis=1)
    mean = np.divide(np.where(known, differences, 0).sum(axis=1), n, out=np.full(len(n), np.nan), where=n > 0)
    squares = np.where(known, differences - mean[:, None], 0) ** 2
    deviation = np.sqrt(np.divide(squares.sum(axis=1), n - 1, out=np.full(len(n), np.nan), where=n > 1))
    same = deviation <= _SAME
    t = np.divide(mean * np.sqrt(n), deviation, out=np.full(len(n), np.nan), where=~same & (n > 1))
    p = 2 * stdtr(np.maximum(n - 1, 1), -np.abs(t))
    t[same] = np.copysign(np.inf, mean[same])
    nothing = same & (np.abs(mean) <= _SAME)
    t[nothing], p[nothing] = 0, 1
    return n, t, p


def holm(p_values: Sequence[float]) -> "NDArray[np.float64]":
    """Holm's step-down correction (Holm 1979); statsmodels collects garbage in every call, a fifth of a second here."""
    p = np.asarray(p_values, dtype=float)
    order = np.argsort(p, kind="stable")
    found = np.empty(len(p))
    found[order] = np.minimum(np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)), 1)
    return found
