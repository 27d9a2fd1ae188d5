"""Annotations of real lung cells, in the files that popV, Cellarium CAS, Azimuth, SingleR and language models leave.

None of these programs runs here. Models of scikit-learn stand in for them: they learn from the cells of Travaglini
2020, annotate those of Tabula Sapiens, and their answers are written as each program writes its own.

Command, once both datasets are prepared: `.venv/bin/python tests/outside_annotations.py results/outside`
"""

import sys
from collections import Counter
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import csr_matrix, diags
from scipy.stats import rankdata
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.svm import LinearSVC

from annobench.data.ontology import from_wheel
from annobench.methods.shared.cas import Resource
from annobench.ontology import ROOT, UNKNOWN, Ontology
from cas_folders import write_run

RELEASE = "2026-03-26"  # of the Cell Ontology: the one that studies use where they name none
REFERENCE, QUERY = "lung_travaglini", "lung_tabula_sapiens"
GENES, COMPONENTS, NEIGHBOURS, CLUSTERS, RANKS = 2000, 30, 15, 25, 3
MIN_SCORE = 0.2  # of a call of CAS
# coarse labels and their ids: a type has the first that is at or above it
LINEAGES = {"Immune": "CL:0000738", "Endothelial": "CL:0000115", "Epithelial": "CL:0000066", "Stroma": "CL:0002320"}
GROUPS = {
    "Lymphoid": "CL:0000542",
    "Myeloid": "CL:0000766",
    "Alveolar epithelium": "CL:0000322",
    "Airway epithelium": "CL:0000082",
    "Fibroblast lineage": "CL:0000057",
    "Smooth muscle": "CL:0000192",
    **LINEAGES,
}
NOWHERE = "None"  # of a type without a coarse label; Azimuth has such labels too, and the crosswalk has no id for it


class Lung:
    """Reference and query on the genes that vary most in the reference, and the types of the reference."""

    def __init__(self, data: Path) -> None:
        """Read the cells that were prepared in a folder such as results/data."""
        reference, query = (ad.read_h5ad(data / name / "cells.h5ad") for name in (REFERENCE, QUERY))
        reference = reference[(reference.obs["label_id"].astype(str) != UNKNOWN).to_numpy()]
        symbols = [_once(part.var["feature_name"].astype(str)) for part in (reference, query)]
        shared = sorted(set(symbols[0]) & set(symbols[1]))
        values = [
            _log_normalised(part.X[:, [own[gene] for gene in shared]])
            for part, own in zip((reference, query), symbols, strict=True)
        ]
        kept = np.sort(np.argsort(-values[0].var(axis=0), kind="stable")[:GENES])
        self.train, self.test = values[0][:, kept], values[1][:, kept]
        self.types = reference.obs["label_id"].astype(str).to_numpy()
        self.cells = list(query.obs_names)

    @cached_property
    def components(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Principal components of reference and query."""
        pca = PCA(COMPONENTS, svd_solver="randomized", random_state=1).fit(self.train)
        return pca.transform(self.train), pca.transform(self.test)

    @cached_property
    def logistic(self) -> tuple[NDArray[np.str_], NDArray[np.float64]]:
        """Classes, and their probabilities in the query by logistic regression."""
        model = LogisticRegression(max_iter=500).fit(self.train, self.types)
        return model.classes_, model.predict_proba(self.test)

    def correlations(self, cells: NDArray[np.float64]) -> tuple[NDArray[np.str_], NDArray[np.float64]]:
        """Classes, and the rank correlation of cells with the mean of each."""
        classes = np.unique(self.types)
        means = np.stack([self.train[self.types == name].mean(axis=0) for name in classes])
        ranks = [rankdata(part, axis=1) for part in (cells, means)]
        centred = [part - part.mean(axis=1, keepdims=True) for part in ranks]
        scaled = [part / np.linalg.norm(part, axis=1, keepdims=True) for part in centred]
        return classes, scaled[0] @ scaled[1].T


def _once(names: "pd.Series[str]") -> dict[str, int]:
    """Columns of the symbols that only one gene has."""
    counts = Counter(names)
    return {name: column for column, name in enumerate(names) if name and counts[name] == 1}


def _log_normalised(counts: csr_matrix) -> NDArray[np.float64]:
    """Log1p of counts per 10,000."""
    counts = csr_matrix(counts, dtype="float64")
    totals = np.maximum(np.asarray(counts.sum(axis=1)).ravel(), 1)
    return np.log1p((diags(1e4 / totals) @ counts).toarray())


def write_popv(path: Path, lung: Lung, ontology: Ontology) -> None:
    """Columns of obs that popV 0.4 writes: the answer of every method, the majority, and how many agree with it."""
    classes, probabilities = lung.logistic
    train, test = lung.components
    methods = {
        "popv_celltypist_prediction": classes[probabilities.argmax(axis=1)],
        "popv_knn_on_bbknn_prediction": KNeighborsClassifier(5).fit(train, lung.types).predict(test),
        "popv_rf_prediction": RandomForestClassifier(200, random_state=1)
        .fit(lung.train, lung.types)
        .predict(lung.test),
        "popv_svm_prediction": LinearSVC(C=0.01, random_state=1).fit(lung.train, lung.types).predict(lung.test),
    }
    votes = [Counter(answers).most_common(1)[0] for answers in zip(*methods.values(), strict=True)]
    obs = pd.DataFrame({name: [ontology.label(one) for one in ids] for name, ids in methods.items()}, index=lung.cells)
    obs["popv_majority_vote_prediction"] = obs["popv_prediction"] = [ontology.label(label) for label, _ in votes]
    obs["popv_majority_vote_score"] = obs["popv_prediction_score"] = [agree for _, agree in votes]
    ad.AnnData(obs=obs).write_h5ad(path)


def write_cas(folder: Path, lung: Lung, ontology: Ontology) -> None:
    """A run of CAS: the score of a term is the share of the nearest cells whose type is at or below it.

    Calls are the deepest terms with a score of at least MIN_SCORE, ordered as CAS orders them.
    """
    resource = Resource.of(ontology)
    train, test = lung.components
    near = KNeighborsClassifier(NEIGHBOURS).fit(train, lung.types)
    above = {name: sorted({name, ROOT, *resource.ancestors(name)}) for name in near.classes_}
    ids, scores, answers = [], [], []
    for cell, shares in zip(lung.cells, near.predict_proba(test), strict=True):
        found: dict[str, float] = {}
        for name, share in zip(near.classes_, shares, strict=True):
            for term in above[name] if share > 0 else ():
                found[term] = found.get(term, 0) + share
        found = {term: round(score, 6) for term, score in sorted(found.items())}
        calls = [term for term, score in found.items() if score >= MIN_SCORE]
        calls.sort(key=lambda term: (-resource.depths["shortest"][term], -found[term], term))
        calls = (calls + [ROOT] * RANKS)[:RANKS]
        ids.append(calls)
        scores.append([found[term] for term in calls])
        matches = [
            {"score": score, "cell_type_ontology_term_id": term, "cell_type": ontology.label(term)}
            for term, score in found.items()
        ]
        counts = {"total_weight": float(NEIGHBOURS), "total_neighbors": NEIGHBOURS, "total_neighbors_unrecognized": 0}
        answers.append({"query_cell_id": cell, "matches": matches, **counts})
    write_run(
        folder,
        f"{QUERY}.h5ad",
        list(zip(*ids, strict=True)),
        resource=resource.document(),
        model="stand_in_for_cas",
        ids=lung.cells,
        scores=list(zip(*scores, strict=True)),
        answers=answers,
    )


def write_azimuth(metadata: Path, crosswalk: Path, lung: Lung, ontology: Ontology) -> None:
    """The metadata of a Seurat object that Azimuth annotated at three levels, and the ids of its labels."""
    classes, probabilities = lung.logistic
    levels = {
        "ann_level_1": {name: _coarse(name, LINEAGES, ontology) for name in classes},
        "ann_level_2": {name: _coarse(name, GROUPS, ontology) for name in classes},
        "ann_finest_level": {name: ontology.label(name).capitalize() for name in classes},
    }
    fine = classes[probabilities.argmax(axis=1)]
    table = pd.DataFrame(index=lung.cells)
    for level, label_of in levels.items():
        labels = np.array([label_of[name] for name in classes])
        chosen = np.array([label_of[name] for name in fine])
        score = (probabilities * (labels[None, :] == chosen[:, None])).sum(axis=1)
        table[f"predicted.{level}.score"] = score.round(6)
        table[f"predicted.{level}"] = chosen
    table.to_csv(metadata)
    ids = {label: name for name, label in levels["ann_finest_level"].items()} | GROUPS | {NOWHERE: ""}
    rows = [(label, label_id, ontology.label(label_id)) for label, label_id in ids.items()]
    pd.DataFrame(rows, columns=["tool_cell_label", "cl_id", "cl_label"]).to_csv(crosswalk, index=False)


def _coarse(name: str, table: Mapping[str, str], ontology: Ontology) -> str:
    above = {name, *ontology.ancestors(name)}
    return next((label for label, label_id in table.items() if label_id in above), NOWHERE)


def write_singler(path: Path, lung: Lung, ontology: Ontology) -> None:
    """Scores, labels and pruned labels as SingleR writes them: rank correlations with the types of the reference."""
    classes, scores = lung.correlations(lung.test)
    names = [ontology.label(name) for name in classes]
    best = scores.argmax(axis=1)
    table = pd.DataFrame(scores.round(6), index=lung.cells, columns=[f"scores.{name}" for name in names])
    table["labels"] = np.array(names)[best]
    ordered = np.sort(scores, axis=1)
    table["delta.next"] = (ordered[:, -1] - ordered[:, -2]).round(6)
    delta = pd.Series(ordered[:, -1] - np.median(scores, axis=1), index=lung.cells)
    groups = delta.groupby(table["labels"])
    middle = groups.transform("median")
    spread = 1.4826 * (delta - middle).abs().groupby(table["labels"]).transform("median")
    table["pruned.labels"] = table["labels"].where(delta >= middle - 3 * spread)
    table.to_csv(path, na_rep="NA")


def write_answers(clusters: Path, answers: Path, lung: Lung, ontology: Ontology) -> None:
    """The cluster of every cell, and one answer for each, such as a language model gives."""
    found = KMeans(CLUSTERS, n_init=10, random_state=1).fit_predict(lung.components[1])
    pd.DataFrame({"cell_id": lung.cells, "cluster": found}).to_csv(clusters, index=False)
    means = np.stack([lung.test[found == cluster].mean(axis=0) for cluster in range(CLUSTERS)])
    classes, scores = lung.correlations(means)
    labels = [ontology.label(name) for name in classes[scores.argmax(axis=1)]]
    pd.DataFrame({"cluster": range(CLUSTERS), "label": labels}).to_csv(answers, index=False)


def main(folder: Path, data: Path = Path("results/data")) -> None:
    """Write all files into a folder, from the cells that were prepared in another."""
    folder.mkdir(parents=True, exist_ok=True)
    ontology, lung = from_wheel(RELEASE), Lung(data)
    write_popv(folder / "popv.h5ad", lung, ontology)
    write_cas(folder / "cas", lung, ontology)
    write_azimuth(folder / "azimuth.csv", folder / "crosswalk.csv", lung, ontology)
    write_singler(folder / "singler.csv", lung, ontology)
    write_answers(folder / "clusters.csv", folder / "answers.csv", lung, ontology)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
