"""Where errors go on the Cell Ontology: how predictions relate to the truth, and confusion at several depths."""

import pandas as pd

from annobench.ontology import UNKNOWN, Ontology
from annobench.ontology.tree import class_tree
from annobench.tables.shared.context import TableContext

COLUMNS = {
    "error_relations": (
        "dataset",
        "evaluation",
        "regime",
        "split",
        "method",
        "label_id",
        "label",
        "relation",
        "n",
        "cells",
        "share",
    ),
    "confusion_depths": (
        "dataset",
        "evaluation",
        "regime",
        "split",
        "method",
        "depth",
        "true",
        "predicted",
        "true_label",
        "predicted_label",
        "n",
        "cells",
        "n_fits",
        "n_trained",
    ),
}
MEANINGS = {
    "label_id": "Cell Ontology id of the true label.",
    "label": "Name of the true label.",
    "relation": "Of the prediction to the truth: `exact`, `below` (more special), `above` (more general), `sibling` (a "
    "common parent in the tree of all labels), `elsewhere` or `unknown`.",
    "split": "Split that is shown by itself (a share of the labels); `all` for the splits of the evaluation together.",
    "n": "Number of tests: a cell counts in every fit that tests it.",
    "cells": "Number of test cells, each counted once; shared where fits differ. Empty where the files of a split are "
    "gone.",
    "share": "Share of the cells of the true label.",
    "depth": "Depth in the tree of all labels: 1 for its topmost nodes. A label above it stands for itself.",
    "true": "Cell Ontology id of the node of the true label.",
    "predicted": "Cell Ontology id of the node of the predicted label, or unknown.",
    "true_label": "Name of the node of the true label.",
    "predicted_label": "Name of the node of the predicted label.",
    "n_fits": "Number of fits that test labels of the true node: the most of any label.",
    "n_trained": "In how many of them a training cell has such a label: the most of any label, so that 0 is none.",
}
PLACE = ["dataset", "evaluation", "regime", "split", "method"]


def error_relations(context: TableContext) -> pd.DataFrame:
    """How the predictions for the cells of every type relate to it in the ontology."""
    confusion = context.table("confusion")
    parts = []
    for _, part in confusion.groupby("dataset", sort=False):
        parents = _parents(part, context.ontology)
        relation = [
            _relation(true, predicted, parents, context.ontology)
            for true, predicted in zip(part["true"], part["predicted"], strict=True)
        ]
        parts.append(part.assign(relation=relation))
    columns = list(COLUMNS["error_relations"])
    if not parts:
        return pd.DataFrame(columns=columns)
    keys = [*PLACE, "true", "relation"]
    table = _summed(pd.concat(parts), keys).rename(columns={"true": "label_id"})
    total = table.groupby([*PLACE, "label_id"])["n"].transform("sum")
    names = [context.ontology.label(label_id) for label_id in table["label_id"]]
    return table.assign(label=names, share=table["n"] / total)[columns]


def confusion_depths(context: TableContext) -> pd.DataFrame:
    """Cells per true and predicted label, both replaced by the nodes that they lie below at every depth of the tree."""
    parts = []
    for _, part in context.table("confusion").groupby("dataset", sort=False):
        parents = _parents(part, context.ontology)
        paths = {label: _path(label, parents) for label in {*part["true"], *part["predicted"]}}
        for depth in range(1, max(map(len, paths.values())) + 1):
            cut = {label: path[min(depth, len(path)) - 1] for label, path in paths.items()}
            parts.append(part.assign(depth=depth, true=part["true"].map(cut), predicted=part["predicted"].map(cut)))
    columns = list(COLUMNS["confusion_depths"])
    if not parts:
        return pd.DataFrame(columns=columns)
    keys = [*PLACE, "depth", "true", "predicted"]
    rows = pd.concat(parts)
    table = _summed(rows, keys)
    of_node = [*PLACE, "depth", "true"]  # whichever label of it is predicted
    trained = rows.groupby(of_node)[["n_fits", "n_trained"]].max().reset_index()
    table = table.merge(trained, on=of_node, how="left", validate="many_to_one")
    names = {f"{of}_label": [_name(node, context.ontology) for node in table[of]] for of in ("true", "predicted")}
    return table.assign(**names)[columns]


def _summed(table: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    """Counts summed over all that is not among the keys; empty cells stay empty."""
    by = table.groupby(keys, sort=True)
    return by["n"].sum().to_frame().join(by["cells"].sum(min_count=1)).reset_index()


def _name(node: str, ontology: Ontology) -> str:
    return node if node == UNKNOWN else ontology.label(node)


def _parents(confusion: pd.DataFrame, ontology: Ontology) -> dict[str, str]:
    """Parent of every node in the tree of the true and predicted labels; empty for the topmost."""
    labels = sorted({*confusion["true"], *confusion["predicted"]} - {UNKNOWN})
    return {node["label_id"]: node["parent"] for node in class_tree(labels, ontology)}


def _path(label: str, parents: dict[str, str]) -> list[str]:
    """The nodes from the top to a label."""
    path = [label]
    while parent := parents.get(path[0], ""):
        path.insert(0, parent)
    return path


def _relation(true: str, predicted: str, parents: dict[str, str], ontology: Ontology) -> str:
    if predicted == UNKNOWN:
        return "unknown"
    if predicted == true:
        return "exact"
    if predicted in ontology.ancestors(true):
        return "above"
    if true in ontology.ancestors(predicted):
        return "below"
    shared = parents.get(true, "") and parents.get(true) == parents.get(predicted)
    return "sibling" if shared else "elsewhere"
