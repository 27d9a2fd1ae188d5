"""Cells that a method gets wrong, and what methods say of cells without a label."""

import pandas as pd

from annobench.tables.shared.columns import EVALUATION
from annobench.tables.shared.context import TableContext
from annobench.tables.shared.labels import label_names

COLUMNS = {
    "misplaced": (
        "dataset",
        "evaluation",
        "regime",
        "method",
        "cell_id",
        "label_id",
        "label",
        "predicted",
        "predicted_label",
        "confidence",
        "n_wrong",
        "n_fits",
        "study",
        "donor",
    ),
    "predicted_types": (
        "dataset",
        "evaluation",
        "regime",
        "method",
        "label_id",
        "label",
        "cells",
        "share",
        "confidence",
        "n_fits",
    ),
}
MEANINGS = {
    "cell_id": "Id of the cell.",
    "misplaced.label_id": "Cell Ontology id of the true label.",
    "misplaced.label": "Name of the true label.",
    "predicted": "Cell Ontology id of the wrong label that the method gives most often.",
    "predicted_label": "Its name.",
    "misplaced.confidence": "Mean confidence of the method in its wrong labels of the cell; empty where it gives none.",
    "n_wrong": "Number of fits that get the cell wrong.",
    "misplaced.n_fits": "Number of fits that tested the cell.",
    "study": "Study of the cell.",
    "donor": "Donor of the cell.",
    "label_id": "Cell Ontology id of the predicted label, or unknown.",
    "label": "Its name.",
    "cells": "Number of cells that get the label, mean over the fits.",
    "share": "Share of the cells of the query.",
    "confidence": "Mean confidence of the method in these cells; empty where it gives none.",
    "n_fits": "Number of fits that annotated the query.",
}
_LABELS = {"label": "label_id", "predicted_label": "predicted"}


def misplaced(context: TableContext) -> pd.DataFrame:
    """The 50 test cells that every method misplaces worst: most often wrong, then with the highest confidence.

    Of an evaluation with more than 20,000 test cells in a split a sample is looked at.
    """
    columns, cells = list(COLUMNS["misplaced"]), context.audits["misplaced"]
    if cells.empty:
        return pd.DataFrame(columns=columns)
    return cells.assign(**{name: label_names(cells[ids], context.ontology) for name, ids in _LABELS.items()})[columns]


def predicted_types(context: TableContext) -> pd.DataFrame:
    """How many cells of a query without labels every method gives which label, and how sure it is of them."""
    columns, rows = list(COLUMNS["predicted_types"]), context.audits["predicted"]
    if rows.empty:
        return pd.DataFrame(columns=columns)
    keys = [*EVALUATION, "method"]
    draws = rows[[*keys, "split", "seed"]].drop_duplicates().groupby(keys, sort=False).size().rename("n_fits")
    rows = rows.assign(weighted=rows["confidence"] * rows["cells"])
    sums = rows.groupby([*keys, "label_id"], sort=False)[["cells", "weighted"]].sum(min_count=1).reset_index()
    counts = sums.merge(draws.reset_index(), on=keys, validate="many_to_one")
    counts["share"] = counts["cells"] / counts.groupby(keys)["cells"].transform("sum")
    counts["confidence"] = counts["weighted"] / counts["cells"]
    counts["cells"] /= counts["n_fits"]
    counts["label"] = label_names(counts["label_id"], context.ontology)
    counts["place"] = counts.groupby(keys, sort=False).ngroup()  # methods in their order, labels from most cells on
    order = {"by": ["place", "cells", "label_id"], "ascending": [True, False, True]}
    return counts.sort_values(kind="stable", ignore_index=True, **order)[columns]
