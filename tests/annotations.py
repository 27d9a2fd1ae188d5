"""Files of predictions that were made elsewhere, as annotation programs write them, and their way into a fit."""

from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd

from annobench.config.parameters import resolve_parameters
from annobench.fit.method import Context, Notes
from annobench.fit.predictions import Predictions, joined, validate
from annobench.methods.imported import Imported
from annobench.ontology import ROOT, Ontology

B, T, CD4, CD8, MONOCYTE = "CL:0000236", "CL:0000084", "CL:0000624", "CL:0000625", "CL:0000576"


def fit(ontology: Ontology, reader: str, path: Path, *names: str, **more: Any) -> tuple[Predictions, Notes]:
    """Imported predictions of some cells, as a study gets them, and the notes of the run record."""
    parameters = {"path": str(path), "reader": reader, **more}
    method = Imported(**resolve_parameters("imported", parameters, lambda *keys: "my.yaml"))  # type: ignore[arg-type]
    method.fit(ad.AnnData(obs=pd.DataFrame(index=[])), Context(seed=1, classes=[], ontology=ontology))
    query = ad.AnnData(obs=pd.DataFrame(index=list(names)))
    found = validate(joined(list(method.predict(query))), names, ontology.terms)
    assert method.notes is not None
    return found, method.notes


def written(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def same(one: Predictions, other: Predictions) -> bool:
    numbers = [
        a is b if a is None or b is None else np.array_equal(a, b)
        for a, b in ((one.scores, other.scores), (one.confidence, other.confidence))
    ]
    return one.labels.tolist() == other.labels.tolist() and all(numbers)


def h5ad(folder: Path, obs: pd.DataFrame, name: str = "cells.h5ad") -> Path:
    ad.AnnData(np.ones((len(obs), 2), dtype="float32"), obs=obs).write_h5ad(folder / name)
    return folder / name


METADATA = (
    '"","nCount_RNA","predicted.l1.score","predicted.l1","predicted.l2.score","predicted.l2","mapping.score"\n'
    '"c1",10,0.99,"T","0.75","CD4 TCM",0.5\n'
    '"c2",12,0.9,"T",0.5,"CD8 Naive",0.5\n'
    '"c3",11,0.8,"B",0.8,"B odd",0.5\n'
    '"c4",9,0.7,"B",NA,NA,0.5\n'
)
CROSSWALK = (
    "tool_cell_label,cl_id,cl_label\n"
    f'CD4 TCM,{CD4},"CD4-positive, alpha-beta T cell"\n'
    f'CD8 Naive,{CD8},"CD8-positive, alpha-beta T cell"\n'
    f"T,{T},T cell\nB,{B},B cell\nT,CL_0000084,T cell\nB odd,,\n"
)

NAMES = {
    "CL:0000000": "cell",
    "CL:0000255": "eukaryotic cell",
    "CL:0000084": "T cell",
    "CL:0000624": "CD4-positive, alpha-beta T cell",
    "CL:0000625": "CD8-positive, alpha-beta T cell",
    "CL:0000236": "B cell",
}
CHILDREN = {ROOT: ["CL:0000255"], "CL:0000255": [T, B], T: [CD4, CD8]}
SHORT = {ROOT: 0, "CL:0000255": 1, T: 2, B: 2, CD4: 3, CD8: 3}
RESOURCE: dict[str, Any] = {
    "cl_names": list(NAMES),
    "cell_ontology_term_id_to_cell_type": NAMES,
    "children_dictionary": CHILDREN,
    "shortest_path_lengths_from_cell_root": SHORT,
    "longest_path_lengths_from_cell_root": {**SHORT, B: 9},
}
