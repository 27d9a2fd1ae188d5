"""Promises: what predictions are is told from their paths and columns, and a study has its own configuration."""

from pathlib import Path

import pandas as pd
import pytest
import yaml

from annobench.config.entities import config_file, load_method, own_folder
from annobench.config.schema import load_yaml
from annobench.core.errors import AnnobenchError, ConfigError, DataError
from annobench.core.paths import ROOT
from annobench.ontology import Ontology
from annobench.workflow.launch import entered, resolve
from annobench.workflow.outside.files import samples_of, write_study
from annobench.workflow.outside.options import ScoreOptions, listed, listed_paths, unique_name
from annobench.workflow.outside.predictions import found_predictions
from annobench.workflow.outside.truth import are_ids, read_label_table
from cas_folders import write_cells

LABELS = ["CL:0000084", "CL:0000236", "CL:0000084"]


def options(folder: Path, *paths: Path, **more: object) -> ScoreOptions:
    given = {"label": "truth", "predictions": tuple(map(str, paths)), "out": folder / "out"} | more
    return ScoreOptions(**given)  # type: ignore[arg-type]


@pytest.fixture
def cells(tmp_path: Path) -> Path:
    return write_cells(tmp_path / "My cells.h5ad", LABELS, donor_id=["a", "b", "c"], batch=["x", "y", "x"])


def azimuth(folder: Path) -> Path:
    path = folder / "azimuth.csv"
    levels = {"predicted.l1": ["T", "B", "T"], "predicted.l1.score": [1, 1, 1.0]}
    levels |= {"predicted.l2": ["CD4", "B", "Odd"], "predicted.l2.score": [0.5, 0.9, 0.4]}
    pd.DataFrame(levels, index=["cell0", "cell1", "cell2"]).to_csv(path)
    return path


def test_levels_of_azimuth_are_read_from_fine_to_coarse(tmp_path: Path, cells: Path, ontology: Ontology) -> None:
    path, walk = azimuth(tmp_path), tmp_path / "walk.csv"
    with pytest.raises(ConfigError, match="need CROSSWALK="):
        found_predictions(options(tmp_path, path))
    walk.write_text("Annotation_Label,Note,CL_ID\nT,x,CL:0000084\nB,y,CL:0000236\nCD4,z,CL:0000624\nOld,z,CL:9999999\n")
    chosen = options(tmp_path, path, cells=cells, crosswalk=str(walk))
    (one,) = found_predictions(chosen)
    assert one.options == {
        "cell_id": "index",
        "label": "predicted.l2",
        "confidence": "predicted.l2.score",
        "ranks": ["predicted.l1"],
    }
    study = write_study(chosen, samples_of(chosen, [one]), ontology)
    method = yaml.safe_load((study.parent / "config" / "methods" / "azimuth.yaml").read_text())
    assert method["parameters"]["label_table"] == "crosswalk"
    assert read_label_table(str(walk), ontology, "CROSSWALK")["Old"] == "unknown"
    loaded = resolve(str(study))
    parameters = loaded.methods["azimuth"]["parameters"]
    assert parameters["label_table"] == str(study.parent / "config" / "labels" / "crosswalk.tsv")
    assert parameters["label_table"] in loaded.methods["azimuth"]["files"]  # a change of it is noticed
    dataset = loaded.datasets["my_cells"]["cells"]
    assert (dataset["label_id"], dataset["donor"], dataset["study"]) == ("truth", "donor_id", None)


def test_a_column_of_obs_is_read_where_it_lies(tmp_path: Path, cells: Path) -> None:
    with pytest.raises(ConfigError, match="COLUMN is missing"):
        found_predictions(options(tmp_path, cells))
    (one,) = found_predictions(options(tmp_path, cells, column="batch"))
    assert (one.file, one.reader, one.options) == (cells, "obs", {"label": "batch"})
    assert sorted(one.texts) == ["x", "y"]
    with pytest.raises(DataError, match="obs has no column 'bath'.*'batch'"):
        found_predictions(options(tmp_path, cells, column="bath"))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "barcode,label_1,label_2,score_1\na,x,y,1\n",
            {"cell_id": "barcode", "label": "label_1", "ranks": ["label_2"]},
        ),
        (",predicted_labels,conf_score\na,x,1\n", {"cell_id": "index", "label": "predicted_labels"}),
        ("Cell,Predicted\na,x\n", {"cell_id": "Cell", "label": "Predicted"}),
    ],
)
def test_usual_columns_are_found(text: str, expected: dict[str, object], tmp_path: Path) -> None:
    (tmp_path / "p.csv").write_text(text)
    (one,) = found_predictions(options(tmp_path, tmp_path / "p.csv"))
    assert {key: one.options[key] for key in expected} == expected


def test_what_is_not_clear_is_refused(tmp_path: Path, cells: Path, ontology: Ontology) -> None:
    table = tmp_path / "p.csv"
    table.write_text("one,two\na,b\n")
    with pytest.raises(ConfigError, match=r"none of its columns \(one, two\) .* labels; name it by COLUMN="):
        found_predictions(options(tmp_path, table))
    table.write_text("cell_id,label\n")
    with pytest.raises(DataError, match="holds no rows"):
        found_predictions(options(tmp_path, table))
    table.write_text("cell_id,label\ncell0,my own word\n")
    chosen = options(tmp_path, table, cells=cells)
    with pytest.raises(DataError, match="'my own word'.*CROSSWALK="):
        write_study(chosen, samples_of(chosen, found_predictions(chosen)), ontology)
    with pytest.raises(ConfigError, match="is named twice"):
        found_predictions(options(tmp_path, table, table))
    for wrong in ({"kind": "tables"}, {"compat": ("cass",)}, {"label": ""}, {"out": Path()}, {"predictions": ()}):
        with pytest.raises(AnnobenchError):
            options(tmp_path, table, **wrong).check()


def test_names_and_lists(tmp_path: Path) -> None:
    assert unique_name("lab/Model-1 (v2)", []) == "lab_model_1_v2"
    assert unique_name("10x", {"x_10x"}) == "x_10x_2"
    assert listed(" assay, Plate Nr,") == ("assay", "Plate Nr")
    (tmp_path / "two words.csv").touch()
    assert listed_paths(f"{tmp_path}/two words.csv") == (f"{tmp_path}/two words.csv",)
    assert listed_paths("a.csv, b.csv c.csv") == ("a.csv", "b.csv", "c.csv")
    assert are_ids(["CL:0000084", "unknown", "http://purl.obolibrary.org/obo/CL_0000236"])
    assert not are_ids(["T cell", "CL:0000084", "B cell"])


def test_a_study_has_its_own_files_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study, methods = tmp_path / "mine.yaml", tmp_path / "config" / "methods"
    assert own_folder(study, ROOT) is None  # it is not there
    methods.mkdir(parents=True)
    document = load_yaml(ROOT / "config" / "methods" / "oracle.yaml") | {"label": "My oracle"}
    (methods / "oracle.yaml").write_text(yaml.safe_dump(document))
    evaluations = [{"dataset": "simulated_small", "regime": "holdout"}]
    study.write_text(yaml.safe_dump({"study": "mine", "evaluations": evaluations, "methods": ["knn"]}))
    found = resolve(str(study))
    assert found.own == tmp_path
    assert found.methods["oracle"]["label"] == "My oracle"
    assert found.methods["knn"]["label"] == load_method("knn", ROOT, "")["label"]
    assert own_folder(ROOT / "some.yaml", ROOT) is None
    assert config_file("labels", "pbmc68k.tsv", ROOT, tmp_path) == ROOT / "config" / "labels" / "pbmc68k.tsv"
    with pytest.raises(ConfigError, match=r"no file config/methods/orcale.yaml; did you mean 'oracle'"):
        load_method("orcale", ROOT, "mine.yaml", tmp_path)
    monkeypatch.chdir(ROOT)
    assert entered("smoke") == "smoke"
    assert Path.cwd() == ROOT
    assert entered(str(study)) == str(study)
    assert Path.cwd() == tmp_path
