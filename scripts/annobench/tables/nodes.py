"""The training classes of the regime `release` as nodes of the ontology, and the cells of each."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from annobench.core.parquet import NOT_GIVEN, Categorical, column_names, read_columns
from annobench.ontology import UNKNOWN
from annobench.tables.shared.classes import node_classes, relatives
from annobench.tables.shared.context import TableContext
from annobench.tables.shared.spec import ScoredSplit

if TYPE_CHECKING:
    from numpy.typing import NDArray

COLUMNS = {
    "nodes": (
        "dataset",
        "split",
        "label_id",
        "label",
        "node_class",
        "n_ancestors",
        "n_descendants",
        "train_cells",
        "train_studies",
        "train_donors",
        "train_tissues",
        "train_assays",
        "id_cells",
        "ood_cells",
    ),
    "edges": ("dataset", "split", "parent", "child"),
}
MEANINGS = {
    "split": "Split that is fitted.",
    "node_class": "`internal` (a training class lies below it), `leaf_connected` (only above it) or `leaf_isolated`.",
    "n_ancestors": "Training classes above it.",
    "n_descendants": "Training classes below it.",
    "train_cells": "Cells that train, after balancing.",
    "train_studies": "Studies among all its cells with the role `train`.",
    "train_donors": "Donors among them.",
    "train_tissues": "Tissues among them.",
    "train_assays": "Assays among them.",
    "id_cells": "Test cells of the same release.",
    "ood_cells": "Test cells of the later release.",
    "parent": "Cell Ontology id of the class above.",
    "child": "Cell Ontology id of the class below.",
}
_COUNTED = {"train_studies": "study", "train_donors": "donor", "train_tissues": "tissue", "train_assays": "assay"}
_PARTS = {"id_cells": "reference", "ood_cells": "query"}


def nodes(context: TableContext) -> pd.DataFrame:
    """The training classes of every release evaluation, with their place in the ontology and their cells.

    Cells are those of the first seed that has files.
    """
    views: dict[tuple[str, str], list[ScoredSplit]] = {}
    for split in context.spec.splits:
        if split.part:
            views.setdefault((split.dataset, split.fitted), []).append(split)
    parts = []
    for scored in views.values():
        seeds = [seed for seed in scored[0].seeds if _has_files(context, scored, seed)]
        if seeds:
            parts.append(_nodes(context, scored, seeds[0]))
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=COLUMNS["nodes"])


def edges(context: TableContext) -> pd.DataFrame:
    """Edges of the ontology between the training classes, without those that other edges imply."""
    rows = [
        (dataset, split, *pair)
        for (dataset, split), part in context.table("nodes").groupby(["dataset", "split"], sort=False)
        for pair in context.ontology.reduced_edges(part["label_id"])
    ]
    return pd.DataFrame(rows, columns=COLUMNS["edges"])


def _has_files(context: TableContext, scored: Sequence[ScoredSplit], seed: int) -> bool:
    """Whether the training cells and the roles of all views are there: a partial study may lack some."""
    train = context.results.train(scored[0].dataset, scored[0].fitted, seed)
    roles = [context.results.roles(view.dataset, view.split, seed) for view in scored]
    return all(Path(file).is_file() for file in [train, *roles])


def _nodes(context: TableContext, scored: Sequence[ScoredSplit], seed: int) -> pd.DataFrame:
    """The classes that one split trains; `scored` are the views of its fits."""
    results, ontology = context.results, context.ontology
    dataset, fitted = scored[0].dataset, scored[0].fitted
    obs = results.obs(dataset)
    training = _column(results.train(dataset, fitted, seed), "label_id").counts()
    classes = sorted(set(training) - {UNKNOWN})
    labels = _column(obs, "label_id").recode(classes)
    above, below = relatives(classes, ontology)
    kinds = node_classes(classes, ontology)
    table: dict[str, object] = {
        **{"dataset": dataset, "split": fitted, "label_id": classes},
        "label": [ontology.label(label) for label in classes],
        "node_class": [kinds[label] for label in classes],
        **{"n_ancestors": above, "n_descendants": below},
        "train_cells": [training[label] for label in classes],
    }
    roles = {view.part: _column(results.roles(dataset, view.split, seed), "role") for view in scored}
    train = np.flatnonzero((next(iter(roles.values())) == "train") & (labels >= 0))
    given = column_names(obs)
    for name, column in _COUNTED.items():
        table[name] = _different(labels[train], _column(obs, column)[train], len(classes)) if column in given else 0
    for name, part in _PARTS.items():
        test = labels[roles[part] == "test"] if part in roles else labels[:0]
        table[name] = np.bincount(test[test >= 0], minlength=len(classes))
    return pd.DataFrame(table)[list(COLUMNS["nodes"])]


def _column(path: str, name: str) -> Categorical:
    column: Categorical = read_columns(path, [name], categorical=[name])[name]
    return column


def _different(labels: "NDArray[np.int32]", values: Categorical, classes: int) -> "NDArray[np.intp]":
    """How many different values the cells of each class have; one that is not given does not count."""
    there = np.zeros((classes, len(values.names) + 1), dtype=bool)
    there[labels, values.codes] = True  # the last column is that of missing ones
    known = [i for i, name in enumerate(values.names) if name != NOT_GIVEN]
    number: NDArray[np.intp] = there[:, known].sum(axis=1)
    return number
