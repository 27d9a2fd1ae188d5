"""What cells of every type are taken for."""

import pandas as pd

from annobench.tables.shared.columns import EVALUATION
from annobench.tables.shared.context import TableContext
from annobench.tables.shared.fits import FitFiles
from annobench.tables.shared.tested import Tested

COLUMNS = {
    "confusion": (
        "dataset",
        "evaluation",
        "regime",
        "split",
        "method",
        "true",
        "predicted",
        "n",
        "cells",
        "n_fits",
        "n_trained",
    )
}
MEANINGS = {
    "split": "Split that is shown by itself (a share of the labels); `all` for the splits of the evaluation together.",
    "true": "Cell Ontology id of the true label.",
    "predicted": "Cell Ontology id of the predicted label, or unknown.",
    "n": "Number of tests: a cell counts in every fit that tests it.",
    "cells": "Number of test cells, each counted once: `n` by how often a cell of the true label is tested. Shared "
    "where fits differ; empty where the files of a split are gone.",
    "n_fits": "Number of finished fits that test cells of the true label.",
    "n_trained": "Number of these fits whose training cells have the true label; empty where no cell trains.",
}


def confusion(context: TableContext) -> pd.DataFrame:
    """Cells per true and predicted label; splits and seeds are taken together, but shares of the labels are not."""
    tested = context.once(Tested)
    groups: dict[tuple[str, ...], list[FitFiles]] = {}
    for fit in context.fits.ok:
        key = (*fit.place, tested.group(fit.dataset, fit.split), fit.method)
        groups.setdefault(key, []).append(fit)
    parts = [
        _counted(tested, fits).assign(**dict(zip([*EVALUATION, "split", "method"], key, strict=True)))
        for key, fits in groups.items()
    ]
    columns = list(COLUMNS["confusion"])
    parts = [part for part in parts if len(part)]
    if not parts:
        return pd.DataFrame(columns=columns)
    return pd.concat(parts, ignore_index=True).sort_values(columns[:7], kind="stable", ignore_index=True)[columns]


def _counted(tested: Tested, fits: list[FitFiles]) -> pd.DataFrame:
    """Counts of some fits of one method."""
    tables = [pd.DataFrame(fit.rows(fit.confusion, ["true", "predicted", "n"])) for fit in fits]
    scored = [fit for fit, table in zip(fits, tables, strict=True) if len(table)]
    if not scored:
        return pd.DataFrame()
    times = tested.times(scored)
    having: dict[str, list[FitFiles]] = {}
    for fit, table in zip(fits, tables, strict=True):
        for label in table["true"].unique():
            having.setdefault(label, []).append(fit)
    table = pd.concat(tables).groupby(["true", "predicted"], sort=True)["n"].sum().reset_index()
    n_trained = {label: tested.n_trained(of, label) for label, of in having.items()}
    return table.assign(
        cells=table["n"] * table["true"].map(times.share),
        n_fits=table["true"].map({label: len(of) for label, of in having.items()}),
        n_trained=pd.array(table["true"].map(n_trained), dtype="Float64").astype("Int64"),
    )
