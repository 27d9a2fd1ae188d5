"""Imported predictions keep the contract of a method: joined by id, labels mapped, everything else counted."""

from pathlib import Path
from typing import Any

import anndata as ad
import pandas as pd
import pytest

from annobench.config.entities import load_method
from annobench.config.parameters import part_modules, resolve_parameters
from annobench.config.plugins import method_facts
from annobench.core.errors import AnnobenchError, ConfigError, MethodSkipped
from annobench.core.files import sha256_of
from annobench.core.paths import ROOT
from annobench.fit.method import Context
from annobench.fit.predictions import Predictions, joined, validate
from annobench.methods.imported import Imported
from annobench.ontology import UNKNOWN, Ontology

TABLE = "cell_id,label\na,CL:0000236\nb,CL:0000084\nother,CL:0000084\n"


def query(*names: str) -> ad.AnnData:
    """Cells as a method with `needs.cells: none` gets them: without a matrix."""
    return ad.AnnData(obs=pd.DataFrame(index=list(names)))


def imported(ontology: Ontology, path: Path | str, *names: str, **parameters: Any) -> tuple[Imported, Predictions]:
    method = Imported(path=str(path), **parameters)
    method.fit(query(), Context(seed=1, classes=[], ontology=ontology))
    found = joined(list(method.predict(query(*names))))
    return method, validate(found, names, ontology.terms)


def written(folder: Path, text: str, name: str = "t.csv") -> Path:
    (folder / name).write_text(text)
    return folder / name


def test_labels_by_id(tmp_path: Path, ontology: Ontology) -> None:
    path = written(tmp_path, TABLE)
    method, found = imported(ontology, path, "b", "missing", "a")
    assert found.labels[:, 0].tolist() == ["CL:0000084", UNKNOWN, "CL:0000236"]
    assert found.confidence is None
    assert method.notes == {
        **{"file": str(path), "sha256": {str(path): sha256_of(path)}, "cells": 3},
        **{"cells_joined": 2, "cells_missing": 1, "missing": ("missing",), "cells_surplus": 1, "surplus": ("other",)},
        **{"cells_unmapped": 0, "labels_unmapped": 0, "unmapped": {}},
        **{"cells_replaced": 0, "replaced": {}, "cells_root": 0},
    }


def test_ids_are_read_as_people_write_them(tmp_path: Path, ontology: Ontology) -> None:
    old = next(i for i, term in ontology.terms.items() if term.obsolete and ontology.resolve(i))
    text = f"cell_id,label\na,CL_0000236\nb,http://purl.obolibrary.org/obo/CL_0000084\nc,{old}\nd,unknown\ne,CL:9\n"
    method, found = imported(ontology, written(tmp_path, text), *"abcde")
    assert found.labels[:, 0].tolist() == ["CL:0000236", "CL:0000084", ontology.resolve(old), UNKNOWN, UNKNOWN]
    assert method.notes is not None
    assert method.notes["unmapped"] == {"CL:9": 1}
    assert method.notes["replaced"] == {f"{old} -> {ontology.resolve(old)}": 1}


def test_labels_by_name_or_through_a_table(tmp_path: Path, ontology: Ontology) -> None:
    text = "cell_id,label\na,B cell\nb,CD14-Positive Monocyte\nc,my cells\n"
    _, found = imported(ontology, written(tmp_path, text), *"abc", labels="name")
    assert found.labels[:, 0].tolist() == ["CL:0000236", "CL:0001054", UNKNOWN]
    text = "cell_id,label\na,CD19+ B\nb,Dendritic\n"
    _, found = imported(ontology, written(tmp_path, text), *"ab", label_table="pbmc68k")
    assert found.labels[:, 0].tolist() == ["CL:0000236", "CL:0000451"]


def test_cells_of_a_pair_have_a_prefix(tmp_path: Path, ontology: Ontology) -> None:
    _, found = imported(ontology, written(tmp_path, TABLE), "lung:b", "lung:a", prefix="lung:")
    assert found.labels[:, 0].tolist() == ["CL:0000084", "CL:0000236"]


def test_options_reach_the_reader(tmp_path: Path, ontology: Ontology) -> None:
    text = "barcode;one;two;s1;s2\na;CL:0000236;CL:0000084;0.7;0.2\n"
    options = {"cell_id": "barcode", "label": "one", "ranks": ["two"], "scores": ["s1", "s2"], "confidence": "s1"}
    _, found = imported(ontology, written(tmp_path, text), "a", options=options | {"delimiter": ";"})
    assert found.labels.tolist() == [["CL:0000236", "CL:0000084"]]
    assert found.scores is not None
    assert found.scores.tolist() == [[0.7, 0.2]]


def test_a_missing_file_makes_the_fit_skipped(ontology: Ontology) -> None:
    with pytest.raises(MethodSkipped, match="parameters.path: there is no file 'nowhere/t.csv'; make it"):
        imported(ontology, "nowhere/t.csv", "a")


def test_paths_are_relative_to_the_repository_or_hold_variables(
    tmp_path: Path, ontology: Ontology, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(tmp_path, TABLE)
    monkeypatch.setenv("MY_DATA", str(tmp_path))
    assert imported(ontology, "$MY_DATA/t.csv", "a", "b")[1].labels.shape == (2, 1)
    monkeypatch.setattr("annobench.methods.shared.imports.REPOSITORY", path.parent)
    assert imported(ontology, "t.csv", "a", "b")[1].labels.shape == (2, 1)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"missing": "error"}, "2 of 4 test cells are missing"),
        ({"surplus": "error"}, "line 4: cell 'other' is not a test cell"),
        ({"label_table": "pbmc68k"}, "none of the labels is in config/labels/pbmc68k.tsv"),
        ({"label_table": "nothing"}, "there is no file config/labels/nothing.tsv"),
        ({"labels": "name"}, "none of the labels is a label or an exact synonym of Cell Ontology"),
    ],
)
def test_policies(tmp_path: Path, ontology: Ontology, parameters: dict[str, str], message: str) -> None:
    with pytest.raises(AnnobenchError, match=message):
        imported(ontology, written(tmp_path, TABLE), "a", "b", "c", "d", **parameters)


def test_unmapped_labels_can_be_an_error(tmp_path: Path, ontology: Ontology) -> None:
    path = written(tmp_path, TABLE + "c,odd\n")
    with pytest.raises(AnnobenchError, match="t.csv, line 5: label 'odd' is not an id of Cell Ontology"):
        imported(ontology, path, "a", unmapped="error")


def test_what_the_class_states() -> None:
    facts = method_facts("imported")
    assert facts.needs.cells == "none"
    assert not facts.abilities.trains
    assert facts.files_of({"path": "a.csv", "label_table": None}) == []
    assert facts.files_of({"path": "a.csv", "label_table": "mine"}) == ["config/labels/mine.tsv"]


def test_a_method_file_declares_its_table() -> None:
    assert load_method("imported_nearest_centroid", ROOT, "")["files"] == ["results/imported/nearest_centroid.tsv"]


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"path": "t.csv", "options": {"lable": "x"}}, "parameters.options: unknown key 'lable'; did you mean 'label'"),
        ({"path": "t.csv", "options": {"confidence": 1}}, "parameters.options.confidence: expected text or null"),
        ({"path": "t.csv", "reader": "tabel"}, "parameters.reader: there is no file .*tabel.py; did you mean 'table'"),
        ({"path": "t.csv", "missing": "drop"}, "parameters.missing: 'drop' is not allowed"),
        ({}, "parameters: key 'path' is missing"),
    ],
)
def test_wrong_parameters_are_refused_before_anything_runs(parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        resolve_parameters("imported", parameters, lambda *keys: "my_method.yaml")


def test_options_have_the_defaults_of_the_reader() -> None:
    found = resolve_parameters("imported", {"path": "t.csv", "options": {"label": "x"}}, lambda *keys: "m.yaml")
    options = {"cell_id": "cell_id", "confidence": None, "delimiter": None, "label": "x", "ranks": (), "scores": ()}
    assert found["options"] == options
    assert "annobench.methods.importers.table" in part_modules("imported", found)


def test_the_path_may_hold_the_name_of_the_dataset_and_the_label_table_be_a_path(
    tmp_path: Path, ontology: Ontology
) -> None:
    written(tmp_path, "cell_id,label\na,mine\n", "blood.csv")
    table = written(tmp_path, "original\tlabel_id\tcomment\nmine\tCL:0000084\t\n", "own.tsv")
    method = Imported(path=f"{tmp_path}/{{dataset}}.csv", label_table=str(table))
    method.fit(query(), Context(seed=1, classes=[], ontology=ontology, dataset="blood"))
    assert joined(list(method.predict(query("a")))).labels.tolist() == [["CL:0000084"]]
    method.fit(query(), Context(seed=1, classes=[], ontology=ontology, dataset="lung"))
    with pytest.raises(MethodSkipped, match="there is no file '.*/lung.csv'"):
        list(method.predict(query("a")))
