"""The model of a fit, applied to cells from anywhere: the labels of the fit itself, in every form, or a refusal."""

import json
import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy.sparse import csc_matrix, csr_matrix

from annobench.__main__ import main
from annobench.config.entities import load_method
from annobench.config.method_facts import Abilities, Needs
from annobench.core.errors import AnnobenchError
from annobench.core.parquet import write_columns
from annobench.core.paths import ROOT
from annobench.fit.annotate import annotate
from annobench.fit.annotate_job import AnnotateJob, DecodingOptions, ReadOptions
from annobench.fit.calibration import Platt, strength
from annobench.fit.cuts import Ladder
from annobench.fit.decisions import read_decisions
from annobench.fit.job import Facts, FitFiles, FitJob, FitSettings, Identity, Keep, Limits, MethodSettings
from annobench.fit.parent import run_fit
from annobench.fit.predictions_file import read
from annobench.fit.run_record import RunRecord
from annobench.methods.importers.table import read as import_table
from annobench.ontology import UNKNOWN, Ontology
from annobench.score.join import read_scored
from annobench.score.truths import read_truths
from helpers import cells

SHORT = {"epochs": 3, "min_steps": 20}
METHODS = ["logistic_regression", "nearest_centroid", "knn", "linear_hce"]
Fit = Callable[[str], Path]


@pytest.fixture(scope="module")
def data(ontology: Ontology) -> ad.AnnData:
    """Three studies; two hundred cells; a class and its subtype among the five."""
    return cells(ontology, cells=240, genes=120, seed=3)


@pytest.fixture(scope="module")
def fit(data: ad.AnnData, ontology: Ontology, tmp_path_factory: pytest.TempPathFactory) -> Fit:
    """Gives the folder of a real fit of a method: 140 training, 40 validation and 60 test cells."""
    place = tmp_path_factory.mktemp("fits")
    whole = data.copy()
    whole.obs["label"] = whole.obs["label_original"] = whole.obs["label_id"]
    whole.write_h5ad(place / "cells.h5ad")
    roles = ["train"] * 140 + ["val"] * 40 + ["test"] * 60
    write_columns(place / "split.parquet", {"cell_id": list(data.obs_names), "role": roles})
    train = data.obs.iloc[:140]
    columns = {"cell_id": list(train.index), "label_id": list(train["label_id"]), "source": list(train["study"])}
    write_columns(place / "train.parquet", columns)
    ontology.save(place / "cl.json")
    names = {"cells": "cells.h5ad", "split": "split.parquet", "train": "train.parquet", "ontology": "cl.json"}
    files = FitFiles.from_params({key: str(place / name) for key, name in names.items()})

    @cache
    def folder(name: str) -> Path:
        method = load_method(name, ROOT, "")
        settings = MethodSettings(
            implementation=method["implementation"],
            parameters=method["parameters"] | ({"recipe": SHORT} if name == "linear_hce" else {}),
            exec=None,
            needs=Needs.from_params(method["needs"]),
            abilities=Abilities.from_params(method["abilities"]),
            environment=method["environment"],
        )
        keep = Keep(model=True, probabilities=True, decisions=True, embedding=False, embedding_roles=("test",))
        job = FitJob(
            settings=FitSettings(method=settings, device="cpu", keep=keep, top_k=3, training="all"),
            identity=Identity(dataset="toy", split="holdout", method=name, seed=1),
            files=files,
            limits=Limits(memory_mb=4000, seconds=300),
            facts=Facts(data_sha256="0" * 64, code="abc", downloads={}),
            threads=1,
            downloads={},
        )
        run_fit(job, place / name / "seed1", place / f"{name}.attempt.json")
        record = RunRecord.read(place / name / "seed1" / "run.json")
        assert record.status == "ok", record.reason
        return place / name / "seed1"

    return folder


def written(folder: Path, cells: ad.AnnData, name: str = "new.h5ad") -> Path:
    """Cells as a user has them: no labels, nothing of ours."""
    path = folder / name
    new = cells.copy()
    new.obs = new.obs[["donor"]]
    new.uns.clear()
    new.write_h5ad(path)
    return path


def table(fit: Path, cells: Path, out: Path, **more: Any) -> pd.DataFrame:
    read_options = ReadOptions(**more.pop("read", {}))
    annotate(AnnotateJob(fit, cells, out, read_options, **more), say=lambda text: None)
    if out.suffix == ".csv":
        return pd.read_csv(out).set_index("cell_id")
    if out.suffix == ".parquet":
        return pd.read_parquet(out).set_index("cell_id")
    return ad.read_h5ad(out).obs


@pytest.mark.parametrize("name", METHODS)
def test_the_test_cells_of_a_fit_get_its_labels(name: str, data: ad.AnnData, fit: Fit, tmp_path: Path) -> None:
    path = written(tmp_path, data[180:])
    expected = read(fit(name) / "predictions.parquet")
    found = table(fit(name), path, tmp_path / "out.parquet")
    assert found.index.tolist() == list(expected.cell_ids)
    assert found["label_id"].tolist() == expected.labels[:, 0].tolist()
    assert found["label_id_3"].tolist() == expected.labels[:, 2].tolist()
    assert expected.scores is not None
    assert np.allclose(found["score_2"], expected.scores[:, 1], atol=1e-6)
    # the folder `model` suffices, wherever it lies; a few cells at a time, or all at once
    moved = shutil.copytree(fit(name) / "model", tmp_path / "moved")
    again = table(moved, path, tmp_path / "again.parquet", block=7)
    numbers = found.select_dtypes("number").columns
    assert again.drop(columns=numbers).equals(found.drop(columns=numbers))
    assert np.allclose(again[numbers], found[numbers], atol=1e-6)


def test_the_calibrated_confidence_is_that_of_the_validation_cells(data: ad.AnnData, fit: Fit, tmp_path: Path) -> None:
    found = table(fit("logistic_regression"), written(tmp_path, data[180:]), tmp_path / "out.parquet")
    decisions = read_decisions(fit("logistic_regression") / "decisions.npz")
    judged, test = decisions["part"] == "validation", decisions["part"] == "test"
    right = decisions["labels"][judged] == data.obs["label_id"].loc[decisions["cell_ids"][judged]].to_numpy()
    calibration = Platt(strength(decisions["decisions"][judged]), right)
    expected = pd.Series(calibration(strength(decisions["decisions"][test])), decisions["cell_ids"][test])
    assert np.allclose(found["confidence_calibrated"], expected.loc[found.index], atol=1e-4)


def test_h5ad_csv_and_parquet_say_the_same(
    data: ad.AnnData, fit: Fit, ontology: Ontology, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    new = data[180:].copy()
    new.layers["counts"] = new.X.copy()
    new.obsm["X_umap"] = np.zeros((60, 2))
    path = written(tmp_path, new)
    before = path.read_bytes()
    parquet = table(fit("knn"), path, tmp_path / "out.parquet")
    text = table(fit("knn"), path, tmp_path / "out.csv")
    assert text["label"].tolist() == parquet["label"].tolist() == [ontology.label(i) for i in parquet["label_id"]]
    assert np.allclose(text["confidence"], parquet["confidence"], atol=1e-5)
    annotate(AnnotateJob(fit("knn"), path, tmp_path / "out.h5ad", block=11))
    assert path.read_bytes() == before
    found = ad.read_h5ad(tmp_path / "out.h5ad")
    assert list(found.obs) == ["donor", *parquet.columns]
    assert isinstance(found.obs["label"].dtype, pd.CategoricalDtype)
    assert found.obs["label"].cat.categories.tolist() == sorted(set(parquet["label"]))
    for name in parquet:
        column = found.obs[name]
        if name.startswith("label"):
            assert column.astype(str).tolist() == parquet[name].tolist()
        else:
            assert np.allclose(column, parquet[name])
    assert np.array_equal(found.X.toarray(), new.X.toarray())
    assert np.array_equal(found.layers["counts"].toarray(), new.X.toarray())
    assert found.obsm["X_knn"].shape[0] == 60
    assert found.obsm["X_umap"].shape == (60, 2)
    about = found.uns["annobench"]["annotation"]
    assert about["model"]["method"] == "knn"
    assert about["ontology"] == ontology.release
    assert set(about["model_sha256"]) >= {"annobench.json", "annobench_genes.parquet"}
    assert about["genes"]["found_by_id"] == 120
    report = json.loads((tmp_path / "out.h5ad.json").read_text())
    assert report["genes"]["model"] == 120
    assert report["missing_genes"] == []
    printed = capsys.readouterr().out
    assert "model: knn (toy, holdout, seed 1), 5 classes" in printed
    assert "genes: 120 of the 120 of the model (100.0%) are in the file, 120 matched by Ensembl id" in printed
    assert "median calibrated confidence: " in printed
    assert "unknown: 0.0% of 60 cells" in printed


@pytest.mark.filterwarnings("ignore:.* names are not unique")
def test_genes_are_matched_by_id_or_symbol_in_any_order(data: ad.AnnData, fit: Fit, tmp_path: Path) -> None:
    name, new = "linear_hce", data[180:].copy()
    expected = table(fit(name), written(tmp_path, new), tmp_path / "a.parquet")["label_id"].tolist()
    shuffled = new[:, np.random.default_rng(0).permutation(new.n_vars)].copy()
    symbols = shuffled.copy()
    symbols.var = pd.DataFrame(index=list(symbols.var["feature_name"]))
    assert table(fit(name), written(tmp_path, symbols), tmp_path / "b.parquet")["label_id"].tolist() == expected
    versions = shuffled.copy()
    ids = [f"{gene}.7" for gene in shuffled.var["feature_id"]]
    versions.var = pd.DataFrame({"gene_ids": ids}, index=[f"g{i}" for i in range(120)])
    assert table(fit(name), written(tmp_path, versions), tmp_path / "c.parquet")["label_id"].tolist() == expected
    # further genes change nothing, and of two columns of a gene the one with more counts is taken
    more = ad.concat([shuffled, shuffled[:, :3].copy()], axis=1, merge="first")
    more.X = csr_matrix(np.hstack([shuffled.X.toarray(), np.zeros((60, 3), dtype="float32")]))
    other = ad.AnnData(csr_matrix(np.full((60, 2), 9, dtype="float32")), obs=new.obs.copy())
    other.var = pd.DataFrame({"feature_id": "", "feature_name": ["odd", "odder"]}, index=["odd", "odder"])
    more = ad.concat([more, other], axis=1, merge="first")
    more.obs = new.obs.copy()
    found = table(fit(name), written(tmp_path, more), tmp_path / "d.parquet")
    assert found["label_id"].tolist() == expected
    genes = json.loads((tmp_path / "d.parquet.json").read_text())["genes"]
    assert genes == {
        **{"model": 120, "found": 120, "found_by_id": 120, "found_by_symbol": 0, "missing": 0},
        **{"cells": 122, "unused": 2, "duplicates": 3, "not_genes": 0},
    }


def test_missing_genes_are_zero(data: ad.AnnData, fit: Fit, tmp_path: Path) -> None:
    new, name = data[180:].copy(), "linear_hce"
    fewer = table(fit(name), written(tmp_path, new[:, :90]), tmp_path / "a.parquet")
    zeros = new.copy()
    zeros.X = csr_matrix(np.hstack([new.X[:, :90].toarray(), np.zeros((60, 30), dtype="float32")]))
    assert fewer.equals(table(fit(name), written(tmp_path, zeros), tmp_path / "b.parquet"))
    report = json.loads((tmp_path / "a.parquet.json").read_text())
    assert report["genes"]["missing"] == len(report["missing_genes"]) == 30


def test_matrices_in_any_slot_and_form(data: ad.AnnData, fit: Fit, tmp_path: Path) -> None:
    new, name = data[180:].copy(), "linear_hce"
    expected = table(fit(name), written(tmp_path, new), tmp_path / "a.parquet")
    for i, matrix in enumerate((new.X.toarray(), csc_matrix(new.X), csr_matrix(new.X).astype("int64"))):
        other = new.copy()
        other.X = matrix
        assert table(fit(name), written(tmp_path, other), tmp_path / f"{i}.parquet", block=13).equals(expected)
    logged = new.copy()
    logged.layers["counts"] = new.X.copy()
    logged.raw = new
    logged.X = log1p_cp10k(new)
    path = written(tmp_path, logged)
    for slot in ("layers/counts", "raw"):
        out = tmp_path / f"{slot.replace('/', '_')}.parquet"
        assert table(fit(name), path, out, read={"slot": slot}).equals(expected)


def log1p_cp10k(cells: ad.AnnData, scale: float = 1e4) -> csr_matrix:
    counts = cells.X.toarray()
    return csr_matrix(np.log1p(counts / np.maximum(counts.sum(axis=1, keepdims=True), 1) * scale).astype("float32"))


def test_cells_without_counts_are_unknown(
    data: ad.AnnData, fit: Fit, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    new = data[180:].copy()
    dense = new.X.toarray()
    dense[[3, 7]] = 0
    new.X = csr_matrix(dense)
    annotate(AnnotateJob(fit("linear_hce"), written(tmp_path, new), tmp_path / "out.parquet"))
    found = pd.read_parquet(tmp_path / "out.parquet")
    assert found["label_id"].iloc[[3, 7]].tolist() == [UNKNOWN, UNKNOWN]
    assert found["label"].iloc[3] == UNKNOWN
    assert found["confidence"].isna().sum() == 2
    assert (found["label_id"] != UNKNOWN).sum() == 58
    assert "2 cells have no counts in the genes that the model reads" in capsys.readouterr().out


@pytest.mark.filterwarnings("ignore:.* names are not unique")
def test_ids_that_are_listed_twice_do_not_matter(data: ad.AnnData, fit: Fit, tmp_path: Path) -> None:
    new = data[180:].copy()
    expected = table(fit("linear_hce"), written(tmp_path, new), tmp_path / "a.parquet")["label_id"].tolist()
    new.obs_names = ["same"] * 60
    assert table(fit("linear_hce"), written(tmp_path, new), tmp_path / "b.parquet")["label_id"].tolist() == expected


def test_columns_that_are_there_are_kept(data: ad.AnnData, fit: Fit, tmp_path: Path) -> None:
    new = data[180:].copy()
    path = tmp_path / "own.h5ad"
    new.obs["label"] = "mine"
    new.write_h5ad(path)  # with label_id, label and uns["annobench"]
    with pytest.raises(AnnobenchError, match=r"own.h5ad: has obs\['label'\], obs\['label_id'\] already; .*--prefix"):
        table(fit("linear_hce"), path, tmp_path / "out.h5ad")
    table(fit("linear_hce"), path, tmp_path / "out.h5ad", prefix="new_")
    found = ad.read_h5ad(tmp_path / "out.h5ad")
    assert (found.obs["label"] == "mine").all()
    assert "new_label_id" in found.obs
    assert found.uns["annobench"]["matrix"] == "counts"
    assert found.uns["annobench"]["new_annotation"]["model"]["dataset"] == "toy"


def test_what_is_written_can_be_imported(data: ad.AnnData, fit: Fit, tmp_path: Path) -> None:
    new = data[180:].copy()
    new.X = csr_matrix(np.vstack([np.zeros((1, 120), dtype="float32"), new.X[1:].toarray()]))
    for ending in ("csv", "parquet"):
        expected = table(fit("logistic_regression"), written(tmp_path, new), tmp_path / f"out.{ending}")
        found = import_table(tmp_path / f"out.{ending}", label="label_id", confidence="confidence_calibrated")
        labels = found.labels[0].to_text().tolist()
        assert found.cell_ids.to_pylist() == expected.index.tolist()
        assert labels == expected["label_id"].tolist()
        assert labels[0] == UNKNOWN
        assert found.confidence is not None
        assert np.isnan(found.confidence).tolist() == [True] + [False] * 59


def test_the_command_says_what_came_out_or_what_is_wrong(
    data: ad.AnnData, fit: Fit, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["annotate", str(fit("linear_hce")), str(written(tmp_path, data[180:, :50])), str(tmp_path / "out.csv")]
    assert main(words) == 2
    assert "annobench: new.h5ad: has 50 of the 120 genes" in capsys.readouterr().err
    assert main([*words, "--min-overlap", "0.3", "--threads", "1"]) == 0
    assert "wrote" in capsys.readouterr().out
    assert len(pd.read_csv(tmp_path / "out.csv")) == 60


# refusals


def test_wrong_states_are_refused_with_what_to_do(data: ad.AnnData, fit: Fit, tmp_path: Path) -> None:
    new = data[180:].copy()
    logged = new.copy()
    logged.layers["counts"] = new.X.copy()
    logged.X = log1p_cp10k(new)
    with pytest.raises(
        AnnobenchError,
        match=r"X holds log1p_cp10k, but the model was trained on counts; .* --slot \(layers/counts holds counts\)",
    ):
        table(fit("linear_hce"), written(tmp_path, logged), tmp_path / "out.csv")
    logged.X = log1p_cp10k(new, 1e6)
    with pytest.raises(AnnobenchError, match="X holds log1p_cpm, but the model was trained on counts"):
        table(fit("linear_hce"), written(tmp_path, logged), tmp_path / "out.csv")
    logged.X = csr_matrix(log1p_cp10k(new) * 3)
    with pytest.raises(AnnobenchError, match="X holds neither counts nor log1p of counts per 10,000 or per million"):
        table(fit("linear_hce"), written(tmp_path, logged), tmp_path / "out.csv")
    with pytest.raises(AnnobenchError, match=r"--state says counts, but \d+ of \d+ values are not whole numbers"):
        table(fit("linear_hce"), written(tmp_path, logged), tmp_path / "out.csv", read={"state": "counts"})
    logged.X = csr_matrix(new.X.toarray() - 1)
    with pytest.raises(AnnobenchError, match=r"values are negative .*--slot"):
        table(fit("linear_hce"), written(tmp_path, logged), tmp_path / "out.csv")
    assert not list(tmp_path.glob("out*"))
    assert not list(tmp_path.glob(".*tmp"))


@pytest.mark.filterwarnings("ignore:.* names are not unique")
def test_values_are_checked_in_every_row(data: ad.AnnData, fit: Fit, tmp_path: Path) -> None:
    new = data[np.resize(np.arange(180, 240), 2100)].copy()
    dense = new.X.toarray()
    dense[2090, 5] = 0.5
    new.X = csr_matrix(dense)
    new.obs_names_make_unique()
    with pytest.raises(AnnobenchError, match=r"--state says counts, but 1 of \d+ values .*first in row 2090"):
        table(fit("linear_hce"), written(tmp_path, new), tmp_path / "out.h5ad", block=500)
    assert not list(tmp_path.glob("*out*"))


def test_too_few_genes_are_refused_with_numbers(data: ad.AnnData, fit: Fit, tmp_path: Path) -> None:
    new = data[180:, :50].copy()
    path = written(tmp_path, new)
    with pytest.raises(
        AnnobenchError,
        match=r"has 50 of the 120 genes of the model \(42%\), expected 50%; 0 of its 50 genes .*--min-overlap",
    ):
        table(fit("linear_hce"), path, tmp_path / "out.csv")
    assert len(table(fit("linear_hce"), path, tmp_path / "out.csv", read={"min_overlap": 0.4})) == 60
    new.var = pd.DataFrame(index=[f"x{i}" for i in range(50)])
    with pytest.raises(AnnobenchError, match=r"has 0 of the 120 genes .*--gene-id and --gene-name"):
        table(fit("linear_hce"), written(tmp_path, new), tmp_path / "none.csv", read={"min_overlap": 0.01})


def test_outputs_that_may_not_be_written(data: ad.AnnData, fit: Fit, tmp_path: Path) -> None:
    path, model = written(tmp_path, data[180:]), fit("linear_hce")
    (tmp_path / "there.csv").write_text("mine")
    for out, message in (
        (tmp_path / "there.csv", "there.csv: exists; .*--force"),
        (path, "is the file with the cells, which is never overwritten"),
        (tmp_path / "out.xlsx", "ends in '.xlsx', expected one of .h5ad, .parquet, .csv"),
    ):
        with pytest.raises(AnnobenchError, match=message):
            table(model, path, out)
    with pytest.raises(AnnobenchError, match="never overwritten"):
        table(model, path, path, force=True)
    assert (tmp_path / "there.csv").read_text() == "mine"
    assert len(table(model, path, tmp_path / "there.csv", force=True)) == 60


def test_files_that_are_not_cells(data: ad.AnnData, fit: Fit, tmp_path: Path) -> None:
    model, out = fit("linear_hce"), tmp_path / "out.csv"
    with pytest.raises(AnnobenchError, match=r"gone.h5ad: there is no such file"):
        table(model, tmp_path / "gone.h5ad", out)
    (tmp_path / "text.h5ad").write_text("cell,label\n")
    with pytest.raises(AnnobenchError, match=r"text.h5ad: is not a readable h5ad file"):
        table(model, tmp_path / "text.h5ad", out)
    path = written(tmp_path, data[180:])
    with pytest.raises(AnnobenchError, match=r"--slot: there is no matrix layers/counts; valid: X"):
        table(model, path, out, read={"slot": "layers/counts"})
    with pytest.raises(AnnobenchError, match=r"genes.id: var has no column 'ensembl'"):
        table(model, path, out, read={"gene_id": "ensembl"})


def test_folders_that_are_not_models(data: ad.AnnData, fit: Fit, tmp_path: Path) -> None:
    path, out, model = written(tmp_path, data[180:]), tmp_path / "out.csv", tmp_path / "seed1"
    with pytest.raises(AnnobenchError, match="seed1: there is no such folder"):
        table(model, path, out)
    model.mkdir()
    with pytest.raises(AnnobenchError, match="seed1: is not the folder of a fit"):
        table(model, path, out)
    shutil.rmtree(model)
    shutil.copytree(fit("logistic_regression"), model)
    (model / "model" / "arrays.npz").unlink()
    with pytest.raises(AnnobenchError, match="the model cannot be read .FileNotFoundError.*fit again"):
        table(model, path, out)
    facts = json.loads((model / "model" / "annobench.json").read_text())
    (model / "model" / "annobench.json").write_text(json.dumps(facts | {"implementation": "os"}))
    with pytest.raises(AnnobenchError, match="the model cannot be read|no file os.py"):
        table(model, path, out)
    (model / "model" / "annobench.json").write_text(json.dumps(facts | {"version": 99}))
    with pytest.raises(AnnobenchError, match="annobench.json: was written in format 99, expected 1; fit again"):
        table(model, path, out)
    (model / "model" / "annobench_genes.parquet").unlink()
    with pytest.raises(AnnobenchError, match="the model has no annobench_genes.parquet"):
        table(model, path, out)
    shutil.rmtree(model / "model")
    with pytest.raises(AnnobenchError, match="the fit kept no model; set `keep: {model: true}`"):
        table(model, path, out)
    record = json.loads((model / "run.json").read_text())
    (model / "run.json").write_text(json.dumps(record | {"status": "timeout", "reason": "too slow"}))
    with pytest.raises(AnnobenchError, match=r"the fit has no model: it was timeout \(too slow\)"):
        table(model, path, out)
    assert not out.exists()


# decodings


def test_decodings_are_those_of_the_scoring(data: ad.AnnData, fit: Fit, ontology: Ontology, tmp_path: Path) -> None:
    folder = fit("logistic_regression")
    run = RunRecord.read(folder / "run.json")
    decode = DecodingOptions(("leaf", "top_down", "multilevel"), 0.8)
    path = written(tmp_path, data[180:])
    found = table(folder, path, tmp_path / "out.parquet", decode=decode, block=17)
    for name, options in (("leaf", {}), ("top_down", {}), ("multilevel", {"confidence": 0.8})):
        truths = read_truths(*(written_obs(folder, data)), ontology)
        expected = read_scored(folder, run, truths, ontology, bins=10, decoding=name, options=options)
        assert found[f"{name}_label_id"].tolist() == expected.labels[:, 0].tolist()
        assert expected.confidence is not None
        assert np.allclose(found[f"{name}_confidence"].fillna(0), expected.confidence, atol=2e-3)
    named = [one if one == UNKNOWN else ontology.label(one) for one in found["multilevel_label_id"]]
    assert found["multilevel_label"].tolist() == named
    sure = table(folder, path, tmp_path / "sure.h5ad", decode=DecodingOptions(("multilevel",), 0.99))
    depths = [[ontology.depth(one) for one in ids["multilevel_label_id"].astype(str)] for ids in (found, sure)]
    assert (np.array(depths[0]) >= np.array(depths[1])).all()
    report = json.loads((tmp_path / "sure.h5ad.json").read_text())
    assert sum(report["labels_multilevel"].values()) == 60
    with pytest.raises(AnnobenchError, match=r"has obs\['confidence'\].*obs\['multilevel_label_id'\].* already"):
        table(folder, tmp_path / "sure.h5ad", tmp_path / "no.h5ad", decode=decode)


def written_obs(folder: Path, data: ad.AnnData) -> tuple[Path, Path, Path]:
    """What scoring reads of the dataset and the split, beside the fit."""
    place = folder.parent.parent
    obs = {name: data.obs[name].to_numpy(dtype=object) for name in ("label_id", "study", "donor")}
    write_columns(place / "obs.parquet", {"cell_id": data.obs_names.to_numpy(dtype=object), **obs})
    return place / "obs.parquet", place / "split.parquet", place / "train.parquet"


def test_decodings_that_cannot_be(data: ad.AnnData, fit: Fit, tmp_path: Path) -> None:
    path, out = written(tmp_path, data[180:]), tmp_path / "out.csv"
    for decode, message in (
        (DecodingOptions(("leaves",)), "--decoding: there is no decoding 'leaves'; did you mean 'leaf'"),
        (DecodingOptions(("leaf",), 0.9), "--confidence goes with --decoding multilevel"),
        (DecodingOptions(("multilevel",), 0.3), "the wanted confidence is 0.3, expected more than 0.5"),
    ):
        with pytest.raises(AnnobenchError, match=message):
            table(fit("knn"), path, out, decode=decode)
    model = shutil.copytree(fit("knn") / "model", tmp_path / "model")
    facts = json.loads((model / "annobench.json").read_text())
    assert facts["temperature"] > 0
    (model / "annobench.json").write_text(json.dumps({k: v for k, v in facts.items() if k != "temperature"}))
    with pytest.raises(AnnobenchError, match="--decoding multilevel needs calibrated probabilities"):
        table(model, path, out, decode=DecodingOptions(("multilevel",)))
    (model / "annobench_ontology.json").unlink()
    assert len(table(model, path, tmp_path / "plain.csv")) == 60  # a model of before still annotates
    with pytest.raises(AnnobenchError, match="has no annobench_ontology.json.* fit again"):
        table(model, path, out, decode=DecodingOptions(("leaf",)))
    assert not out.exists()


def test_cells_below_the_cut_for_a_wanted_error_are_unknown(
    data: ad.AnnData, fit: Fit, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, path = fit("logistic_regression"), written(tmp_path, data[180:])
    plain = table(folder, path, tmp_path / "plain.parquet")
    facts = json.loads((folder / "model" / "annobench.json").read_text())
    cut = Ladder.restore(facts["cuts"]).cut(0.3)
    assert cut is not None
    assert facts["cuts"]["cells"] == [40]
    job = AnnotateJob(folder, path, tmp_path / "cut.parquet", decode=DecodingOptions(max_error=0.3))
    annotate(job)
    found = pd.read_parquet(tmp_path / "cut.parquet").set_index("cell_id")
    below = plain["confidence_calibrated"] < cut.confidence
    assert (found["label_id"] == UNKNOWN).tolist() == below.tolist()
    assert found["label_id"][~below].tolist() == plain["label_id"][~below].tolist()
    assert found["confidence_calibrated"].tolist() == plain["confidence_calibrated"].tolist()
    assert f"cut: cells below a calibrated confidence of {cut.confidence:.3f} become unknown" in capsys.readouterr().out
    report = json.loads((tmp_path / "cut.parquet.json").read_text())
    assert (report["max_error"], report["cut"]) == (0.3, cut.confidence)
    with pytest.raises(AnnobenchError, match="no cut is known to keep the error so low: .* its 40 validation cells"):
        table(folder, path, tmp_path / "no.csv", decode=DecodingOptions(max_error=0.01))
    with pytest.raises(AnnobenchError, match="--max-error is 5, expected a share above 0 and below 1"):
        table(folder, path, tmp_path / "no.csv", decode=DecodingOptions(max_error=5))
    model = shutil.copytree(folder / "model", tmp_path / "model")
    (model / "annobench.json").write_text(json.dumps({k: v for k, v in facts.items() if k != "cuts"}))
    with pytest.raises(AnnobenchError, match="--max-error needs a calibrated confidence and its cuts"):
        table(model, path, tmp_path / "no.csv", decode=DecodingOptions(max_error=0.3))
    assert not (tmp_path / "no.csv").exists()


def test_the_majority_within_clusters(data: ad.AnnData, fit: Fit, tmp_path: Path) -> None:
    new = data[180:].copy()
    new.obs["donor"] = [f"k{i % 4}" if i else None for i in range(60)]  # the column that `written` keeps
    path = written(tmp_path, new)
    found = table(fit("knn"), path, tmp_path / "a.parquet", decode=DecodingOptions(clusters="donor"), block=13)
    for name, part in found.groupby(new.obs["donor"].to_numpy()):
        top = part["label_id"].value_counts()
        assert set(part["clusters_label_id"]) <= set(top[top == top.max()].index), name
        assert part["clusters_label_id"].nunique() == 1
        assert np.allclose(part["clusters_confidence"], top.max() / len(part))
    assert found["clusters_label_id"].iloc[0] == found["label_id"].iloc[0]  # in no cluster
    one, two = (
        table(fit("knn"), path, tmp_path / f"{i}.h5ad", decode=DecodingOptions(clusters="leiden"), block=13 * i)
        for i in (1, 2)
    )
    assert one["clusters_label_id"].tolist() == two["clusters_label_id"].tolist()
    with pytest.raises(AnnobenchError, match="--clusters: obs has no column 'donors'; did you mean 'donor'"):
        table(fit("knn"), path, tmp_path / "no.csv", decode=DecodingOptions(clusters="donors"))
    with pytest.raises(AnnobenchError, match="--decoding clusters goes with --clusters: a column of obs, or leiden"):
        table(fit("knn"), path, tmp_path / "no.csv", decode=DecodingOptions(("clusters",)))


def test_allowed_labels(data: ad.AnnData, fit: Fit, ontology: Ontology, tmp_path: Path) -> None:
    path, listed = written(tmp_path, data[180:]), tmp_path / "allowed.txt"
    listed.write_text("CL_0000084  # T cell, and all below it\n\nCL:0000236\tB cell\n")
    found = table(fit("logistic_regression"), path, tmp_path / "a.csv", decode=DecodingOptions(allowed=listed))
    assert set(found["allowed_label_id"]) <= {"CL:0000084", "CL:0000624", "CL:0000236"}
    own = found["label_id"].isin(set(found["allowed_label_id"]))
    assert (found["allowed_label_id"] == found["label_id"])[own].all()
    assert not own.all()
    for text, message in (
        ("T cell\n", "'T' is no Cell Ontology id; expected one such as CL:0000084"),
        ("CL:0000540\n", "none of its 1 types is one of the 5 classes of the model, or above one"),
    ):
        listed.write_text(text)
        with pytest.raises(AnnobenchError, match=message):
            table(fit("knn"), path, tmp_path / "no.csv", decode=DecodingOptions(allowed=listed))
    with pytest.raises(AnnobenchError, match="--allowed .*gone.txt: cannot be read"):
        table(fit("knn"), path, tmp_path / "no.csv", decode=DecodingOptions(allowed=tmp_path / "gone.txt"))
    with pytest.raises(AnnobenchError, match="--decoding allowed goes with --allowed FILE"):
        table(fit("knn"), path, tmp_path / "no.csv", decode=DecodingOptions(("allowed",)))
