"""Promises: a few words score predictions made elsewhere, in a folder of their own, and errors say what to do."""

import csv
import json
import os
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest

from annobench.data.ontology import from_wheel
from annobench.ontology import Ontology
from cas_folders import resource_of, write_cells, write_run
from helpers import TYPES, annobench
from repo import NO_NETWORK, Repo, can_be_offline

pytestmark = pytest.mark.xdist_group("score_command")
CELLS = 120
MODELS = {"lab/one": 0.9, "lab/two": 0.5}


@pytest.fixture(scope="module")
def repo(tmp_path_factory: pytest.TempPathFactory) -> Repo:
    return Repo(tmp_path_factory.mktemp("score"))


def truth(seed: int) -> list[str]:
    labels: list[str] = np.random.default_rng(seed).choice(TYPES, CELLS).tolist()
    return labels


def guess(labels: list[str], share: float, seed: int) -> list[str]:
    """The labels, right in a share of the cells."""
    rng = np.random.default_rng(seed)
    return np.where(rng.random(CELLS) < share, labels, rng.choice(TYPES, CELLS)).tolist()  # type: ignore[no-any-return]


def score(repo: Repo, *arguments: str, ok: bool = True, offline: bool = False) -> str:
    before = NO_NETWORK if offline and can_be_offline() else ()
    done = annobench(repo.folder, "score", *arguments, before=before, timeout=400)
    output = done.stdout + done.stderr
    assert (done.returncode == 0) == ok, output
    return output


def table(out: Path, name: str) -> list[dict[str, str]]:
    with open(out / "results" / "tables" / "score" / f"{name}.csv", newline="") as handle:
        return list(csv.DictReader(handle))


# two tables for one file


@pytest.fixture(scope="module")
def tables(repo: Repo, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The folder of a study of two tables, whose labels are names in one and ids in the other."""
    work = tmp_path_factory.mktemp("tables")
    names, labels = from_wheel("2026-03-26"), truth(1)
    plate = ["p1" if i % 2 else "p2" for i in range(CELLS)]
    donors = [f"d{i % 6}" for i in range(CELLS)]
    write_cells(work / "truth.h5ad", [names.label(label) for label in labels], donor_id=donors, **{"Plate Nr": plate})
    index = [f"cell{i}" for i in range(CELLS)]
    good = pd.DataFrame({"barcode": index, "label_id": guess(labels, 0.9, 2), "confidence": 0.5})
    good.iloc[::-1].to_csv(work / "oracle.csv", index=False)  # a name that a control has
    bad = pd.DataFrame({"predicted_label": [names.label(one) for one in guess(labels, 0.5, 3)]}, index=index)
    bad.to_csv(work / "bad.tsv", sep="\t")
    with h5py.File(work / "truth.h5ad", "r+") as file:
        del file["X"]  # expression is not read
    paths, cells = f"{work / 'oracle.csv'},{work / 'bad.tsv'}", str(work / "truth.h5ad")
    options = ("--label", "truth", "--cells", cells, "--out", str(work / "out"), "--groups", "Plate Nr")
    return work / "out", score(repo, paths, *options, offline=True)


def test_tables_are_compared_with_tests(tables: tuple[Path, str]) -> None:
    out, printed = tables
    assert "cell_id in 'barcode', label in 'label_id', confidence in 'confidence'; labels are Cell Ont" in printed
    assert "label in 'predicted_label'; labels are names of the Cell Ontology" in printed
    assert f"Report: {out}/results/report/score/index.html" in printed
    assert (out / "results" / "report" / "score" / "index.html").is_file()
    ranking = {row["label"]: row for row in table(out, "ranking")}
    assert (ranking["oracle"]["rank"], ranking["bad"]["rank"]) == ("1", "2")
    assert ranking["oracle"]["interval_over"] == "donors"
    assert float(ranking["Truth"]["score"]) == 1.0  # the control is still there
    (pair,) = (row for row in table(out, "tests") if row["metric"] == "macro_f1")
    assert {pair["method_a"], pair["method_b"]} == {"oracle_2", "bad"}
    expected = np.mean([a == b for a, b in zip(truth(1), guess(truth(1), 0.9, 2), strict=True)])
    assert float(ranking["oracle"]["accuracy"]) == pytest.approx(expected, abs=1e-6)
    assert {row["level"] for row in table(out, "groups")} == {"plate_nr"}


def test_the_folder_can_be_used_again(tables: tuple[Path, str], repo: Repo) -> None:
    out, _ = tables
    done = annobench(repo.folder, "run", "--study", str(out / "score.yaml"), timeout=400)
    assert "nothing to be done" in done.stdout + done.stderr
    assert not (repo.folder / "results" / "tables" / "score").exists()
    relative = os.path.relpath(out / "score.yaml", repo.folder)
    done = annobench(repo.folder, "plan", "--study", relative, timeout=400)
    assert "oracle_2" in done.stdout
    changed = out.parent / "bad.tsv"
    changed.write_text(changed.read_text().replace("cell3\t", "cell_3\t"))
    done = annobench(repo.folder, "run", "--study", relative, "--", "--dry-run", timeout=400)
    assert "jobs to do" in done.stdout + done.stderr


# runs of several models over several samples


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs of two models over two samples, in two folders of equal names."""
    work = tmp_path_factory.mktemp("runs")
    ontology = from_wheel("2025-04-10")
    for number, sample in enumerate(("Lung 1.h5ad", "Lung 2.h5ad")):
        labels = truth(number)
        assay = ["v2" if i % 3 else "v3" for i in range(CELLS)]
        cells = write_cells(work / sample, labels, assay=assay, donor_id=[f"d{i % 6}" for i in range(CELLS)])
        for model, share in MODELS.items():
            ranks = [guess(labels, share, 10 + number + k) for k in range(3)]
            folder = work / "all" / f"{model[-3:]}_{number}"
            write_run(folder, cells, ranks, resource=small(ontology), model=model)
    return work


def small(ontology: Ontology) -> dict[str, object]:
    """A resource with the types and all above them."""
    whole = resource_of(ontology)
    kept = sorted({above for label in TYPES for above in (label, *ontology.ancestors(label))})
    children = {term: [c for c in whole["children_dictionary"][term] if c in kept] for term in kept}  # type: ignore[index]
    names = {term: ontology.label(term) for term in kept}
    return {"cl_names": kept, "cell_ontology_term_id_to_cell_type": names, "children_dictionary": children}


@pytest.fixture(scope="module")
def cas(repo: Repo, runs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("cas") / "out"
    score(repo, str(runs / "all"), "--label", "truth", "--out", str(out), "--compat", "cas", "--groups", "assay")
    return out


def test_samples_are_datasets_and_models_are_methods(cas: Path) -> None:
    assert sorted(path.stem for path in (cas / "config" / "datasets").iterdir()) == ["lung_1", "lung_2"]
    assert sorted(path.stem for path in (cas / "config" / "methods").iterdir()) == ["lab_one", "lab_two"]
    ranked = [(row["dataset"], row["label"], row["rank"]) for row in table(cas, "ranking") if row["kind"] == "method"]
    for dataset in ("lung_1", "lung_2", "all"):
        assert [one[1:] for one in ranked if one[0] == dataset] == [("lab/one", "1"), ("lab/two", "2")]
    assert {row["dataset"] for row in table(cas, "tests")} >= {"lung_1", "lung_2"}
    assert table(cas, "failed") == []


def test_groups_have_values_and_intervals(cas: Path) -> None:
    rows = [row for row in table(cas, "groups") if row["method"] == "lab_one" and row["metric"] == "accuracy"]
    assert [(row["dataset"], row["level"], row["group"]) for row in rows] == [
        (dataset, "assay", group) for dataset in ("lung_1", "lung_2") for group in ("v2", "v3")
    ]
    labels = truth(0)
    right = [a == b for a, b in zip(labels, guess(labels, 0.9, 10), strict=True)]
    assert float(rows[0]["value"]) == pytest.approx(np.mean([r for i, r in enumerate(right) if i % 3]), abs=1e-6)
    assert (rows[0]["interval_over"], rows[0]["n_units"]) == ("donors", "4")
    assert float(rows[0]["low"]) < float(rows[0]["value"]) < float(rows[0]["high"])
    assert (rows[1]["n_units"], rows[1]["low"]) == ("2", "")  # two donors are too few


def test_compat_files_have_the_layout_and_the_values(cas: Path, runs: Path) -> None:
    names = sorted(path.name for path in (cas / "compat_cas").iterdir())
    assert [name for name in names if "assay" not in name and "macro" not in name] == [
        *("f_measure_per_group.csv", "f_measure_per_sample.csv"),
        *("hierarchical_f_measure_per_group.csv", "hierarchical_f_measure_per_sample.csv"),
    ]
    with open(cas / "compat_cas" / "f_measure_per_sample.csv", newline="") as handle:
        rows = list(csv.DictReader(handle))
    assert [row["model_name"] for row in rows] == ["lab/one", "lab/one", "lab/two", "lab/two"]
    assert rows[0]["test_sample"] == str(runs / "Lung 1.h5ad")
    accuracy = {(row["dataset"], row["label"]): row["accuracy"] for row in table(cas, "ranking")}
    assert float(rows[0]["f1_micro_k1"]) == pytest.approx(float(accuracy["lung_1", "lab/one"]), abs=1e-5)


# errors


def test_bad_input_is_named(repo: Repo, runs: Path, tmp_path: Path) -> None:
    out = ["--out", str(tmp_path / "out")]
    printed = score(repo, str(runs / "all"), "--label", "truht", *out, ok=False)
    assert "obs has no column 'truht'" in printed
    (tmp_path / "empty").mkdir()
    assert "there is no inferred_labels.csv" in score(repo, str(tmp_path / "empty"), "--label", "truth", *out, ok=False)
    other = tmp_path / "other"
    other.mkdir()
    printed = score(repo, str(runs / "all"), "--label", "truth", "--cells", str(other), *out, ok=False)
    assert f"there is no file '{other}/Lung 1.h5ad' with the true labels" in printed
    printed = score(repo, str(runs / "all"), "--label", "truth", "--cells", str(runs / "Lung 1.h5ad"), *out, ok=False)
    assert "the runs are of 2 samples" in printed
    (tmp_path / "some.csv").write_text("barcode,label\ncell1,CL:0000084\n")
    assert "CELLS is missing" in score(repo, str(tmp_path / "some.csv"), "--label", "truth", *out, ok=False)
    assert not (tmp_path / "out" / "score.yaml").exists()


def test_cells_of_another_dataset_fail_with_the_reason(repo: Repo, runs: Path, tmp_path: Path) -> None:
    cells = write_cells(tmp_path / "other.h5ad", truth(5), ids=[f"else{i}" for i in range(CELLS)])
    one = str(runs / "all" / "one_0")
    printed = score(repo, one, "--label", "truth", "--cells", str(cells), "--out", str(tmp_path / "out"), ok=False)
    assert "none of its 120 cells (such as 'cell0') is among the 120 test cells (such as 'else0')" in printed


def test_folders_of_equal_names_are_told_apart(repo: Repo, runs: Path, tmp_path: Path) -> None:
    about = json.loads((runs / "all" / "one_0" / "metadata.json").read_text())
    ranks = [guess(truth(0), 0.7, 3)]
    for place in ("a", "b"):
        folder = tmp_path / place / "run"
        write_run(folder, about["input_path"], ranks, resource=small(from_wheel("2025-04-10")), model="same")
    paths = f"{tmp_path / 'a' / 'run'} {tmp_path / 'b' / 'run'}"
    study = tmp_path / "out"
    printed = score(repo, paths, "--label", "truth", "--out", str(study))
    assert "same (a/run)" in printed
    assert {row["label"] for row in table(study, "ranking") if row["kind"] == "method"} == {
        "same (a/run)",
        "same (b/run)",
    }
