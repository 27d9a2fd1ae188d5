"""Confidence rules compared: values with intervals, risk-coverage curves, and distributions of confidence."""

from collections.abc import Mapping, Sequence

import pandas as pd

from annobench.tables.shared.columns import EVALUATION
from annobench.tables.shared.confidences import Confidences, confidences_of
from annobench.tables.shared.context import TableContext
from annobench.tables.shared.fits import FitFiles
from annobench.tables.shared.tested import Tested

COLUMNS = {
    "rules": (
        "dataset",
        "evaluation",
        "regime",
        "split",
        "method",
        "rule",
        "merging",
        "metric",
        "variant",
        "value",
        "low",
        "high",
        "n_fits",
    ),
    "curves": ("dataset", "evaluation", "regime", "split", "method", "rule", "coverage", "risk", "n_fits"),
    "confidences": ("dataset", "evaluation", "regime", "split", "method", "rule", "cells", "bin", "share"),
}
MEANINGS = {
    "merging": "Whether labels are merged by the study's rule (`merged`) or not (`none`).",
    "variant": "Cut of the rule: as `published`, or `fair` (95 % of the validation cells pass); `-` without a cut.",
    "coverage": "Share of the most confident cells.",
    "risk": "Share of wrong cells among them.",
    "cells": "Cells that are counted: right or wrong test cells, or a kind of unrelated cells.",
    "bin": "Number of the bin of the confidence, from 0.",
    "share": "Share of these cells in the bin.",
    "split": "Split that is shown by itself (a share of the labels); `all` for the splits of the evaluation together.",
}


def rules(context: TableContext) -> pd.DataFrame:
    """Confidence rules: how well they tell right from wrong cells, and what they accept of unrelated cells; shares of
    the labels apart.
    """
    return context.once(_tables)["rules"]


def curves(context: TableContext) -> pd.DataFrame:
    """Risk-coverage curves of all confidence rules; shares of the labels apart."""
    return context.once(_tables)["curves"]


def confidences(context: TableContext) -> pd.DataFrame:
    """Distributions of the confidence of right, wrong and unrelated cells; shares of the labels apart."""
    return context.once(_tables)["confidences"]


def _tables(context: TableContext) -> dict[str, pd.DataFrame]:
    """The three tables, in one pass over the values of all fits."""
    rows: dict[str, list[dict[str, object]]] = {name: [] for name in COLUMNS}
    measured, tested = context.once(confidences_of), context.once(Tested)
    for evaluation in context.fits.evaluations:
        place = dict(zip(EVALUATION, evaluation, strict=True))
        for method in context.spec.methods:
            for split, fits in tested.apart(measured.of(method, evaluation)).items():
                _add(rows, measured, fits, {**place, "split": split, "method": method})
    return {name: pd.DataFrame(rows[name], columns=columns) for name, columns in COLUMNS.items()}


def _add(
    rows: dict[str, list[dict[str, object]]],
    measured: Confidences,
    fits: Sequence[FitFiles],
    about: Mapping[str, object],
) -> None:
    """Add what some fits of one method say together."""
    for key in dict.fromkeys(key for fit in fits for key in measured.values[fit]):
        rule, merging, metric, variant = key
        mean = measured.measured(fits, key)
        assert mean is not None
        base = {**about, "rule": rule}
        if metric == "risk":
            rows["curves"].append({**base, "coverage": float(variant), "risk": mean.value, "n_fits": mean.n_fits})
        elif metric.startswith("share_"):
            cells = metric.removeprefix("share_")
            rows["confidences"].append({**base, "cells": cells, "bin": int(variant), "share": mean.value})
        else:
            low, high = mean.interval(measured.confidence)
            named = {"merging": merging, "metric": metric, "variant": variant, "value": mean.value}
            rows["rules"].append({**base, **named, "low": low, "high": high, "n_fits": mean.n_fits})
