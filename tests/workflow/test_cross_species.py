"""What is promised: a probe has the fit that it reads made, across organisms too, and shares its fate."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from annobench.workflow.launch import failed_records
from repo import Repo

pytestmark = pytest.mark.xdist_group("cross_species")
FITS = "results/fits/simulated_organisms/crossorganism_{}/{}/seed1/run.json"
PAIRS = ("homo_sapiens_to_mus_musculus", "mus_musculus_to_homo_sapiens")


@pytest.fixture(scope="module")
def crossed(tmp_path_factory: pytest.TempPathFactory) -> Repo:
    """A clone in which a probe has been run from one simulated organism to the other and back."""
    repo = Repo(tmp_path_factory.mktemp("crossed"))
    evaluations = [{"dataset": "simulated_organisms", "regime": "cross_organism"}]
    repo.study("crossed", methods=["probe_pca"], controls=["majority"], evaluations=evaluations, figures=[])
    repo.run("crossed")
    return repo


def record(repo: Repo, pair: str, method: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((repo.folder / FITS.format(pair, method)).read_text())
    return found


def test_what_a_probe_reads_is_fitted_and_not_shown(crossed: Repo) -> None:
    assert {row["method"] for row in crossed.table("ranking", "crossed")} == {"probe_pca", "majority"}
    assert crossed.table("failed", "crossed") == []
    for pair in PAIRS:
        assert record(crossed, pair, "pca_train")["status"] == "ok"
        assert list(record(crossed, pair, "probe_pca")["uses"]) == ["pca_train"]
    assert not list((crossed.folder / "results/scores").glob("*/*/knn"))
    scores = {row["method"]: float(row["score"]) for row in crossed.table("ranking", "crossed")}
    assert scores["probe_pca"] > 0.8 > 0.2 > scores["majority"]


def test_classes_of_one_organism_are_counted(crossed: Repo) -> None:
    there, back = crossed.table("splits", "crossed")
    assert (there["train_on"], there["test_on"]) == ("Homo sapiens", "Mus musculus")
    for row, other in ((there, back), (back, there)):
        assert (row["left_out_classes_train"], row["left_out_classes_test"], row["unseen"]) == ("1", "1", "0")
        assert int(row["left_out_train"]) == int(other["left_out_test"]) > 0
        assert (row["classes_train"], row["classes_test"]) == ("6", "6")
    log = crossed.folder / f"results/logs/split_dataset/simulated_organisms/crossorganism_{PAIRS[0]}/seed1.log"
    said = f"left out of the test side: {there['left_out_test']} cells of classes that only it has (CL:0000451"
    assert said in log.read_text()


def test_a_new_fit_of_what_it_reads_refits_a_probe(crossed: Repo) -> None:
    assert crossed.jobs("crossed") == {}
    path = crossed.folder / FITS.format(PAIRS[0], "pca_train")
    text, times = path.read_text(), path.stat()
    path.write_text(json.dumps(json.loads(text) | {"host": "another"}))
    assert crossed.jobs("crossed")["fit_method"] == 1
    path.write_text(text)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


def test_a_probe_without_what_it_reads_is_skipped_and_both_are_tried_again(
    crossed: Repo, monkeypatch: pytest.MonkeyPatch
) -> None:
    crossed.edit("config/methods/pca_train.yaml", "fitted_on: train", "fitted_on: train, n_components: 0")
    runs = [FITS.format(pair, "probe_pca") for pair in PAIRS]
    crossed.snakemake(*runs, study="crossed")
    for pair in PAIRS:
        base, probe = record(crossed, pair, "pca_train"), record(crossed, pair, "probe_pca")
        assert (base["status"], probe["status"]) == ("failed", "skipped")
        reason = f"it reads the embedding of 'pca_train' (uses.embedding), whose fit failed: {base['reason']}"
        assert probe["reason"] == reason
    monkeypatch.chdir(crossed.folder)
    again = failed_records(str(Path("config/studies/crossed.yaml").absolute()))
    assert sorted(again) == sorted([*runs, *(FITS.format(pair, "pca_train") for pair in PAIRS)])
