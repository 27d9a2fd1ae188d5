"""How well the confidence of a method is calibrated."""

import pandas as pd

from annobench.tables.shared.columns import EVALUATION
from annobench.tables.shared.context import TableContext
from annobench.tables.shared.fits import with_evaluation
from annobench.tables.shared.tested import Draw, Tested

COLUMNS = {
    "calibration": (
        "dataset",
        "evaluation",
        "regime",
        "split",
        "method",
        "bin",
        "bin_accuracy",
        "bin_confidence",
        "n",
        "cells",
    ),
}
MEANINGS = {
    "bin": "Number of the confidence bin, from 01.",
    "bin_accuracy": "Share of right cells in the bin.",
    "bin_confidence": "Mean confidence in the bin.",
    "n": "Number of tests: a cell counts in every fit that tests it.",
    "cells": "Number of test cells, each counted once: `n` by how often a cell is tested. Shared where fits differ; "
    "empty where the files of a split are gone.",
    "split": "Split that is shown by itself (a share of the labels); `all` for the splits of the evaluation together.",
}


def calibration(context: TableContext) -> pd.DataFrame:
    """Accuracy and mean confidence per confidence bin, over all fits of a method, weighted by cells;
    shares of the labels apart.
    """
    columns = list(COLUMNS["calibration"])
    scores = context.table("scores")
    bins = with_evaluation(scores[scores["level"] == "bin"], context.fits).rename(columns={"group": "bin"})
    if bins.empty:
        return pd.DataFrame(columns=columns)
    tested = context.once(Tested)
    bins = tested.grouped(bins)
    of = [*EVALUATION, "split", "method"]
    shares = {key: _share(tested, part) for key, part in bins.groupby(of)}
    keys = [*of, "bin"]
    summed = bins.assign(total=bins["value"] * bins["n"]).groupby([*keys, "metric"])[["total", "n"]].sum()
    table = (summed["total"] / summed["n"]).unstack("metric").join(summed["n"].groupby(level=keys).max())
    table = table.reset_index()
    own = [shares[key] for key in table[of].itertuples(index=False, name=None)]
    return table.assign(cells=table["n"] * own)[columns]


def _share(tested: Tested, bins: pd.DataFrame) -> float:
    """What one test counts among the bins of a method, so that every cell counts once."""
    draws = bins[["dataset", "draw", "seed"]].drop_duplicates().itertuples(index=False, name=None)
    return tested.times([Draw(*draw) for draw in draws]).overall
