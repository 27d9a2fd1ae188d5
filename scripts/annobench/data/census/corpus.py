"""The choice of cell types for a corpus: the four rules of scTab, as its code applies them.

A type is kept if it lies below a root (native cell) and has enough cells, samples and ancestors. All four rules are
applied to the same table, before anything is removed. Fischer et al., Nature Communications 2024,
doi 10.1038/s41467-024-51059-5.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypedDict

import numpy as np

from annobench.core.errors import DataError
from annobench.core.parquet import Categorical
from annobench.ontology import Ontology

if TYPE_CHECKING:
    from numpy.typing import NDArray


class TypeRow(TypedDict):
    """A cell type in the record: its cells, donors (samples) and ancestors, and the rules that it breaks."""

    label_id: str
    label: str
    cells: int
    donors: int
    ancestors: int
    breaks: list[str]


@dataclass(frozen=True)
class CorpusRules:
    """The least that a type must have; it must be a strict descendant of `root`."""

    root: str
    min_cells: int
    min_donors: int
    min_ancestors: int


def kept_types(
    label_id: Categorical, sample: Categorical, ontology: Ontology, rules: CorpusRules
) -> "tuple[NDArray[np.bool_], list[TypeRow]]":
    """Judge the cell types of a table of cells.

    Parameters
    ----------
    label_id, sample
        Cell Ontology id and sample (a donor of a dataset) of every cell, (n,).
    ontology
        Gives the ancestors.
    rules
        The least that a type must have.

    Returns
    -------
    Which cells (n,) belong to a type that is kept, and a row for every type, sorted by id.

    Raises
    ------
    DataError
        Where the ontology has no such root.
    """
    if rules.root not in ontology:
        state = "is obsolete in" if rules.root in ontology.terms else "is not a term of"
        raise DataError(
            f"source.corpus.root: {rules.root} {state} Cell Ontology {ontology.release}, so no type could be below it; "
            "name an earlier release in source.corpus.ontology (native cell, CL:0000003, is obsolete in releases after "
            "2023-08-24)"
        )
    kinds = len(label_id.names)
    cells = np.bincount(label_id.codes, minlength=kinds)
    pairs = np.unique(label_id.codes.astype(np.int64) * len(sample.names) + sample.codes)
    samples = np.bincount(pairs // max(len(sample.names), 1), minlength=kinds)
    table: list[TypeRow] = []
    kept = np.zeros(kinds, dtype=bool)
    for kind, name in enumerate(label_id.names):
        above = ontology.ancestors(name)
        broken = [
            rule
            for rule, holds in (
                ("not_below_root", rules.root in above),
                ("too_few_cells", cells[kind] >= rules.min_cells),
                ("too_few_donors", samples[kind] >= rules.min_donors),
                ("too_few_ancestors", len(above) >= rules.min_ancestors),
            )
            if not holds
        ]
        kept[kind] = not broken
        table.append(
            {
                "label_id": name,
                "label": ontology.label(name),
                "cells": int(cells[kind]),
                "donors": int(samples[kind]),
                "ancestors": len(above),
                "breaks": broken,
            }
        )
    return kept[label_id.codes], sorted(table, key=lambda row: row["label_id"])
