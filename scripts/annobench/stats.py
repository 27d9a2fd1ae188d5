"""Intervals, paired differences and ranking, from counts of (unit, true, predicted).

Intervals: a Bayesian bootstrap (Rubin 1981). Every unit (donor, study or cell) gets a random weight, the same for all
methods and seeds that share it, and so does every seed of a split; a metric is computed again from the weighted counts.
Unlike resampling with replacement no class ever vanishes from a replicate. Few units get a small-sample correction.

Tests: paired randomisation (Noreen 1989). Under the null hypothesis two methods may be swapped on every unit; the
p-value is the share of random swaps with a difference at least as large. Holm's correction over all pairs of a family.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

import numpy as np

from annobench.metrics.base import mean_over, ratio
from annobench.metrics.flat import macro_f1
from annobench.metrics.hierarchical import node_matrix, pair_counts
from annobench.metrics.ontology_aware import corrected
from annobench.ontology import UNKNOWN, Ontology

if TYPE_CHECKING:
    from numpy.typing import NDArray

HEADLINES = ("macro_f1", "balanced_accuracy", "accuracy", "hierarchical_f1", "ontology_macro_f1")


@dataclass
class UnitCounts:
    """Sufficient statistics of one fit for all headline metrics, per unit.

    values: (units, columns). The columns are, per class: hits, true, predicted, ontology-corrected hits and predicted;
    then the node counts |T and P|, |T|, |P| of the hierarchical F-measure. `members` marks real classes.
    """

    units: list[str]
    values: "NDArray[np.float64]"
    members: "NDArray[np.bool_]"


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


def headline(name: str, totals: "NDArray[Any]", members: "NDArray[np.bool_]") -> "NDArray[np.float64]":
    """A headline metric from summed columns of UnitCounts.values; (..., columns) -> (...)."""
    size = len(members)
    hits, true, predicted, ontology_hits, ontology_predicted = (
        totals[..., i * size : (i + 1) * size] for i in range(5)
    )
    # differences of large sums may leave dust where a class has no cells
    present = (true > 1e-9) & members
    if name == "macro_f1":
        return macro_f1(hits, true, predicted, present)
    if name == "ontology_macro_f1":
        return macro_f1(ontology_hits, true, ontology_predicted, present)
    if name == "balanced_accuracy":
        return mean_over(ratio(hits, true), present)
    if name == "accuracy":
        return ratio(hits.sum(axis=-1), true.sum(axis=-1))
    if name == "hierarchical_f1":
        both, of_truth, of_prediction = (totals[..., 5 * size + i] for i in range(3))
        return ratio(2 * both, of_truth + of_prediction)
    raise ValueError(f"'{name}' is not one of {', '.join(HEADLINES)}")


class Weights:
    """Random weights of units and seeds, drawn by name: whoever shares a unit shares its weight.

    Weights of mean 1 come from the gamma distribution. Among many units it is the exponential one; among few, its
    variance is raised so that the interval of a plain mean is as wide as Student's t makes it, at this `confidence`.
    """

    def __init__(self, replicates: int, confidence: float = 0.95, seed: int = 0) -> None:
        self.replicates, self.confidence, self.seed = replicates, confidence, seed
        self._drawn: dict[tuple[str, float], NDArray[np.float64]] = {}
        self._variances: dict[int, float] = {}

    def variance(self, units: int) -> float:
        """Variance of the weights among a number of units."""
        from scipy.stats import t

        if units not in self._variances:
            tail = (1 + self.confidence) / 2
            wider = t.ppf(tail, units - 1) / NormalDist().inv_cdf(tail)
            self._variances[units] = float((units + 1) / (units - 1) * wider**2)
        return self._variances[units]

    def of(self, names: Sequence[str]) -> "NDArray[np.float64]":
        """Weights, (replicates, names); a single name always weighs 1."""
        if len(names) == 1:
            return np.ones((self.replicates, 1))
        shape = round(1 / self.variance(len(names)), 6)
        return np.column_stack([self._one(name, shape) for name in names])

    def swaps(self, names: Sequence[str]) -> "NDArray[np.float64]":
        """0 or 1 with equal chance, (replicates, names)."""
        return (np.column_stack([self._one(f"swap:{name}", 1.0) for name in names]) > np.log(2)).astype(float)

    def _one(self, name: str, shape: float) -> "NDArray[np.float64]":
        if (name, shape) not in self._drawn:
            rng = np.random.default_rng([self.seed, *name.encode()])
            self._drawn[name, shape] = rng.standard_gamma(shape, self.replicates)
        return self._drawn[name, shape]


Key = tuple[str, int]  # split, seed
Counts = Mapping[Key, UnitCounts]  # of one method on one dataset


def estimate(counts: Counts, metric: str) -> float:
    """Mean over splits of the mean over their seeds."""
    return float(np.mean(list(_by_split(counts, lambda c: headline(metric, c.values.sum(axis=0), c.members)).values())))


def _by_split(counts: Counts, value: Any) -> dict[str, Any]:
    found: dict[str, list[Any]] = {}
    for (split, _), one in counts.items():
        found.setdefault(split, []).append(value(one))
    return {split: np.mean(values, axis=0) for split, values in found.items()}


def replicates(counts: Counts, metric: str, weights: Weights, dataset: str) -> "NDArray[np.float64]":
    """Bootstrap replicates of `estimate`, (replicates,)."""
    total = np.zeros(weights.replicates)
    splits = {split for split, _ in counts}
    for split in sorted(splits):
        seeds = sorted(seed for s, seed in counts if s == split)
        of_seed = weights.of([f"seed:{dataset}/{split}/{seed}" for seed in seeds])
        for i, seed in enumerate(seeds):
            one = counts[split, seed]
            totals = weights.of([f"unit:{dataset}/{unit}" for unit in one.units]) @ one.values
            total += headline(metric, totals, one.members) * of_seed[:, i] / of_seed.sum(axis=1)
    return total / len(splits)


def interval(values: "NDArray[np.float64]", observed: float, confidence: float) -> tuple[float, float]:
    """Bias-corrected percentile interval (Efron 1987) of replicates around what was observed.

    Macro F1 of randomly weighted cells lies below that of the cells themselves; plain percentiles would leave the
    observed value near the upper end.
    """
    normal = NormalDist()
    below = ((values < observed).sum() + 0.5 * (values == observed).sum()) / len(values)
    shift = 2 * normal.inv_cdf(min(max(below, 1 / len(values)), 1 - 1 / len(values)))
    ends = [normal.cdf(shift + normal.inv_cdf(tail)) for tail in ((1 - confidence) / 2, (1 + confidence) / 2)]
    low, high = np.quantile(values, ends)
    return float(low), float(high)


def swap_test(first: Counts, second: Counts, metric: str, weights: Weights, dataset: str) -> float:
    """p-value of the paired randomisation test on the fits that both have; two-sided, never 0."""
    keys = sorted(set(first) & set(second))
    splits = sorted({split for split, _ in keys})
    observed = 0.0
    swapped = np.zeros(weights.replicates)
    for split, seed in keys:
        a, b = first[split, seed], second[split, seed]
        if a.units != b.units or a.values.shape != b.values.shape:
            raise ValueError(
                f"{dataset}/{split}: two fits of one split must be counted over the same units and classes"
            )
        share = 1 / len(splits) / sum(s == split for s, _ in keys)
        total_a, total_b = a.values.sum(axis=0), b.values.sum(axis=0)
        moved = weights.swaps([f"unit:{dataset}/{unit}" for unit in a.units]) @ (b.values - a.values)
        observed += share * float(headline(metric, total_a, a.members) - headline(metric, total_b, a.members))
        swapped += share * (headline(metric, total_a + moved, a.members) - headline(metric, total_b - moved, a.members))
    extreme = int((np.abs(swapped) >= abs(observed) - 1e-12).sum())
    return (1 + extreme) / (1 + weights.replicates)


def holm(p_values: Sequence[float]) -> "NDArray[np.float64]":
    """Holm's step-down correction."""
    from statsmodels.stats.multitest import multipletests

    return multipletests(p_values, method="holm")[1] if len(p_values) else np.array([])
