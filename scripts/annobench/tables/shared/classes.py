"""Classes as nodes of the ontology, and the classes that a split trains."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from annobench.config.results import Results
from annobench.core.parquet import read_columns
from annobench.ontology import UNKNOWN, Ontology

if TYPE_CHECKING:
    from numpy.typing import NDArray

NODE_CLASSES = ("internal", "leaf_connected", "leaf_isolated")


def node_classes(classes: Iterable[str], ontology: Ontology) -> dict[str, str]:
    """Kind of every class among others: `internal` has one below it, `leaf_connected` only above, `leaf_isolated` none.

    Classes are related through the whole ontology, whatever lies between them.
    """
    chosen = sorted(set(classes) - {UNKNOWN})
    above, below = relatives(chosen, ontology)
    kinds = np.where(below > 0, 0, np.where(above > 0, 1, 2))
    return {label: NODE_CLASSES[kind] for label, kind in zip(chosen, kinds, strict=True)}


def relatives(classes: Sequence[str], ontology: Ontology) -> "tuple[NDArray[np.intp], NDArray[np.intp]]":
    """How many of the classes are ancestors of each, and how many are descendants; (classes,) each."""
    matrix = ontology.reachability(classes)
    return matrix.sum(axis=0) - 1, matrix.sum(axis=1) - 1


def training_classes(dataset: str, fitted: str, seeds: Iterable[int], results: Results) -> list[str]:
    """Classes that any seed of a split trains, sorted; empty where there are no such files."""
    classes: set[str] = set()
    for path in (Path(results.train(dataset, fitted, seed)) for seed in seeds):
        if path.is_file():
            classes |= set(read_columns(path, ["label_id"], categorical=["label_id"])["label_id"].counts())
    return sorted(classes - {UNKNOWN})
