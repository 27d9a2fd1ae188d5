"""Marker biology of methods and controls: overall, by type, and the expression of top genes."""

import numpy as np
import pandas as pd

from annobench.score.registry import METRICS
from annobench.tables.shared.columns import EVALUATION
from annobench.tables.shared.context import TableContext
from annobench.tables.shared.labels import label_names
from annobench.tables.shared.tested import Tested

COLUMNS = {
    "markers": (
        "dataset",
        "evaluation",
        "regime",
        "split",
        "kind",
        "name",
        "metric",
        "reading",
        "value",
        "low",
        "high",
        "n_types",
        "verdict",
    ),
    "types": (
        "dataset",
        "evaluation",
        "regime",
        "split",
        "name",
        "reading",
        "label_id",
        "label",
        "metric",
        "value",
        "n",
    ),
    "degs": (
        "dataset",
        "evaluation",
        "regime",
        "name",
        "gene_of",
        "gene_of_label",
        "gene",
        "label_id",
        "label",
        "value",
    ),
}
MEANINGS = {
    "name": "Method or control.",
    "n_types": "Number of types that the interval is over; empty where there is none.",
    "n": "Number of splits and seeds that the value is a mean of.",
    "split": "Split that is shown by itself (a share of the labels); `all` for the splits of the evaluation together.",
    "gene_of": "Type that the gene is a top gene of (Cell Ontology id).",
    "gene_of_label": "Name of this type.",
    "gene": "Gene.",
    "degs.label_id": "Type whose cells express it (Cell Ontology id).",
    "degs.label": "Name of this type.",
    "degs.value": "Mean expression of the gene in the cells of this type, standardised over the types, within 2.5.",
}


def markers(context: TableContext) -> pd.DataFrame:
    """Marker metrics of methods and controls: means, with Student's t intervals over the types where there are any;
    shares of the labels apart.
    """
    tested, confidence = context.once(Tested), context.spec.statistics.confidence
    metrics, types = (tested.grouped(context.audits[name]) for name in ("metrics", "types"))
    return markers_of(metrics, types, context.table("audit"), confidence)


def markers_of(metrics: pd.DataFrame, types: pd.DataFrame, audit: pd.DataFrame, confidence: float) -> pd.DataFrame:
    """The table from the files `metrics` and `types` of all audits, their splits grouped, and the table `audit`."""
    from scipy.stats import t as student

    columns = list(COLUMNS["markers"])
    of_family = metrics[metrics["family"] == "markers"] if len(metrics) else metrics
    if of_family.empty:
        return pd.DataFrame(columns=columns)
    keys = [*EVALUATION, "split", "kind", "name", "metric", "variant"]
    table = of_family.groupby(keys, sort=False)["value"].mean().reset_index().rename(columns={"variant": "reading"})
    of_type = [*EVALUATION, "split", "name", "reading", "metric"]
    by_type = types.groupby([*of_type, "label_id"])["value"].mean().reset_index()
    deviation = by_type.groupby(of_type)["value"].agg(["std", "count"]).reset_index()
    table = table.merge(deviation, how="left", on=of_type)
    half = student.ppf((1 + confidence) / 2, table["count"].clip(lower=2) - 1) * table["std"] / np.sqrt(table["count"])
    bounds = [table["metric"].map({m.name: getattr(m, end) for m in METRICS.values()}) for end in ("low", "high")]
    low, high = ((table["value"] + sign * half).clip(*bounds) for sign in (-1, 1))
    table = table.assign(low=low, high=high, n_types=table["count"])
    verdicts = audit[audit["family"] == "markers"].rename(columns={"variant": "reading"})
    table = table.merge(verdicts[[*EVALUATION, "metric", "reading", "verdict"]], how="left")
    return table[columns]


def types(context: TableContext) -> pd.DataFrame:
    """Marker metrics of every type, means over splits and seeds; shares of the labels apart."""
    columns, rows = list(COLUMNS["types"]), context.once(Tested).grouped(context.audits["types"])
    if rows.empty:
        return pd.DataFrame(columns=columns)
    keys = [*EVALUATION, "split", "name", "reading", "label_id", "metric"]
    table = rows.groupby(keys, sort=False)["value"].agg(["mean", "size"]).reset_index()
    table = table.rename(columns={"mean": "value", "size": "n"})
    return table.assign(label=label_names(table["label_id"], context.ontology))[columns]


def degs(context: TableContext) -> pd.DataFrame:
    """Expression of the top genes of every type in all types, for the heat map."""
    columns, rows = list(COLUMNS["degs"]), context.audits["degs"]
    if rows.empty:
        return pd.DataFrame(columns=columns)
    names = {
        "gene_of_label": label_names(rows["gene_of"], context.ontology),
        "label": label_names(rows["label_id"], context.ontology),
    }
    return rows.assign(**names)[columns]
