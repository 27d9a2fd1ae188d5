"""What cells of every type are taken for."""

import pandas as pd

from annobench.tables.shared.context import TableContext

COLUMNS = {"confusion": ("dataset", "evaluation", "regime", "method", "true", "predicted", "n")}
MEANINGS = {
    "true": "Cell Ontology id of the true label.",
    "predicted": "Cell Ontology id of the predicted label, or unknown.",
    "n": "Number of cells.",
}


def confusion(context: TableContext) -> pd.DataFrame:
    """Cells per true and predicted label, summed over splits and seeds."""
    parts = [
        pd.DataFrame(fit.rows(fit.confusion, ["true", "predicted", "n"])).assign(
            dataset=fit.dataset, evaluation=fit.evaluation, regime=fit.regime, method=fit.method
        )
        for fit in context.fits.ok
    ]
    columns = list(COLUMNS["confusion"])
    if not parts:
        return pd.DataFrame(columns=columns)
    return pd.concat(parts).groupby(columns[:-1], sort=True)["n"].sum().reset_index()
