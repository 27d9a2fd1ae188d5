"""What wrong labels of the test cells do to the ranking, and which labels the methods dispute."""

import numpy as np
import pandas as pd

from annobench.ontology import UNKNOWN
from annobench.score.registry import METRICS
from annobench.tables.shared.columns import EVALUATION
from annobench.tables.shared.context import TableContext

COLUMNS = {
    "label_noise": (
        "dataset",
        "evaluation",
        "regime",
        "metric",
        "noise",
        "flipped",
        "method",
        "score",
        "score_low",
        "score_high",
        "rank",
        "rank_low",
        "rank_high",
        "tau",
        "tau_low",
        "n_draws",
    ),
    "disputed": (
        "dataset",
        "evaluation",
        "regime",
        "cell_id",
        "label_id",
        "label",
        "predicted",
        "predicted_label",
        "n_methods",
        "n_fits",
        "study",
        "donor",
    ),
    "disputed_labels": (
        "dataset",
        "evaluation",
        "regime",
        "label_id",
        "label",
        "predicted",
        "predicted_label",
        "n",
        "share",
    ),
}
MEANINGS = {
    "metric": "The primary metric, or macro F1 where that does not come from counts by class.",
    "noise": "Share of the test cells whose true label was to be flipped to a parent, child or sibling.",
    "flipped": "Share of the test cells that were flipped: a class without such a neighbour keeps its cells.",
    "score": "The metric with flipped labels, mean over draws of the cells to flip.",
    "score_low": "Smallest value of all draws.",
    "score_high": "Largest value of all draws.",
    "rank": "Median place among the methods.",
    "rank_low": "Best place in all draws.",
    "rank_high": "Worst place in all draws.",
    "tau": "Kendall's tau between the ranking and that without flipped labels, mean over draws; of all methods.",
    "tau_low": "Smallest tau of all draws.",
    "n_draws": "Number of draws of the cells to flip.",
    "cell_id": "Id of the cell.",
    "label_id": "Cell Ontology id of the label.",
    "label": "Name of the label.",
    "predicted": "Cell Ontology id of the label that all good methods give.",
    "predicted_label": "Its name.",
    "n_methods": "Number of good methods: those that score better than every control without information.",
    "n_fits": "Number of their fits that tested the cell, all of which gave the same label.",
    "study": "Study of the cell.",
    "donor": "Donor of the cell.",
    "n": "Number of disputed cells.",
    "share": "Share of all disputed cells of the evaluation.",
}
IN_REPORT = ("label_noise", "disputed_labels")


def label_noise(context: TableContext) -> pd.DataFrame:
    """How far scores and ranks of methods move where 5, 10 and 20 % of the true labels of the test cells are flipped
    along the edges of the ontology, to a parent, child or sibling among the true classes. Controls and decodings are
    not among the methods.

    The same cells are flipped for all methods. Of an evaluation with more than 20,000 test cells in a split a sample is
    looked at.
    """
    return noise_table(context.audits["label_noise"])


def noise_table(drawn: pd.DataFrame) -> pd.DataFrame:
    """From the files `label_noise` of all audits, with the columns of their evaluation."""
    from scipy.stats import kendalltau

    columns, rows = list(COLUMNS["label_noise"]), []
    for place, part in drawn.groupby(EVALUATION, sort=False) if len(drawn) else ():
        metric = METRICS[part["metric"].iloc[0]]
        losses = part.assign(loss=part["value"].map(metric.loss))
        plain = losses[losses["share"] == 0].set_index("method")["loss"]
        for share, of_share in losses.groupby("share"):
            wide = of_share.pivot(index="draw", columns="method", values="loss")[plain.index]
            ranks = wide.rank(axis=1, method="min")
            taus = [kendalltau(row, plain).statistic for row in wide.to_numpy()] if len(plain) > 1 else [np.nan]
            values = of_share.pivot(index="draw", columns="method", values="value")
            for method in plain.sort_values(kind="stable").index:
                about = dict(zip(EVALUATION, place, strict=True)) | {"metric": metric.name, "noise": share}
                about |= {"flipped": of_share["flipped"].mean(), "method": method, "score": values[method].mean()}
                about |= {"score_low": values[method].min(), "score_high": values[method].max()}
                about |= {"rank": ranks[method].median(), "rank_low": int(ranks[method].min())}
                about |= {"rank_high": int(ranks[method].max()), "tau": np.mean(taus), "tau_low": np.min(taus)}
                rows.append(about | {"n_draws": len(wide)})
    return pd.DataFrame(rows, columns=columns)


def disputed(context: TableContext) -> pd.DataFrame:
    """Test cells whose label all good methods dispute: in all their fits they give the same other label.

    A method is good where it scores better than every control without information; two of them are needed. Of an
    evaluation with more than 20,000 test cells in a split a sample is looked at.
    """
    columns, cells = list(COLUMNS["disputed"]), context.audits["disputed"]
    if cells.empty:
        return pd.DataFrame(columns=columns)
    names = {
        label_id: label_id if label_id == UNKNOWN else context.ontology.label(label_id)
        for label_id in {*cells["label_id"], *cells["predicted"]}
    }
    named = {"label": cells["label_id"].map(names), "predicted_label": cells["predicted"].map(names)}
    return cells.assign(**named)[columns]


def disputed_labels(context: TableContext) -> pd.DataFrame:
    """How many test cells of which label all good methods call which other label: the counts of `disputed`."""
    cells, columns = context.table("disputed"), list(COLUMNS["disputed_labels"])
    if cells.empty:
        return pd.DataFrame(columns=columns)
    keys = [*EVALUATION, "label_id", "label", "predicted", "predicted_label"]
    counts = cells.groupby(keys, sort=False).size().rename("n").reset_index()
    total = counts.groupby(EVALUATION)["n"].transform("sum")
    order = {"by": [*EVALUATION, "n"], "ascending": [True, True, True, False]}
    return counts.assign(share=counts["n"] / total).sort_values(kind="stable", ignore_index=True, **order)[columns]
