"""Confidence rules compared: values with intervals, risk-coverage curves, and distributions of confidence."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from annobench import stats
from annobench.files import damaged
from annobench.tables.fits import EVALUATION, FitFiles, Fits

RULES = [*EVALUATION, "method", "rule", "merging", "metric", "variant", "value", "low", "high", "n_fits"]
CURVES = [*EVALUATION, "method", "rule", "coverage", "risk", "n_fits"]
HISTOGRAMS = [*EVALUATION, "method", "rule", "cells", "bin", "share"]
KEYS = ["rule", "merging", "metric", "variant"]


@dataclass
class Measured:
    """Value and replicates of one number, means over fits: replicates vary around the value, stretched for few units."""

    value: float
    replicates: "np.ndarray | None"
    n_fits: int

    def interval(self, confidence: float) -> tuple[float, float]:
        """Percentile interval; NaN where nothing was resampled."""
        if self.replicates is None:
            return np.nan, np.nan
        return stats.interval(self.replicates, self.value, confidence, (-1, 1))


class Confidences:
    """What all fits of a study say of confidence rules."""

    def __init__(self, fits: Fits, confidence: float) -> None:
        self.fits, self.confidence = fits, confidence
        self.values: dict[FitFiles, pd.Series] = {}
        self.replicates: dict[FitFiles, pd.Series] = {}
        for fit in fits.ok:
            try:
                table = pd.read_parquet(fit.confidence)
            except (OSError, ValueError) as error:
                raise damaged(fit.confidence, error) from error
            if table.empty:
                continue
            point = table["replicate"] < 0
            self.values[fit] = table[point].set_index(KEYS)["value"]
            drawn = table[~point].sort_values("replicate", kind="stable").groupby(KEYS, sort=False)["value"]
            units = len(fits.counts[fit].units)
            self.replicates[fit] = drawn.apply(lambda of: of.to_numpy())
            for key, draws in self.replicates[fit].items():
                value = self.values[fit].get(key, np.nan)
                centre = draws.mean()  # a weighted curve is continuous, the value is that of whole cells
                self.replicates[fit][key] = value + (draws - centre) * stats.stretch(units, confidence)

    def of(self, method: str, evaluation: Sequence[str]) -> list[FitFiles]:
        """Fits of a method in an evaluation that have decision values."""
        return [fit for fit in self.fits.of(method, evaluation) if fit in self.values]

    def measured(self, fits: Sequence[FitFiles], key: tuple[Any, ...]) -> Measured | None:
        """A number as the mean over those fits that have it; its replicates as the mean of theirs."""
        having = [fit for fit in fits if key in self.values[fit].index]
        if not having:
            return None
        drawn = [self.replicates[fit].get(key) for fit in having]
        every = None if any(one is None for one in drawn) else np.mean(drawn, axis=0)
        return Measured(float(np.mean([self.values[fit][key] for fit in having])), every, len(having))

    def tables(self, methods: Mapping[str, Any]) -> dict[str, pd.DataFrame]:
        """The tables rules, curves and confidences."""
        rules, curves, shares = [], [], []
        for evaluation in self.fits.evaluations:
            about = dict(zip(EVALUATION, evaluation, strict=True))
            for method in methods:
                fits = self.of(method, evaluation)
                keys = list(dict.fromkeys(key for fit in fits for key in self.values[fit].index))
                for key in keys:
                    rule, merging, metric, variant = key
                    found = self.measured(fits, key)
                    assert found is not None
                    base = {**about, "method": method, "rule": rule}
                    if metric == "risk":
                        curves.append(base | {"coverage": float(variant), "risk": found.value, "n_fits": found.n_fits})
                    elif metric.startswith("share_"):
                        cells = metric.removeprefix("share_")
                        shares.append(base | {"cells": cells, "bin": int(variant), "share": found.value})
                    else:
                        low, high = found.interval(self.confidence)
                        named = {"merging": merging, "metric": metric, "variant": variant, "value": found.value}
                        rules.append(base | named | {"low": low, "high": high, "n_fits": found.n_fits})
        return {
            "rules": pd.DataFrame(rules, columns=RULES),
            "curves": pd.DataFrame(curves, columns=CURVES),
            "confidences": pd.DataFrame(shares, columns=HISTOGRAMS),
        }
