"""Cells in space."""

import pandas as pd

from annobench.tables.shared.context import TableContext
from annobench.tables.shared.labels import label_names

COLUMNS = {
    "spatial": (
        "dataset",
        "evaluation",
        "regime",
        "name",
        "cell_id",
        "x",
        "y",
        "true",
        "predicted",
        "confidence",
    )
}
MEANINGS = {
    "name": "Method.",
    "cell_id": "Id of the cell.",
    "x": "Position of the cell, as the data gives it.",
    "y": "Position of the cell, as the data gives it.",
    "true": "Name of the true type.",
    "predicted": "Name of the predicted type, or unknown.",
    "confidence": "Confidence of the method.",
}


def spatial(context: TableContext) -> pd.DataFrame:
    """Test cells in space, with their true and predicted types."""
    columns, rows = list(COLUMNS["spatial"]), context.audits["spatial"]
    if rows.empty:
        return pd.DataFrame(columns=columns)
    return rows.assign(**{name: label_names(rows[name], context.ontology) for name in ("true", "predicted")})[columns]
