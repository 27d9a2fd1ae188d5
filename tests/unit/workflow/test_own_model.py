"""What is promised: a model says its classes, genes and how to use it, and the lines of a method are valid."""

import pickle
from pathlib import Path

import anndata as ad
import numpy as np
import pytest
import yaml
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from annobench.__main__ import main
from annobench.config.entities import load_method
from annobench.config.schema import validate
from annobench.core.errors import ConfigError, DataError
from annobench.data.checkpoints.spec import About, CheckpointRecord, InputSpec, ScgptShape
from annobench.data.checkpoints.stored import write_checkpoint
from annobench.fit.saved_model import ModelFacts, save_facts
from annobench.ontology import UNKNOWN, Ontology
from annobench.ontology.labels import read_table
from annobench.workflow.own.model import describe
from helpers import cells

CLASSES = ["NK cells", "B cell", "strange ones", "T cell"]


def write_model(path: Path, classes: list[str] = CLASSES) -> Path:
    """A CellTypist model of a few genes, as CellTypist writes it."""
    rng = np.random.default_rng(0)
    genes = np.array([f"GENE{letter}" for letter in "ABCDEFGHIJKLMNOPQRSTUVWXYZ"], dtype=object)
    values, labels = rng.normal(size=(40, len(genes))), np.resize(sorted(classes), 40)
    model = LogisticRegression().fit(values, labels)
    model.features = genes
    description = {"date": "2024-01-01", "details": "cells of nobody", "url": "", "source": "", "version": "v1"}
    document = {"Model": model, "Scaler_": StandardScaler().fit(values), "description": description}
    path.write_bytes(pickle.dumps(document))
    return path


def lines_of(text: str) -> str:
    """The lines of a method in what is printed."""
    return text.split("config/methods/NAME.yaml:\n\n")[1]


def test_a_celltypist_model_says_what_it_knows(tmp_path: Path, ontology: Ontology) -> None:
    path = write_model(tmp_path / "my_model.pkl")
    text = describe(str(path), str(tmp_path / "my_labels.tsv"))
    assert "classes   4" in text
    assert "genes     26 symbols (GENEA, GENEB, GENEC, GENED, GENEE, ...)" in text
    assert "organism  Homo sapiens" in text
    assert "details   cells of nobody" in text
    assert "2 of 4 classes are names or ids of it; by a label table" in text
    assert "sure: 3 classes\n" in text
    assert "to decide: 1 class\n  strange ones\n" in text
    assert "cells)" not in text  # a class has no number of cells
    table = read_table(tmp_path / "my_labels.tsv", ontology)
    assert table == {"NK cells": "CL:0000623", "B cell": "CL:0000236", "T cell": "CL:0000084", "strange ones": UNKNOWN}
    with pytest.raises(ConfigError, match="exists; choose another name"):
        describe(str(path), str(tmp_path / "my_labels.tsv"))


@pytest.mark.parametrize("classes", [CLASSES, ["T cell", "CL:0000236"]])
def test_the_lines_of_a_method_are_valid(classes: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_model(tmp_path / "my model.pkl", classes)
    document = yaml.safe_load(lines_of(describe("my model.pkl", root=tmp_path)))
    validate(dict(document), "method", "printed")
    assert document["parameters"]["model"] == "my model.pkl"
    assert ("labels" in document["parameters"]) == (classes is CLASSES)
    folder = tmp_path / "config" / "methods"
    folder.mkdir(parents=True)
    (folder / "mine.yaml").write_text(lines_of(describe("my model.pkl", root=tmp_path)))
    assert load_method("mine", tmp_path, "test")["implementation"] == "celltypist_pretrained"


def test_the_model_of_a_fit_says_what_it_knows(tmp_path: Path, ontology: Ontology) -> None:
    data: ad.AnnData = cells(ontology, cells=40, genes=12)
    facts = ModelFacts(
        **{"dataset": "d", "split": "s", "method": "m", "seed": 1, "implementation": "knn", "data_sha256": "0"},
        **{"code": "c", "matrix": "counts", "sums_to_scale": False, "ontology": ontology.release},
        **{"classes": ("CL:0000084", "CL:0000236"), "labels": {"CL:0000084": "T cell", "CL:0000236": "B cell"}},
        **{"embedding": True, "calibration": None, "versions": {"python": "3"}},
    )
    (tmp_path / "seed1" / "model").mkdir(parents=True)
    save_facts(tmp_path / "seed1" / "model", facts, data.var, ontology)
    text = describe(str(tmp_path / "seed1"))
    assert "the model of a fit: m (knn), seed 1" in text
    assert "trained on  d, s" in text
    assert "genes       12, 12 with an Ensembl id" in text
    assert "gives       labels, an embedding" in text
    assert "  CL:0000084  T cell\n  CL:0000236  B cell\n" in text
    assert f"annobench annotate {tmp_path / 'seed1'} CELLS.h5ad OUT.h5ad" in text
    assert describe(str(tmp_path / "seed1" / "model")).count("CL:0000084") == 1


def test_a_checkpoint_says_what_it_knows(tmp_path: Path) -> None:
    shape = ScgptShape(tokens=5, width=4, hidden=4, layers=1, heads=1, dropout=0.0, pad=4)
    record = CheckpointRecord(
        name="tiny",
        kind="random",
        about=About(label="Tiny", citation="c", licence="l"),
        organism="Homo sapiens",
        shape=shape,
        input=InputSpec(),
    )
    vocabulary = {"CD4": 0, "CD8A": 1, "MS4A1": 2, "<cls>": 3, "<pad>": 4}
    write_checkpoint(tmp_path / "tiny", record, {"w": np.zeros((3, 2), dtype="float32")}, vocabulary)
    text = describe(str(tmp_path / "tiny"))
    assert "3 in its vocabulary (CD4, CD8A, MS4A1)" in text
    assert "`checkpoint: tiny`" in text
    with pytest.raises(ConfigError, match="--out is for the classes of a CellTypist model"):
        describe(str(tmp_path / "tiny"), "x")


def test_what_is_no_model_is_refused_in_a_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "x.pkl").write_bytes(b"\x80\x04nothing")
    (tmp_path / "empty").mkdir()
    for place, message in (
        ("no.pkl", "there is no such file or folder"),
        ("x.pkl", "is not a CellTypist model"),
        ("empty", "is no model: expected a CellTypist model file, the folder of a fit"),
    ):
        assert main(["model", str(tmp_path / place)]) == 2
        error = capsys.readouterr().err
        assert message in error
        assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("name", "mapped"), [("Final_Models_LuCA_full.pkl", 33), ("New_Models_CT_98_Models_98_f_model_6.pkl", 7)]
)
def test_models_of_others(real_data: Path, name: str, mapped: int) -> None:
    text = describe(str(real_data / "celltypist_models" / "adams_celltypist" / name))
    assert f" {mapped} of " in text
    validate(yaml.safe_load(lines_of(text)), "method", "printed")


def test_a_model_of_a_gpu_says_what_to_do(real_data: Path) -> None:
    with pytest.raises(DataError, match="trained on a GPU"):
        describe(str(real_data / "bug_cases" / "10_celltypist_models" / "m_cuml.pkl"))
