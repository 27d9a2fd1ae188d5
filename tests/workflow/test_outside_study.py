"""What is promised: files in the layouts of five programs, of real lung cells, are ranked by what they say.

Where the real data is missing, test_score_command.py covers the same readers and tables on made cells.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import anndata as ad
import pandas as pd
import pytest
import yaml
from sklearn.metrics import accuracy_score, f1_score

import outside_annotations
from annobench.ontology import Ontology
from helpers import annobench
from repo import Repo

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("outside")]
FILES = {"lung_travaglini": "travaglini2020_lca_1000", "lung_tabula_sapiens": "tabula_sapiens_lung_1000"}
CELLS = {"label": "cell_type_original", "label_id": "cell_type_ontology_term_id", "donor": "donor_id", "assay": "assay"}
READ = ["popv", "cas", "cas_longest", "cas_sure", "azimuth", "singler", "answers"]


@pytest.fixture(scope="module")
def outside(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Repo]:
    """A clone in which the study `outside` has been run on the local copies of both lungs."""
    repo = Repo(tmp_path_factory.mktemp("outside"))
    for dataset, name in FILES.items():
        file = real_data / "lung_multistudy" / f"{name}.h5ad"
        if not file.is_file():
            pytest.skip(f"real data for development is not here: there is no {file.name}")
        path = repo.folder / "config" / "datasets" / f"{dataset}.yaml"
        changed = yaml.safe_load(path.read_text()) | {"source": {"kind": "local", "path": str(file)}}
        changed["cells"] = CELLS
        del changed["unrelated"]  # would be fetched
        path.write_text(yaml.safe_dump(changed))
    repo.snakemake(*(f"results/data/{dataset}/cells.h5ad" for dataset in FILES), study="lung")
    outside_annotations.main(repo.folder / "results" / "outside", repo.folder / "results" / "data")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ANNOBENCH_DATA", str(real_data))  # where the model of CellTypist is
        repo.run("outside")
        yield repo


@pytest.fixture(scope="module")
def said(outside: Repo, ontology: Ontology) -> dict[str, "pd.Series[str]"]:
    """First labels of every cell, read from the files without the readers."""
    folder = outside.folder / "results" / "outside"
    names = {ontology.label(term).lower(): term for term in ontology.terms if term in ontology}
    popv = ad.read_h5ad(folder / "popv.h5ad").obs["popv_prediction"].astype(str)
    azimuth = pd.read_csv(folder / "azimuth.csv", index_col=0)["predicted.ann_finest_level"]
    walk = pd.read_csv(folder / "crosswalk.csv").set_index("tool_cell_label")["cl_id"]
    clusters = pd.read_csv(folder / "clusters.csv").set_index("cell_id")["cluster"]
    answers = pd.read_csv(folder / "answers.csv").set_index("cluster")["label"]
    return {
        "popv": popv.str.lower().map(names),
        "cas": pd.read_csv(folder / "cas" / "inferred_labels.csv", index_col=0)["cas_cell_type_name_1"],
        "cas_longest": deepest(folder / "cas", 0.2, "longest"),
        "cas_sure": deepest(folder / "cas", 0.8, "shortest"),
        "azimuth": azimuth.map(walk),
        "singler": pd.read_csv(folder / "singler.csv", index_col=0)["labels"].str.lower().map(names),
        "answers": clusters.map(answers).str.lower().map(names),
    }


def deepest(folder: Path, least: float, path: str) -> "pd.Series[str]":
    """The call of CAS for another lowest score, or by the longest path from the root."""
    depths = json.loads((folder / "ontology_resource.json").read_text())[f"{path}_path_lengths_from_cell_root"]
    calls = {}
    for answer in json.loads((folder / "ontology_response.json").read_text())["data"]:
        scores = {one["cell_type_ontology_term_id"]: one["score"] for one in answer["matches"]}
        sure = [term for term, score in scores.items() if score >= least]
        calls[answer["query_cell_id"]] = min(sure, key=lambda term: (-depths[term], -scores[term], term))
    return pd.Series(calls)


def truth(repo: Repo) -> "pd.Series[str]":
    return pd.read_parquet(repo.folder / "results/data/lung_tabula_sapiens/obs.parquet").set_index("cell_id")[
        "label_id"
    ]


def macro_f1(labels: "pd.Series[str]", predicted: "pd.Series[str]") -> float:
    """Over the types that are true for a cell."""
    return float(f1_score(labels, predicted.loc[labels.index], average="macro", labels=sorted(set(labels))))


def test_every_annotation_has_all_cells(outside: Repo) -> None:
    assert outside.table("failed", "outside") == []
    for name in READ:
        run = outside.folder / f"results/fits/lung_tabula_sapiens/zero_shot/outside_{name}/seed1/run.json"
        record = json.loads(run.read_text())
        assert record["status"] == "ok"
        notes = record["notes"]
        assert (notes["cells_joined"], notes["cells_missing"], notes["cells_surplus"]) == (1000, 0, 0)
        assert notes["cells_unmapped"] == 0


def test_the_ranking_has_the_values_of_the_files(outside: Repo, said: Mapping[str, "pd.Series[str]"]) -> None:
    ranking = {row["method"]: row for row in outside.table("ranking", "outside")}
    labels = truth(outside)
    labels = labels[labels != "unknown"]
    for name, predicted in said.items():
        row = ranking[f"outside_{name}"]
        assert float(row["score"]) == pytest.approx(macro_f1(labels, predicted), abs=1e-6), name
        assert float(row["accuracy"]) == pytest.approx(accuracy_score(labels, predicted.loc[labels.index]), abs=1e-6)
        assert float(row["low"]) < float(row["score"]) < float(row["high"])
        assert row["verdict"] == "informative"
    assert float(ranking["oracle"]["score"]) == 1
    methods = {f"outside_{name}" for name in READ} | {"celltypist_luca"}
    assert methods <= set(ranking)
    pairs = {(row["method_a"], row["method_b"]) for row in outside.table("tests", "outside")}
    assert {name for pair in pairs for name in pair} >= methods


def test_calls_above_the_truth_cost_accuracy_and_hardly_any_hierarchical_f1(outside: Repo) -> None:
    ranking = {row["method"]: row for row in outside.table("ranking", "outside")}
    shortest, longest = ranking["outside_cas"], ranking["outside_cas_longest"]
    assert float(longest["accuracy"]) - float(shortest["accuracy"]) > 0.2
    assert abs(float(longest["hierarchical_f1_micro"]) - float(shortest["hierarchical_f1_micro"])) < 0.1
    above: dict[str, int] = {}
    for row in outside.table("error_relations", "outside"):
        if row["relation"] == "above" and row["dataset"] == "lung_tabula_sapiens":
            above[row["method"]] = above.get(row["method"], 0) + int(row["n"])
    assert above.get("outside_cas_longest", 0) < above["outside_cas"] < above["outside_cas_sure"]


def test_a_second_run_does_nothing(outside: Repo) -> None:
    assert "nothing to be done" in outside.run("outside").lower()


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("popv.h5ad", ["--kind", "obs", "--column", "popv_prediction"]),
        ("azimuth.csv", ["--kind", "azimuth", "--crosswalk", "crosswalk.csv"]),
    ],
)
def test_the_command_gives_the_numbers_of_the_study(
    outside: Repo, tmp_path: Path, name: str, options: list[str]
) -> None:
    folder = outside.folder / "results" / "outside"
    given = [str(folder / one) if one.endswith(".csv") else one for one in options]
    cells = str(outside.folder / "results/data/lung_tabula_sapiens/cells.h5ad")
    out = tmp_path / "out"
    common = ["--label", "label_id", "--cells", cells, "--out", str(out)]
    done = annobench(outside.folder, "score", str(folder / name), *common, *given, timeout=400)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (out / "results/report/score/index.html").is_file()
    ranking = pd.read_csv(out / "results/tables/score/ranking.csv")
    (score,) = ranking[(ranking["kind"] == "method") & (ranking["dataset"] == "cells")]["score"]
    expected = {row["method"]: row["score"] for row in outside.table("ranking", "outside")}
    assert score == pytest.approx(float(expected[f"outside_{Path(name).stem}"]), abs=1e-6)
