"""Confidence rules compared: values with intervals, risk-coverage curves, and distributions of confidence."""

import pandas as pd

from annobench.tables.shared.columns import EVALUATION
from annobench.tables.shared.confidences import confidences_of
from annobench.tables.shared.context import TableContext

COLUMNS = {
    "rules": (
        "dataset",
        "evaluation",
        "regime",
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
    "curves": ("dataset", "evaluation", "regime", "method", "rule", "coverage", "risk", "n_fits"),
    "confidences": ("dataset", "evaluation", "regime", "method", "rule", "cells", "bin", "share"),
}
MEANINGS = {
    "merging": "Whether labels are merged by the study's rule (`merged`) or not (`none`).",
    "variant": "Cut of the rule: as `published`, or `fair` (95 % of the validation cells pass); `-` without a cut.",
    "coverage": "Share of the most confident cells.",
    "risk": "Share of wrong cells among them.",
    "cells": "Cells that are counted: right or wrong test cells, or a kind of unrelated cells.",
    "bin": "Number of the bin of the confidence, from 0.",
    "share": "Share of these cells in the bin.",
}


def rules(context: TableContext) -> pd.DataFrame:
    """Confidence rules: how well they tell right from wrong cells, and what they accept of unrelated cells."""
    return context.once(_tables)["rules"]


def curves(context: TableContext) -> pd.DataFrame:
    """Risk-coverage curves of all confidence rules."""
    return context.once(_tables)["curves"]


def confidences(context: TableContext) -> pd.DataFrame:
    """Distributions of the confidence of right, wrong and unrelated cells."""
    return context.once(_tables)["confidences"]


def _tables(context: TableContext) -> dict[str, pd.DataFrame]:
    """The three tables, in one pass over the values of all fits."""
    rows: dict[str, list[dict[str, object]]] = {name: [] for name in COLUMNS}
    measured = context.once(confidences_of)
    for evaluation in context.fits.evaluations:
        for method in context.spec.methods:
            fits = measured.of(method, evaluation)
            for key in dict.fromkeys(key for fit in fits for key in measured.values[fit]):
                rule, merging, metric, variant = key
                mean = measured.measured(fits, key)
                assert mean is not None
                base: dict[str, object] = dict(zip(EVALUATION, evaluation, strict=True))
                base |= {"method": method, "rule": rule}
                if metric == "risk":
                    point = {"coverage": float(variant), "risk": mean.value, "n_fits": mean.n_fits}
                    rows["curves"].append(base | point)
                elif metric.startswith("share_"):
                    cells = metric.removeprefix("share_")
                    rows["confidences"].append(base | {"cells": cells, "bin": int(variant), "share": mean.value})
                else:
                    low, high = mean.interval(measured.confidence)
                    named = {"merging": merging, "metric": metric, "variant": variant, "value": mean.value}
                    rows["rules"].append(base | named | {"low": low, "high": high, "n_fits": mean.n_fits})
    return {name: pd.DataFrame(rows[name], columns=columns) for name, columns in COLUMNS.items()}
