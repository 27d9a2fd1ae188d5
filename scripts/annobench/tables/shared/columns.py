"""Columns that many tables have, and their meaning.

A declared column in angle brackets, such as `<control>`, is a placeholder for any number of columns; a table has at
most one.
"""

from collections.abc import Sequence

EVALUATION = ["dataset", "evaluation", "regime"]

# a literal: annobench.config.tables reads it without importing this file
MEANINGS = {
    "because": "The rule behind the verdict, where a metric is not evidence or undecided.",
    "dataset": "Dataset; `all` where a row is over the whole study.",
    "difference": "Value of the second minus value of the first.",
    "evaluation": "Entry of the study's `evaluations`; `all` where a row is over the whole study.",
    "family": "Metric family.",
    "fit_seconds": "Wall time of training (s).",
    "group": "Group within the level: a class, a study, a tissue, a confidence bin; `all` where there are no groups.",
    "high": "Upper end of the interval; empty where there is none.",
    "kind": "`method` or `control`.",
    "label": "Name of the cell type.",
    "label_id": "Cell Ontology id of the cell type.",
    "label_set": "Classes that a mean is over: `truth`, `either`, `shared`, `ood`; `-` where there is no such mean.",
    "level": "What a value describes: overall, class, bin, rule, fit, or a kind of group of test cells.",
    "low": "Lower end of the interval; empty where there is none.",
    "method": "Method, control, or decoding of a method.",
    "metric": "Metric.",
    "model_bytes": (
        "Bytes that the method itself saved: of an adapted backbone the adapter and the head, not the base; empty "
        "where no model is kept."
    ),
    "n": "Number of test cells.",
    "n_fits": "Number of finished fits that the value is a mean of.",
    "n_planned": "Number of planned fits.",
    "n_units": "Number of units that the interval resamples.",
    "p_holm": "The p-value after Holm's correction over the family.",
    "p_value": "Two-sided p-value.",
    "predict_seconds": "Wall time of prediction (s); empty where training and prediction are one step.",
    "peak_rss_mb": "Peak resident memory of the largest process of the fit (MB).",
    "reading": "How the metric is read: as `published`, or its `fair` reading.",
    "reason": "Reason, in one line.",
    "regime": "Regime of the evaluation; `all` where a row is over the whole study.",
    "rule": "Confidence rule: `raw`, `softmax`, `zscore` or `calibrated`; `-` where the metric has none.",
    "seed": "Seed of the fit.",
    "sees_test_cells": "Whether the method looks at the test cells, without their labels, while it fits.",
    "split": "Split; `all` for the mean over the splits of the evaluation.",
    "status": "How the fit ended: ok, failed, killed, timeout, skipped, or missing.",
    "total_parameters": "Number of all parameters, trained or not, where the method states it.",
    "trainable_parameters": "Number of trainable parameters.",
    "value": "Value of the metric.",
    "variant": "Label set or reading of the metric; `-` where it has only one.",
    "verdict": "Verdict of the audit: informative, not evidence, undecided, untested, descriptive, or cost.",
}


def filled(columns: Sequence[str], names: Sequence[str]) -> list[str]:
    """Declared columns with the one in angle brackets replaced by names."""
    return [name for column in columns for name in (names if column.startswith("<") else [column])]


def matches(columns: Sequence[str], declared: Sequence[str]) -> bool:
    """Whether the columns of a table are the declared ones."""
    open_at = next((i for i, column in enumerate(declared) if column.startswith("<")), None)
    if open_at is None:
        return list(columns) == list(declared)
    more = len(columns) - len(declared) + 1
    return more >= 0 and list(columns) == filled(declared, columns[open_at : open_at + more])
