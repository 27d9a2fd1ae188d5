"""Maps of embeddings."""

import pandas as pd

from annobench.tables.shared.context import TableContext
from annobench.tables.shared.labels import label_names

COLUMNS = {"places": ("dataset", "evaluation", "regime", "name", "cell_id", "x", "y", "label_id", "label", "predicted")}
MEANINGS = {
    "name": "Method.",
    "cell_id": "Id of the cell.",
    "x": "Place in the map, in arbitrary units.",
    "y": "Place in the map, in arbitrary units.",
    "label_id": "True type (Cell Ontology id).",
    "label": "Name of the true type.",
    "predicted": "Name of the type that the method gives the cell, or unknown; empty where it gives none.",
}


def places(context: TableContext) -> pd.DataFrame:
    """Where tested cells, at most 3,000, lie in a UMAP of the embedding of every method, for the first split."""
    columns, rows = list(COLUMNS["places"]), context.audits["places"]
    if rows.empty:
        return pd.DataFrame(columns=columns)
    names = {"label": label_names(rows["label_id"], context.ontology)}
    given = rows.loc[rows["predicted"] != "", "predicted"]
    names["predicted"] = pd.Series(label_names(given, context.ontology), index=given.index, dtype=object)
    return rows.assign(**names)[columns]
