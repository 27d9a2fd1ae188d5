"""What scores of embeddings say in detail: clusters by resolution, probes by class."""

import pandas as pd

from annobench.tables.shared.columns import EVALUATION
from annobench.tables.shared.context import TableContext
from annobench.tables.shared.fits import with_evaluation
from annobench.tables.shared.labels import label_names
from annobench.tables.shared.tested import Tested

COLUMNS = {
    "resolutions": ("dataset", "evaluation", "regime", "method", "resolution", "metric", "value", "n_fits"),
    "probe_classes": (
        "dataset",
        "evaluation",
        "regime",
        "split",
        "method",
        "folds_of",
        "classifier",
        "label_id",
        "label",
        "f1",
        "cells",
        "n_fits",
    ),
}
MEANINGS = {
    "resolution": "Resolution of the Leiden clusters.",
    "resolutions.value": "Mean value over splits and seeds.",
    "resolutions.metric": "`clustering_ari`, `clustering_nmi` or `clusters`.",
    "folds_of": "What the folds are drawn of: `cells`, or `donors`, which are kept whole.",
    "classifier": "Classifier on the embedding.",
    "f1": "Mean F1 of the class, from all folds together.",
    "cells": "Mean number of cells of the class.",
    "n_fits": "Number of fits.",
    "split": "Split that is shown by itself (a share of the labels); `all` for the splits of the evaluation together.",
}


def resolutions(context: TableContext) -> pd.DataFrame:
    """Agreement of clusters and labels for every resolution of a sweep, where the evaluation asks for one."""
    columns = list(COLUMNS["resolutions"])
    scores = context.table("scores")
    rows = with_evaluation(scores[scores["level"] == "resolution"], context.fits)
    if rows.empty:
        return pd.DataFrame(columns=columns)
    rows = rows.assign(resolution=pd.to_numeric(rows["group"]))
    keys = [*EVALUATION, "method", "resolution", "metric"]
    means = rows.groupby(keys, sort=False)["value"].agg(["mean", "size"]).reset_index()
    return means.rename(columns={"mean": "value", "size": "n_fits"})[columns]


def probe_classes(context: TableContext) -> pd.DataFrame:
    """F1 of every class by every classifier of the family `probes`, mean over splits and seeds; shares of the labels
    apart.
    """
    columns = list(COLUMNS["probe_classes"])
    scores = context.table("scores")
    wanted = (scores["family"] == "probes") & (scores["level"] == "class")
    rows = with_evaluation(scores[wanted], context.fits)
    if rows.empty:
        return pd.DataFrame(columns=columns)
    parts = rows["label_set"].str.split(" ", n=1, expand=True)
    rows = rows.assign(folds_of=parts[0], classifier=parts[1], label_id=rows["group"])
    rows = context.once(Tested).grouped(rows)
    keys = [*EVALUATION, "split", "method", "folds_of", "classifier", "label_id"]
    means = rows.groupby(keys, sort=False).agg(f1=("value", "mean"), cells=("n", "mean"), n_fits=("n", "size"))
    means = means.reset_index()
    return means.assign(label=label_names(means["label_id"], context.ontology))[columns]
