"""Intervals, paired differences and tests of metrics.

Intervals: a Bayesian bootstrap (Rubin 1981). Every unit (donor, study or cell) gets a random weight, the same for all
methods and seeds that share it; a metric is computed again from the weighted counts or sums. Unlike resampling with
replacement no class ever vanishes from a replicate. A bootstrap of few units is too narrow, and cannot leave their
range: the deviations of its replicates are stretched, so that the interval of a plain mean is as wide as Student's t
makes it. Cells are resampled by class, because a class may have few of them (`annobench.score.small_classes`). The
seeds of a split add their own spread. A metric that is known by its value alone is resampled over the
seeds of each split, or over splits that have one seed each.

Tests: paired randomisation (Noreen 1989). Under the null hypothesis two methods may be swapped on every unit; the
p-value is the share of random swaps with a difference at least as large. Holm's correction over all pairs of a family.
"""

from collections.abc import Mapping, Sequence
from functools import cache
from math import ceil
from statistics import NormalDist
from typing import TYPE_CHECKING

import numpy as np

from annobench.score.counts import UnitCounts
from annobench.score.metric import Metric
from annobench.score.samples import FitValue, Sample, evaluate
from annobench.score.small_classes import ByClass, SharedWeights

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

_BIAS = 0.5  # share of the bias of replicates that the value itself has
_SETS = 4  # sets of units whose weights are kept side by side


class Weights:
    """Random weights of units, drawn by name: whoever shares a unit shares its weight.

    Parameters
    ----------
    replicates
        Number of replicates of the bootstrap.
    level
        Coverage of the intervals that are made of them.
    seed
        Of all random numbers.
    """

    def __init__(self, replicates: int, level: float = 0.95, seed: int = 0) -> None:
        self.replicates, self.level, self.seed = replicates, level, seed
        self._drawn: dict[str, NDArray[np.float64]] = {}
        self._together: dict[tuple[str, ...], NDArray[np.float64]] = {}
        self._swaps: dict[int, NDArray[np.bool_]] = {}  # number -> a row for every name, in some order:
        self._places: dict[int, dict[str, int]] = {}
        self._uniform: dict[str, NDArray[np.float64]] = {}
        self.of_small_classes = SharedWeights()

    def of(self, names: Sequence[str]) -> "NDArray[np.float64]":
        """Exponential weights of mean 1, (replicates, names); a single name always weighs 1."""
        if len(names) == 1:
            return np.ones((self.replicates, 1))
        key = tuple(names)
        if key not in self._together:  # whole sets come again for every method and metric
            while len(self._together) >= _SETS:
                self._together.pop(next(iter(self._together)))
            self._together[key] = self.exponentials(names)
        return self._together[key]

    def exponentials(self, names: Sequence[str]) -> "NDArray[np.float64]":
        """Exponential weights of mean 1, (replicates, names)."""
        for name in names:
            if name not in self._drawn:
                self._drawn[name] = self._rng(name).standard_exponential(self.replicates)
        return np.column_stack([np.empty((self.replicates, 0)), *(self._drawn[name] for name in names)])

    def uniforms(self, names: Sequence[str]) -> "NDArray[np.float64]":
        """Numbers between 0 and 1, (replicates, names)."""
        for name in names:
            if name not in self._uniform:
                self._uniform[name] = self._rng(f"uniform:{name}").random(self.replicates)
        return np.column_stack([np.empty((self.replicates, 0)), *(self._uniform[name] for name in names)])

    def swaps(self, names: Sequence[str], number: int) -> "NDArray[np.bool_]":
        """True or false with equal chance, (number, names)."""
        places = self._places.setdefault(number, {})
        new = [name for name in dict.fromkeys(names) if name not in places]
        kept = self._swaps.get(number, np.empty((0, number), dtype=bool))
        if len(places) + len(new) > len(kept):  # with room for more, so that few are copied often
            self._swaps[number] = np.empty((2 * len(kept) + len(new), number), dtype=bool)
            self._swaps[number][: len(places)] = kept[: len(places)]
        rows = self._swaps[number]
        for name in new:
            rows[len(places)] = self._rng(f"swap:{name}").random(number) < 0.5
            places[name] = len(places)
        return rows[[places[name] for name in names]].T  # whole rows are copied: columns take much longer

    def _rng(self, name: str) -> "np.random.Generator":
        return np.random.default_rng([self.seed, *name.encode()])


def deviation_factor(n: int) -> float:
    """Standard error of the mean of n values over the standard deviation of its Bayesian bootstrap."""
    return float(np.sqrt((n + 1) / (n - 1))) if n > 1 else 1.0


@cache
def interval_factor(n: int, level: float) -> float:
    """`deviation_factor`, and the step from the normal distribution to Student's t with n - 1 degrees of freedom."""
    from scipy.stats import t

    tail = (1 + level) / 2
    return deviation_factor(n) * float(t.ppf(tail, n - 1)) / NormalDist().inv_cdf(tail) if n > 1 else 1.0


Key = tuple[str, int]  # split, seed
Samples = Mapping[Key, Sample]  # of one method on one dataset


def estimate(samples: Samples, metric: Metric) -> float:
    """Mean over splits of the mean over their seeds."""
    return float(
        np.mean([np.mean([_observed(one, metric) for one in of_seed]) for of_seed in _by_split(samples).values()])
    )


def _observed(sample: Sample, metric: Metric) -> "Array":
    return evaluate(metric, sample.observed())


def _by_split(samples: Samples) -> dict[str, list[Sample]]:
    by_split: dict[str, list[Sample]] = {}
    for split, seed in sorted(samples):
        by_split.setdefault(split, []).append(samples[split, seed])
    return by_split


def replicates(samples: Samples, metric: Metric, weights: Weights, dataset: str) -> "Array":
    """Replicates of `estimate`, (replicates,): around it, as far as units and seeds make it vary."""
    return replicates_of(samples, [metric], weights, dataset)[metric.name]


def replicates_of(samples: Samples, metrics: Sequence[Metric], weights: Weights, dataset: str) -> "dict[str, Array]":
    """Replicates of several metrics, by name; the weighted counts of a fit are made once for all of them.

    Parameters
    ----------
    samples
        Of one method, by split and seed.
    metrics
        What to compute.
    weights
        Random weights, by the names of units and seeds.
    dataset
        Start of these names: datasets share no units.

    Returns
    -------
    Metric -> (replicates,). With one unit and one seed they are all the same.
    """
    total = {metric.name: np.zeros(weights.replicates) for metric in metrics}
    by_split = _by_split(samples)
    for split, of_seed in by_split.items():
        observed = {metric.name: np.array([_observed(one, metric) for one in of_seed]) for metric in metrics}
        for one in of_seed:
            for name, moved in _moves(one, metrics, weights, dataset, split).items():
                total[name] += moved / len(of_seed)
        of_names = weights.of([f"seed:{dataset}/{split}/{seed}" for s, seed in sorted(samples) if s == split])
        # where nothing but seeds is resampled, they take the step to Student's t as well
        alone = isinstance(of_seed[0], FitValue)
        wider = interval_factor(len(of_seed), weights.level) if alone else deviation_factor(len(of_seed))
        for name, values in observed.items():
            mean = of_names @ values / of_names.sum(axis=1)
            total[name] += values.mean() + (mean - values.mean()) * wider
    return {name: values / len(by_split) for name, values in total.items()}


def _moves(one: Sample, metrics: Sequence[Metric], weights: Weights, dataset: str, split: str) -> "Mapping[str, Array]":
    """How far the metrics of one fit move with its units, metric -> (replicates,)."""
    of_units = weights.of([f"unit:{dataset}/{unit}" for unit in one.units])
    if not isinstance(one, UnitCounts) or not one.of_cells or len(one.units) < 2:
        drawn, around, factor = one.weighted(of_units), one.observed(), interval_factor(len(one.units), weights.level)
    else:
        by_class = ByClass(one)
        rows, borrowed, uniform = weights.of_small_classes.of(by_class, weights, dataset, split)
        drawn = by_class.weighted(of_units, rows, borrowed, by_class.right(uniform))
        around = by_class.expected()
        factor = interval_factor(len(one.units), weights.level) / deviation_factor(len(one.units))
    return {metric.name: (evaluate(metric, drawn) - evaluate(metric, around)) * factor for metric in metrics}


ONE_VALUE = "one value"  # of which no interval can be made


def of_fits(samples: Samples) -> tuple[str, dict[Key, Sample]]:
    """What can be resampled of a metric that is known by its value for every split and seed.

    Parameters
    ----------
    samples
        `FitValue` of every split and seed.

    Returns
    -------
    `seeds` and the same values, where every split has at least two; `splits` and the mean of each, in place of seeds of
    one split, where there are at least two; else `ONE_VALUE` and the same values.
    """
    by_split = _by_split(samples)
    if all(len(of_seed) > 1 for of_seed in by_split.values()):
        return "seeds", dict(samples)
    if len(by_split) > 1:
        means = {
            split: float(np.mean([one.value for one in of_seed if isinstance(one, FitValue)]))
            for split, of_seed in by_split.items()
        }
        return "splits", {("", i): FitValue(split, mean) for i, (split, mean) in enumerate(means.items())}
    return ONE_VALUE, dict(samples)


def interval(
    replicates: "Array", observed: float, level: float, bounds: tuple[float, float] = (0, 1)
) -> tuple[float, float]:
    """Percentile interval, moved by the bias.

    The macro F1 of randomly weighted cells lies below that of the cells themselves, by up to twice as much as that lies
    below the macro F1 of all cells. So the percentiles are laid around the value, and moved on by half of that bias.
    Efron's correction (1987) reaches for extreme percentiles where the biases of many splits add up.

    Parameters
    ----------
    replicates
        (replicates,) values around the observed one.
    observed
        The value.
    level
        Coverage of the interval.
    bounds
        Range of the value, within which the interval lies.

    Returns
    -------
    Lower and upper end.

    Raises
    ------
    ValueError
        Where a replicate is not a number.
    """
    if not np.isfinite(replicates).all():
        raise ValueError(f"{int((~np.isfinite(replicates)).sum())} of {len(replicates)} replicates are not numbers")
    bias = float(replicates.mean()) - observed
    ends = np.quantile(replicates, [(1 - level) / 2, (1 + level) / 2])
    low, high = np.clip(ends - (1 + _BIAS) * bias, *bounds)
    return float(low), float(high)


def agreeing(ends: tuple[float, float], p_value: float, level: float) -> tuple[float, float]:
    """The interval of a difference between two methods over cells, widened to 0 where their test is not significant.

    Where two methods differ on a few cells, hardly a replicate swaps their order, although chance may well have: of one
    cell nothing can be resampled. The randomisation test knows how few there are.
    """
    low, high = ends
    return (min(low, 0.0), max(high, 0.0)) if p_value > 1 - level else ends


def swaps_needed(pairs: int, level: float) -> int:
    """Random swaps that let a p-value be five times smaller than what Holm asks of the smallest of `pairs`."""
    return ceil(5 * pairs / (1 - level))


def swap_test(first: Samples, second: Samples, metric: Metric, weights: Weights, *, dataset: str, number: int) -> float:
    """Paired randomisation test (Noreen 1989) on the fits that two methods both have.

    Parameters
    ----------
    first, second
        Of two methods, by split and seed; every pair over the same units.
    metric
        What is compared.
    weights
        Random swaps, by the names of units.
    dataset
        Start of these names.
    number
        How many random swaps.

    Returns
    -------
    The two-sided p-value, never 0.

    Raises
    ------
    ValueError
        Where two fits of one split are counted over different units or classes.
    """
    keys = sorted(set(first) & set(second))
    splits = [split for split, _ in keys]
    observed = 0.0
    swapped = np.zeros(number)
    for split, seed in keys:
        a, b = first[split, seed], second[split, seed]
        if type(a) is not type(b) or not a.matches(b):  # type: ignore[arg-type]
            raise ValueError(
                f"{dataset}/{split}: two fits of one split must be counted over the same units and classes"
            )
        share = 1 / len(set(splits)) / splits.count(split)
        differing = a.differing(b)  # type: ignore[arg-type] # a swap of the others changes nothing
        observed += share * float(_observed(a, metric) - _observed(b, metric))
        if differing.size:
            swaps = weights.swaps([f"unit:{dataset}/{a.units[i]}" for i in differing], number)
            one, other = a.swapped(b, differing, swaps)  # type: ignore[arg-type]
            swapped += share * (evaluate(metric, one) - evaluate(metric, other))
    extreme = int((np.abs(swapped) >= abs(observed) - 1e-12).sum())
    return (1 + extreme) / (1 + number)


_SAME = 1e-12  # runs whose differences vary by less do not vary: what is left is rounding


def paired_t(differences: "NDArray[np.float64]") -> "tuple[NDArray[np.intp], NDArray[np.float64], NDArray[np.float64]]":
    """Two-sided paired t-test of every row, over runs.

    Parameters
    ----------
    differences
        (rows, runs) differences between two methods; NaN where a run has no value.

    Returns
    -------
    Number of runs, t and p, (rows,) each. With fewer than two runs t and p are NaN. Where both methods are identical in
    all runs, t is 0 and p is 1. Where they differ by the same amount in all runs, t is infinite and p is NaN: without
    variation between runs there is no estimate of how far chance moves the difference.
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
    """Holm's step-down correction (Holm 1979).

    As statsmodels has it, which takes a fifth of a second per call here to collect garbage.
    """
    p = np.asarray(p_values, dtype=float)
    order = np.argsort(p, kind="stable")
    corrected = np.empty(len(p))
    corrected[order] = np.minimum(np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)), 1)
    return corrected
