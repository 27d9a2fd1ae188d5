"""What the fits of a study say of confidence rules."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from annobench.score import statistics as stats
from annobench.score.score_tables import REPLICATES
from annobench.tables.shared.context import TableContext
from annobench.tables.shared.fits import FitFiles, Fits

_KEYS = ("rule", "merging", "metric", "variant")
Key = tuple[str, str, str, str]  # these columns


@dataclass
class Measured:
    """A mean over fits, and replicates around it (replicates,), stretched for few units."""

    value: float
    replicates: "np.ndarray | None"
    n_fits: int

    def interval(self, confidence: float) -> tuple[float, float]:
        """Percentile interval; NaN where nothing was resampled."""
        if self.replicates is None:
            return np.nan, np.nan
        return stats.interval(self.replicates, self.value, confidence, (-1, 1))


class Confidences:
    """What all fits of a study say of confidence rules.

    Parameters
    ----------
    fits
        The fits of the study.
    confidence
        Level of the intervals.

    Attributes
    ----------
    values
        Fit -> rule, merging, metric and variant -> value; only fits with decision values are there.
    replicates
        The same -> replicates around the value, (replicates,); only what was resampled is there.
    """

    def __init__(self, fits: Fits, confidence: float) -> None:
        self.fits, self.confidence = fits, confidence
        self.weights = stats.Weights(REPLICATES, confidence)
        self.values: dict[FitFiles, dict[Key, float]] = {}
        self.replicates: dict[FitFiles, dict[Key, np.ndarray]] = {}
        for fit in fits.ok:
            table = pd.DataFrame(fit.rows(fit.confidence))
            if len(table):
                self.values[fit], self.replicates[fit] = self._read(table, len(fits.counts[fit].units))

    def _read(self, table: pd.DataFrame, units: int) -> "tuple[dict[Key, float], dict[Key, np.ndarray]]":
        """Values and replicates of one fit; the replicates of a value lie together in the file, in order."""
        point = table["replicate"].to_numpy() < 0
        values = dict(zip(_keys(table[point]), table["value"].to_numpy()[point], strict=True))
        drawn = table["value"].to_numpy()[~point].reshape(-1, REPLICATES)
        # a weighted curve is continuous, the value is that of whole cells
        moved = (drawn - drawn.mean(axis=1, keepdims=True)) * stats.interval_factor(units, self.confidence)
        keys = _keys(table[~point].iloc[::REPLICATES])
        return values, {key: values[key] + change for key, change in zip(keys, moved, strict=True)}

    def of(self, method: str, evaluation: Sequence[str]) -> list[FitFiles]:
        """Fits of a method in an evaluation that have decision values."""
        return [fit for fit in self.fits.of(method, evaluation) if fit in self.values]

    def measured(self, fits: Sequence[FitFiles], key: Key) -> Measured | None:
        """Mean over splits of the mean over seeds, of the fits that have a value, and its replicates.

        None where no fit has one. The replicates vary with the test cells and, as in `stats.replicates`, with the
        seeds of a split.
        """
        having = [fit for fit in fits if key in self.values[fit]]
        if not having:
            return None
        by_split: dict[str, list[FitFiles]] = {}
        for fit in having:
            by_split.setdefault(fit.split, []).append(fit)
        resampled = all(key in self.replicates[fit] for fit in having)
        means, drawn = [], []
        for split, of_seed in by_split.items():
            values = np.array([self.values[fit][key] for fit in of_seed])
            means.append(values.mean())
            if resampled:
                names = [f"seed:{fit.dataset}/{split}/{fit.seed}" for fit in of_seed]
                weights = self.weights.of(names)
                moved = (weights @ values / weights.sum(axis=1) - values.mean()) * stats.deviation_factor(len(values))
                drawn.append(np.mean([self.replicates[fit][key] for fit in of_seed], axis=0) + moved)
        return Measured(float(np.mean(means)), np.mean(drawn, axis=0) if resampled else None, len(having))


def _keys(table: pd.DataFrame) -> list[Key]:
    return list(zip(*(table[name] for name in _KEYS), strict=True))


def confidences_of(context: TableContext) -> Confidences:
    """Of all fits of a study: for `context.once`."""
    return Confidences(context.fits, context.spec.statistics.confidence)
