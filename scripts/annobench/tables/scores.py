"""All values of all fits."""

import pandas as pd

from annobench.tables.shared.context import TableContext

COLUMNS = {
    "scores": (
        "dataset",
        "split",
        "method",
        "seed",
        "status",
        "family",
        "metric",
        "label_set",
        "level",
        "group",
        "value",
        "n",
        "verdict",
    ),
}


def scores(context: TableContext) -> pd.DataFrame:
    """Every metric of every fit, with the verdict of the audit."""
    parts = []
    for fit in context.fits.runs:
        part = pd.DataFrame(fit.rows(fit.scores))
        verdicts = [context.verdicts.of_score(fit.dataset, fit.evaluation, row) for row in part.itertuples(index=False)]
        parts.append(part.assign(verdict=verdicts))
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=COLUMNS["scores"])
