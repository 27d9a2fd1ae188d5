"""Values of every class, and the tree that the classes form."""

import pandas as pd

from annobench.ontology.tree import class_tree
from annobench.tables.shared.columns import EVALUATION
from annobench.tables.shared.context import TableContext
from annobench.tables.shared.fits import with_evaluation

COLUMNS = {
    "classes": (
        "dataset",
        "evaluation",
        "regime",
        "method",
        "label_id",
        "label",
        "precision",
        "recall",
        "f1",
        "cells",
        "n_fits",
    ),
    "trees": ("dataset", "label_id", "label", "parent", "is_class"),
}
MEANINGS = {
    "precision": "Mean precision of the class.",
    "recall": "Mean recall of the class.",
    "f1": "Mean F1 of the class.",
    "cells": "Mean number of test cells of the class.",
    "parent": "Cell Ontology id of the node above; empty at the top.",
    "is_class": "Whether cells are labelled with it; other nodes only join classes.",
}


def classes(context: TableContext) -> pd.DataFrame:
    """Mean precision, recall and F1 of every class, over the fits in whose test cells it occurs."""
    columns = list(COLUMNS["classes"])
    scores = context.table("scores")
    of_labels = (scores["level"] == "class") & (scores["family"] == "per_class")
    rows = with_evaluation(scores[of_labels], context.fits).rename(columns={"group": "label_id"})
    if rows.empty:
        return pd.DataFrame(columns=columns)
    keys = [*EVALUATION, "method", "label_id"]
    table = rows.pivot_table(index=keys, columns="metric", values="value", aggfunc="mean")
    cells = rows[rows["metric"] == "f1"].groupby(keys)["n"].agg(["mean", "size"])
    table = table.join(cells.rename(columns={"mean": "cells", "size": "n_fits"})).reset_index()
    return table.assign(label=[context.ontology.label(label_id) for label_id in table["label_id"]])[columns]


def trees(context: TableContext) -> pd.DataFrame:
    """A tree of the classes of every dataset under the ontology, for drawing."""
    rows = []
    for dataset, part in context.table("classes").groupby("dataset"):
        for node in class_tree(sorted(part["label_id"].unique()), context.ontology):
            rows.append({"dataset": dataset, **node})
    return pd.DataFrame(rows, columns=COLUMNS["trees"])
