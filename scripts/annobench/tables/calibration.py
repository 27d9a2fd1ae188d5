"""How well the confidence of a method is calibrated."""

import pandas as pd

from annobench.tables.shared.columns import EVALUATION
from annobench.tables.shared.context import TableContext
from annobench.tables.shared.fits import with_evaluation

COLUMNS = {
    "calibration": (
        "dataset",
        "evaluation",
        "regime",
        "method",
        "bin",
        "bin_accuracy",
        "bin_confidence",
        "n",
    ),
}
MEANINGS = {
    "bin": "Number of the confidence bin, from 01.",
    "bin_accuracy": "Share of right cells in the bin.",
    "bin_confidence": "Mean confidence in the bin.",
}


def calibration(context: TableContext) -> pd.DataFrame:
    """Accuracy and mean confidence per confidence bin, over all fits of a method, weighted by cells."""
    columns = list(COLUMNS["calibration"])
    scores = context.table("scores")
    bins = with_evaluation(scores[scores["level"] == "bin"], context.fits).rename(columns={"group": "bin"})
    if bins.empty:
        return pd.DataFrame(columns=columns)
    keys = [*EVALUATION, "method", "bin"]
    summed = bins.assign(total=bins["value"] * bins["n"]).groupby([*keys, "metric"])[["total", "n"]].sum()
    table = (summed["total"] / summed["n"]).unstack("metric").join(summed["n"].groupby(level=keys).max())
    return table.reset_index()[columns]
