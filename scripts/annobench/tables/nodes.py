"""The classes that are trained, as nodes of the ontology, and what cells there are of them."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from annobench.config.results import Results
from annobench.core.parquet import NOT_GIVEN, Categorical, column_names, read_columns
from annobench.ontology import UNKNOWN, Ontology

if TYPE_CHECKING:
    from numpy.typing import NDArray

NODE_CLASSES = ("internal", "leaf_connected", "leaf_isolated")
_COUNTED = {
    "train_studies": "study",
    "train_donors": "donor",
    "train_tissues": "tissue",
    "train_assays": "assay",
}
_PARTS = {"id_cells": "reference", "ood_cells": "query"}
NODES = ["dataset", "split", "label_id", "label", "node_class", "n_ancestors", "n_descendants", "train_cells"]
NODES += [*_COUNTED, *_PARTS]
EDGES = ["dataset", "split", "parent", "child"]


def node_classes(classes: Iterable[str], ontology: Ontology) -> dict[str, str]:
    """Kind of every class among others: `internal` has one below it, `leaf_connected` only above, `leaf_isolated` none.

    Related are classes through the whole ontology, whatever lies between them.
    """
    chosen = sorted(set(classes) - {UNKNOWN})
    above, below = _relatives(chosen, ontology)
    kinds = np.where(below > 0, 0, np.where(above > 0, 1, 2))
    return {label: NODE_CLASSES[kind] for label, kind in zip(chosen, kinds, strict=True)}


def _relatives(classes: Sequence[str], ontology: Ontology) -> "tuple[NDArray[np.intp], NDArray[np.intp]]":
    """How many of the classes are ancestors of each, and how many descendants; (classes,) each."""
    matrix = ontology.reachability(classes)
    return matrix.sum(axis=0) - 1, matrix.sum(axis=1) - 1


def training_classes(dataset: str, fitted: str, seeds: Iterable[int]) -> list[str]:
    """Classes that any seed of a split trains, sorted; empty where there are no such files."""
    found: set[str] = set()
    for path in (Path(Results().train(dataset, fitted, seed)) for seed in seeds):
        if path.is_file():
            found |= set(read_columns(path, ["label_id"], categorical=["label_id"])["label_id"].counts())
    return sorted(found - {UNKNOWN})


def nodes_and_edges(splits: Sequence[Mapping[str, Any]], ontology: Ontology) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The training classes of every release evaluation, and the edges between them without detours.

    `splits` lists dataset, regime, split, fitted, seeds and spec. Cells are those of the first seed that is there:
    train_cells as balanced, studies, donors, tissues and assays those of all cells with the role `train`; id_cells and
    ood_cells are the test cells of the same release and of the later one.
    """
    views: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for split in splits:
        if split["regime"] == "release":
            views.setdefault((split["dataset"], split["fitted"]), []).append(split)
    nodes, edges = [], []
    for (dataset, fitted), scored in views.items():
        seeds = [seed for seed in scored[0]["seeds"] if _there(dataset, fitted, scored, seed)]
        if seeds:
            part = _nodes(dataset, fitted, scored, seeds[0], ontology)
            nodes.append(part)
            edges += [(dataset, fitted, *pair) for pair in ontology.reduced_edges(part["label_id"])]
    table = pd.concat(nodes, ignore_index=True) if nodes else pd.DataFrame(columns=NODES)
    return table, pd.DataFrame(edges, columns=EDGES)


def _there(dataset: str, fitted: str, scored: Iterable[Mapping[str, Any]], seed: int) -> bool:
    files = [
        Results().train(dataset, fitted, seed),
        *(Results().roles(dataset, view["split"], seed) for view in scored),
    ]
    return all(Path(file).is_file() for file in files)


def _nodes(
    dataset: str, fitted: str, scored: Sequence[Mapping[str, Any]], seed: int, ontology: Ontology
) -> pd.DataFrame:
    obs = Results().obs(dataset)
    training = read_columns(Results().train(dataset, fitted, seed), ["label_id"], categorical=["label_id"])[
        "label_id"
    ].counts()
    classes = sorted(set(training) - {UNKNOWN})
    labels = _column(obs, "label_id").recode(classes)
    above, below = _relatives(classes, ontology)
    kinds = node_classes(classes, ontology)
    found: dict[str, Any] = {
        **{"dataset": dataset, "split": fitted, "label_id": classes},
        "label": [ontology.label(label) for label in classes],
        "node_class": [kinds[label] for label in classes],
        **{"n_ancestors": above, "n_descendants": below},
        "train_cells": [training[label] for label in classes],
    }
    roles = {view["spec"]["part"]: _column(Results().roles(dataset, view["split"], seed), "role") for view in scored}
    train = np.flatnonzero((next(iter(roles.values())) == "train") & (labels >= 0))
    given = column_names(obs)
    for name, column in _COUNTED.items():
        found[name] = _different(labels[train], _column(obs, column)[train], len(classes)) if column in given else 0
    for name, part in _PARTS.items():
        test = labels[roles[part] == "test"] if part in roles else labels[:0]
        found[name] = np.bincount(test[test >= 0], minlength=len(classes))
    return pd.DataFrame(found)[NODES]


def _column(path: str, name: str) -> Categorical:
    column: Categorical = read_columns(path, [name], categorical=[name])[name]
    return column


def _different(labels: "NDArray[np.int32]", values: Categorical, classes: int) -> "NDArray[np.intp]":
    """How many different values the cells of each class have; one that is not given is none."""
    there = np.zeros((classes, len(values.names) + 1), dtype=bool)
    there[labels, values.codes] = True  # the last column is that of missing ones
    known = [i for i, name in enumerate(values.names) if name != NOT_GIVEN]
    found: NDArray[np.intp] = there[:, known].sum(axis=1)
    return found
