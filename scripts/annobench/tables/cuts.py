"""Cuts for a wanted error, and conformal sets: what was promised on validation cells, and what held on test cells."""

import numpy as np
import pandas as pd

from annobench.tables.shared.columns import EVALUATION
from annobench.tables.shared.context import TableContext
from annobench.tables.shared.fits import with_evaluation
from annobench.tables.shared.tested import Tested

COLUMNS = {
    "cuts": (
        "dataset",
        "evaluation",
        "regime",
        "split",
        "method",
        "wanted_error",
        "cut",
        "validation_kept",
        "validation_error",
        "low",
        "high",
        "kept",
        "error",
        "error_highest",
        "accepted_noise",
        "accepted_shuffled",
        "accepted_unrelated_tissue",
        "accepted_doublets",
        "set_coverage",
        "set_size",
        "set_single",
        "n_with_cut",
        "n_fits",
    ),
}
MEANINGS = {
    "wanted_error": "Share of wrong cells that is accepted among the cells kept.",
    "cut": "Calibrated confidence from which on a cell is kept; mean over the fits with a cut.",
    "validation_kept": "Share of the validation cells that are kept; mean over the fits with a cut.",
    "validation_error": "Share of wrong cells among these.",
    "low": "Lower end of the exact 95 % interval of the error on validation cells; mean over the fits with a cut.",
    "high": "Upper end of the exact 95 % interval of the error on validation cells; mean over the fits with a cut.",
    "kept": "Share of the test cells that are kept; none is in a fit without a cut.",
    "error": "Share of wrong cells among these; mean over the fits that keep any.",
    "error_highest": "The same in the fit where it is highest.",
    "accepted_noise": "Share of noise that is kept.",
    "accepted_shuffled": "Share of shuffled cells that are kept.",
    "accepted_unrelated_tissue": "Share of cells of an unrelated tissue that are kept.",
    "accepted_doublets": "Share of simulated doublets that are kept, where the study keeps them.",
    "set_coverage": "Share of the test cells whose conformal set holds the true label.",
    "set_size": "Mean number of labels in a conformal set.",
    "set_single": "Share of the test cells whose conformal set is one label.",
    "n_with_cut": "Fits in which a cut keeps the error on validation cells so low; in others all cells are unknown.",
    "n_fits": "Number of finished fits with validation cells and decision values.",
    "split": "Split that is shown by itself (a share of the labels); `all` for the splits of the evaluation together.",
}
_MEANS = {
    "cut": ("cut_confidence", "-"),
    "validation_kept": ("cut_validation_kept", "-"),
    "validation_error": ("cut_validation_error", "-"),
    "low": ("cut_validation_low", "-"),
    "high": ("cut_validation_high", "-"),
    "kept": ("cut_kept", "-"),
    "error": ("cut_error", "-"),
    "accepted_noise": ("cut_accepted", "noise"),
    "accepted_shuffled": ("cut_accepted", "shuffled"),
    "accepted_unrelated_tissue": ("cut_accepted", "unrelated_tissue"),
    "accepted_doublets": ("cut_accepted", "doublets"),
    "set_coverage": ("conformal_coverage", "-"),
    "set_size": ("conformal_size", "-"),
    "set_single": ("conformal_single", "-"),
}


def cuts(context: TableContext) -> pd.DataFrame:
    """The confidence above which the error is at most a wanted one, found on validation cells with a guarantee, and
    what it holds on the test cells and on unrelated ones; conformal sets beside it; shares of the labels apart.
    """
    columns = list(COLUMNS["cuts"])
    scores = context.table("scores")
    mine = scores[(scores["family"] == "cuts") & (scores["level"] == "error")]
    if mine.empty:
        return pd.DataFrame(columns=columns)
    mine = context.once(Tested).grouped(with_evaluation(mine, context.fits))
    rows = []
    for key, part in mine.groupby([*EVALUATION, "split", "method", "group"], sort=False):
        about = dict(zip([*EVALUATION, "split", "method", "wanted_error"], key, strict=True))
        values = {of: found["value"] for of, found in part.groupby(["metric", "label_set"])}
        means = {name: _mean(values.get(of)) for name, of in _MEANS.items()}
        errors, cut = values.get(_MEANS["error"]), values.get(_MEANS["cut"])
        rows.append(
            {
                **{**about, "wanted_error": float(about["wanted_error"])},
                **means,
                "error_highest": np.nan if errors is None else float(errors.max()),
                "n_with_cut": 0 if cut is None else len(cut),
                "n_fits": len(part[["draw", "seed"]].drop_duplicates()),
            }
        )
    return pd.DataFrame(rows, columns=columns)


def _mean(values: "pd.Series | None") -> float:
    return np.nan if values is None else float(values.mean())
