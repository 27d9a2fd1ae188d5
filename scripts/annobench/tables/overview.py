"""Tables that describe: all scores, confusion, calibration, classes and their tree, sizes of the splits."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from annobench.config.results import Results
from annobench.core.parquet import read_columns
from annobench.ontology import UNKNOWN, Ontology
from annobench.ontology.tree import class_tree
from annobench.score.score_fit import COLUMNS
from annobench.tables.audit import Verdicts
from annobench.tables.shared.fits import EVALUATION, Fits

_BY_METHOD = [*EVALUATION, "method"]


def scores(fits: Fits, verdicts: Verdicts) -> pd.DataFrame:
    """All values of all fits, long, with the verdict of the audit on metrics that are audited."""
    parts = []
    for fit in fits.runs:
        part = pd.DataFrame(fit.rows(fit.scores))
        found = [verdicts.of_score(fit.dataset, fit.evaluation, row) for row in part.itertuples(index=False)]
        parts.append(part.assign(verdict=found))
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=[*COLUMNS, "verdict"])


def confusion(fits: Fits) -> pd.DataFrame:
    """Cells per true and predicted label, summed over splits and seeds."""
    parts = [
        pd.DataFrame(fit.rows(fit.confusion, ["true", "predicted", "n"])).assign(**fit.belongs, method=fit.method)
        for fit in fits.ok
    ]
    keys = [*_BY_METHOD, "true", "predicted"]
    if not parts:
        return pd.DataFrame(columns=[*keys, "n"])
    return pd.concat(parts).groupby(keys, sort=True)["n"].sum().reset_index()


def calibration(fits: Fits, scores: pd.DataFrame) -> pd.DataFrame:
    """Accuracy and mean confidence per confidence bin, over all fits of a method, weighted by cells."""
    columns = [*_BY_METHOD, "bin", "bin_accuracy", "bin_confidence", "n"]
    bins = _with_evaluation(fits, scores[scores["level"] == "bin"]).rename(columns={"group": "bin"})
    if bins.empty:
        return pd.DataFrame(columns=columns)
    keys = [*_BY_METHOD, "bin"]
    summed = bins.assign(total=bins["value"] * bins["n"]).groupby([*keys, "metric"])[["total", "n"]].sum()
    table = (summed["total"] / summed["n"]).unstack("metric").join(summed["n"].groupby(level=keys).max())
    return table.reset_index()[columns]


def classes(fits: Fits, scores: pd.DataFrame) -> pd.DataFrame:
    """Mean precision, recall and F1 of every class, over the fits in whose test cells it occurs."""
    columns = [*_BY_METHOD, "label_id", "label", "precision", "recall", "f1", "cells", "n_fits"]
    rows = _with_evaluation(fits, scores[scores["level"] == "class"]).rename(columns={"group": "label_id"})
    if rows.empty:
        return pd.DataFrame(columns=columns)
    keys = [*_BY_METHOD, "label_id"]
    table = rows.pivot_table(index=keys, columns="metric", values="value", aggfunc="mean")
    cells = rows[rows["metric"] == "f1"].groupby(keys)["n"].agg(["mean", "size"])
    table = table.join(cells.rename(columns={"mean": "cells", "size": "n_fits"})).reset_index()
    return table.assign(label=[fits.ontology.label(i) for i in table["label_id"]])[columns]


def trees(classes: pd.DataFrame, ontology: Ontology) -> pd.DataFrame:
    """A tree of each dataset's classes under the ontology, for drawing."""
    rows = []
    for dataset, part in classes.groupby("dataset"):
        for node in class_tree(sorted(part["label_id"].unique()), ontology):
            rows.append({"dataset": dataset, **node})
    return pd.DataFrame(rows, columns=["dataset", "label_id", "label", "parent", "is_class"])


def split_sizes(splits: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Sizes of every split that is there: cells per role, classes, and test cells whose class no training cell has.

    `splits` lists dataset, evaluation, regime, split, fitted, seeds and spec.
    """
    spec_columns = ["fold", "fraction", "held_out"]
    counted = ["train", "val", "test", "unused", "classes_train", "classes_test", "unseen", "unknown"]
    rows = []
    for split in splits:
        for seed in split["seeds"]:
            roles = Path(Results().roles(split["dataset"], split["split"], seed))
            train = Path(Results().train(split["dataset"], split["fitted"], seed))
            if not (roles.is_file() and train.is_file()):
                continue
            obs = Results().obs(split["dataset"])
            labels = read_columns(obs, ["label_id"], categorical=["label_id"])["label_id"]
            role = read_columns(roles, ["role"], categorical=["role"])["role"]
            training = read_columns(train, ["label_id"], categorical=["label_id"])["label_id"].counts()
            test, of_role = labels[role == "test"].counts(), role.counts()
            unseen = sum(n for label, n in test.items() if label not in training and label != UNKNOWN)
            sizes = [sum(training.values()), *(of_role.get(name, 0) for name in counted[1:4])]
            sizes += [len(training), len(set(test) - {UNKNOWN}), unseen, test.get(UNKNOWN, 0)]
            rows.append(
                {
                    **{key: split[key] for key in (*EVALUATION, "split")},
                    "seed": seed,
                    **{key: split["spec"].get(key) for key in spec_columns},
                    **dict(zip(counted, sizes, strict=True)),
                }
            )
    return pd.DataFrame(rows, columns=[*EVALUATION, "split", "seed", *spec_columns, *counted])


def _with_evaluation(fits: Fits, scores: pd.DataFrame) -> pd.DataFrame:
    """Scores with the columns that name their evaluation."""
    known = {(fit.dataset, fit.split): (fit.evaluation, fit.regime) for fit in fits.planned}
    found = [known[pair] for pair in zip(scores["dataset"], scores["split"], strict=True)]
    return scores.assign(evaluation=[e for e, _ in found], regime=[r for _, r in found])
