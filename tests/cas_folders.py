"""Annotation runs in the folder layout of cellarium-cas, and cells with true labels, for tests."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
from scipy.sparse import csr_matrix

from annobench.ontology import Ontology


def write_cells(path: Path, labels: Sequence[str], ids: Sequence[str] | None = None, **obs: Sequence[object]) -> Path:
    """An h5ad file with the true labels in `truth`, and other columns of obs."""
    index = ids if ids is not None else [f"cell{i}" for i in range(len(labels))]
    frame = pd.DataFrame({"truth": pd.Categorical(list(labels)), **obs}, index=list(index))
    matrix = csr_matrix(np.ones((len(labels), 3), dtype="float32"))
    ad.AnnData(matrix, obs=frame, var=pd.DataFrame(index=["G1", "G2", "G3"])).write_h5ad(path)
    return path


def write_run(
    folder: Path,
    cells: Path | str,
    ranks: Sequence[Sequence[str]],
    *,
    resource: Mapping[str, object],
    model: str = "model_a",
    ids: Sequence[str] | None = None,
    scores: Sequence[Sequence[float]] | None = None,
    answers: Sequence[Mapping[str, object]] = (),
) -> Path:
    """A run: `ranks` has the labels of all cells for every rank, best first, and `scores` theirs."""
    folder.mkdir(parents=True, exist_ok=True)
    index = ids if ids is not None else [f"cell{i}" for i in range(len(ranks[0]))]
    names = dict(resource["cell_ontology_term_id_to_cell_type"])  # type: ignore[call-overload]
    table = pd.DataFrame(index=list(index))
    for k, labels in enumerate(ranks, start=1):
        table[f"cas_cell_type_label_{k}"] = [names.get(label, label) for label in labels]
    for k, labels in enumerate(ranks, start=1):
        table[f"cas_cell_type_name_{k}"] = list(labels)
    for k in range(1, len(ranks) + 1):
        rising = [0.5 + 0.1 * k] * len(table)  # scores rise from rank to rank
        table[f"cas_cell_type_score_{k}"] = rising if scores is None else list(scores[k - 1])
    table.to_csv(folder / "inferred_labels.csv")
    about = {"input_path": str(cells), "model_name": model, "n_cells": len(table), "ontology_resource_name": "cl"}
    (folder / "metadata.json").write_text(json.dumps(about))
    (folder / "ontology_resource.json").write_text(json.dumps(resource))
    (folder / "ontology_response.json").write_text(json.dumps({"data": list(answers), "model_name": model}))
    return folder


def resource_of(ontology: Ontology) -> dict[str, object]:
    """The content of ontology_resource.json for all live terms of a release."""
    live = sorted(term for term in ontology.terms if not ontology.terms[term].obsolete)
    children: dict[str, list[str]] = {term: [] for term in live}
    for term in live:
        for parent in ontology.terms[term].parents:
            children.setdefault(parent, []).append(term)
    names = {term: ontology.label(term) for term in live}
    return {"cl_names": live, "cell_ontology_term_id_to_cell_type": names, "children_dictionary": children}
