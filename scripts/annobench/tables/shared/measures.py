"""Metrics over some fits of one method, with replicates from which intervals are made.

Replicates of a metric are computed from counts by class, or from sums over cells, of every unit (donor, study or cell),
where the metric comes from them; else from its values over seeds, or over splits with one seed each.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from annobench.score import statistics as stats
from annobench.score.metric import COUNTS, FITS, Metric
from annobench.score.samples import Sample
from annobench.score.statistics import ONE_VALUE
from annobench.tables.shared.fits import Evaluation, FitFiles, Fits

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

_KINDS = {"seeds": "seed", "splits": "split", ONE_VALUE: ""}  # what is resampled where whole fits are


@dataclass(frozen=True, kw_only=True)
class Measured:
    """A metric over some fits of one method.

    Attributes
    ----------
    value
        Mean over splits of the mean over seeds.
    replicates
        Replicates of it, (replicates,); None where there is nothing to resample.
    basis
        What they are computed from.
    kinds
        What is resampled: donor, study, cell, seed, split.
    units
        Dataset and name of everything that is resampled.
    n_fits, n_planned
        Fits with a value, and those that the study planned.
    """

    value: float
    replicates: "Array | None"
    basis: str
    kinds: frozenset[str]
    units: frozenset[tuple[str, str]]
    n_fits: int
    n_planned: int

    @classmethod
    def mean(cls, parts: "Sequence[Measured]") -> "Measured":
        """Mean of several evaluations, each counting the same."""
        replicates = [one.replicates for one in parts if one.replicates is not None]
        return cls(
            value=float(np.mean([one.value for one in parts], axis=0)),
            replicates=np.mean(replicates, axis=0) if len(replicates) == len(parts) else None,
            basis=" and ".join(sorted({one.basis for one in parts})),
            kinds=frozenset().union(*(one.kinds for one in parts)),
            units=frozenset().union(*(one.units for one in parts)),
            n_fits=sum(one.n_fits for one in parts),
            n_planned=sum(one.n_planned for one in parts),
        )


class Measures:
    """Measures metrics over fits.

    Parameters
    ----------
    fits
        The fits of the study.
    metrics
        The metrics that are measured.
    weights
        Random weights of units and seeds.
    """

    def __init__(self, fits: Fits, metrics: Iterable[Metric], weights: stats.Weights) -> None:
        self.fits, self.weights = fits, weights
        self._samples = {metric.name: fits.samples(metric) for metric in metrics}

    def evaluations(self, metric: Metric) -> list[Evaluation]:
        """Evaluations that a metric compares methods on: not those whose finished fits all lack it.

        A query without labels is predicted, but has no truth to compare with.
        """
        lacking = {fit.place for fit in self.fits.ok} - {fit.place for fit in self._samples[metric.name]}
        return [place for place in self.fits.evaluations if place not in lacking]

    def over(self, metrics: Sequence[Metric], fits: Sequence[FitFiles]) -> dict[str, Measured]:
        """Metrics over some fits of one method on one dataset; one that no fit has is left out."""
        samples = {metric.name: self.samples_of(metric, fits) for metric in metrics}
        measured: dict[str, Measured] = {}
        # the weighted counts are made once for all metrics that come from them
        together = [metric for metric in metrics if metric.basis == COUNTS and samples[metric.name]]
        groups = [together] if together else []
        groups += [[metric] for metric in metrics if metric.basis != COUNTS and samples[metric.name]]
        for group in groups:
            done = [fit for fit in fits if fit in self._samples[group[0].name]]
            basis, mine = basis_of(group[0], samples[group[0].name])
            drawn = stats.replicates_of(mine, group, self.weights, done[0].dataset)
            kinds = {_KINDS[basis]} if basis in _KINDS else {self.fits.unit_kinds[fit] for fit in done}
            units = {(done[0].dataset, unit) for one in mine.values() for unit in one.units}
            for metric in group:
                measured[metric.name] = Measured(
                    value=stats.estimate(mine, metric),
                    replicates=None if basis == ONE_VALUE else drawn[metric.name],
                    basis=basis,
                    kinds=frozenset(kinds - {""}),
                    units=frozenset(units),
                    n_fits=len(done),
                    n_planned=len(fits),
                )
        return {metric.name: measured[metric.name] for metric in metrics if metric.name in measured}

    def samples_of(self, metric: Metric, fits: Iterable[FitFiles]) -> dict[stats.Key, Sample]:
        """What a metric can be resampled from, for those of some fits of one dataset that have it."""
        having = self._samples[metric.name]
        return {(fit.split, fit.seed): having[fit] for fit in fits if fit in having}


def basis_of(metric: Metric, samples: stats.Samples) -> tuple[str, stats.Samples]:
    """What intervals and tests of a metric are computed from, and in which form."""
    if metric.basis != FITS:
        return metric.basis, samples
    return stats.of_fits(samples)
