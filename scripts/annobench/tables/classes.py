"""Values of every class, and the tree that the classes form."""

from math import isnan

import pandas as pd

from annobench.ontology.tree import class_tree
from annobench.tables.shared.columns import EVALUATION
from annobench.tables.shared.context import TableContext
from annobench.tables.shared.fits import with_evaluation
from annobench.tables.shared.tested import Draw, Tested

COLUMNS = {
    "classes": (
        "dataset",
        "evaluation",
        "regime",
        "split",
        "method",
        "label_id",
        "label",
        "precision",
        "recall",
        "f1",
        "cells",
        "n_fits",
        "n_trained",
    ),
    "trees": ("dataset", "label_id", "label", "parent", "is_class"),
}
MEANINGS = {
    "precision": "Mean precision of the class.",
    "recall": "Mean recall of the class.",
    "f1": "Mean F1 of the class.",
    "cells": "Number of test cells of the class, each counted once; empty where the files of a split are gone.",
    "n_trained": "Number of these fits whose training cells have the class; with 0, only a method that learned "
    "elsewhere can get it right. Empty where no cell trains.",
    "split": "Split that is shown by itself (a share of the labels); `all` for the splits of the evaluation together.",
    "parent": "Cell Ontology id of the node above; empty at the top.",
    "is_class": "Whether cells are labelled with it; other nodes only join classes.",
}


def classes(context: TableContext) -> pd.DataFrame:
    """Mean precision, recall and F1 of every class, over the fits in whose test cells it occurs; shares of the labels
    apart.
    """
    columns = list(COLUMNS["classes"])
    scores = context.table("scores")
    of_labels = (scores["level"] == "class") & (scores["family"] == "per_class")
    rows = with_evaluation(scores[of_labels], context.fits).rename(columns={"group": "label_id"})
    if rows.empty:
        return pd.DataFrame(columns=columns)
    tested = context.once(Tested)
    rows = tested.grouped(rows)
    keys = [*EVALUATION, "split", "method", "label_id"]
    table = rows.pivot_table(index=keys, columns="metric", values="value", aggfunc="mean")
    fits = rows[rows["metric"] == "f1"].groupby(keys)
    found = pd.DataFrame([dict(zip(keys, key, strict=True)) | _fits(tested, part) for key, part in fits])
    table = table.reset_index().merge(found.astype({"n_trained": "Int64"}), on=keys)
    return table.assign(label=[context.ontology.label(label_id) for label_id in table["label_id"]])[columns]


def _fits(tested: Tested, rows: pd.DataFrame) -> dict[str, object]:
    """Test cells of one class, the number of its fits, and of those that have training cells of it."""
    label = rows["label_id"].iloc[0]
    draws = [Draw(*row) for row in rows[["dataset", "draw", "seed"]].itertuples(index=False, name=None)]
    n_trained, times = tested.n_trained(draws, label), tested.times(draws)
    return {
        "cells": times.distinct.get(label, 0) if times.tests else None,
        "n_fits": len(draws),
        "n_trained": None if isnan(n_trained) else int(n_trained),
    }


def trees(context: TableContext) -> pd.DataFrame:
    """A tree of the classes of every dataset under the ontology, for drawing."""
    rows = []
    for dataset, part in context.table("classes").groupby("dataset"):
        for node in class_tree(sorted(part["label_id"].unique()), context.ontology):
            rows.append({"dataset": dataset, **node})
    return pd.DataFrame(rows, columns=COLUMNS["trees"])
