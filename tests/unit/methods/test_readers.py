"""Readers of what annotation programs write: worked cases, and broken files with the message that they give."""

import json
import re
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from annobench.config.parameters import part_files, part_modules, resolve_parameters
from annobench.config.plugins import plugins
from annobench.core.errors import AnnobenchError, ConfigError, DataError, MethodSkipped
from annobench.core.files import sha256_of
from annobench.core.paths import ROOT as REPOSITORY
from annobench.methods.shared import cas
from annobench.ontology import ROOT, UNKNOWN, Ontology
from annobench.workflow.fit import FitRules
from annotations import CD4, CD8, CROSSWALK, METADATA, MONOCYTE, NAMES, RESOURCE, B, T, fit, h5ad, same, written

# the protocol


@pytest.mark.parametrize("reader", plugins("methods/importers"))
def test_every_reader_declares_its_files(reader: str) -> None:
    options = {"crosswalk": "walk.csv"} if reader == "azimuth" else {"cells": "x.h5ad"} if reader == "clusters" else {}
    given = {"path": "mine", "reader": reader, "options": options}
    parameters = resolve_parameters("imported", given, lambda *keys: "my.yaml")
    files = part_files("imported", parameters)
    assert any(file.startswith("mine") for file in files)
    assert set(options.values()) <= set(files)


def test_a_file_that_is_not_set_is_not_needed() -> None:
    parameters = resolve_parameters("imported", {"path": "a.csv", "reader": "azimuth"}, lambda *keys: "my.yaml")
    assert part_files("imported", parameters) == ["a.csv"]


def test_a_change_of_any_file_refits_the_method(tmp_path: Path) -> None:
    path = run(tmp_path)
    given = {"path": str(path), "reader": "cas"}
    parameters = resolve_parameters("imported", given, lambda *keys: "my.yaml")
    rules = object.__new__(FitRules)
    rules.root = tmp_path

    def code() -> str:
        modules, files = part_modules("imported", parameters), part_files("imported", parameters)
        return rules._method_code("imported", modules, files, "my_data")

    seen = {code()}
    for file in sorted(path.iterdir()):
        file.write_text(file.read_text() + " ")
        seen.add(code())
        file.unlink()
        seen.add(code())
    assert len(seen) == 1 + 2 * 4


def examples() -> list[dict[str, Any]]:
    """The examples of docs/imported.md."""
    blocks = re.findall(r"```yaml\n(.*?)```", (REPOSITORY / "docs" / "imported.md").read_text(), re.DOTALL)
    return [found for block in blocks if "implementation" in (found := yaml.safe_load(block))]


def test_every_reader_has_an_example_that_is_valid() -> None:
    read = set()
    for example in examples():
        found = resolve_parameters(example["implementation"], example["parameters"], lambda *keys: "docs/imported.md")
        read.add(found["reader"])
        assert part_files("imported", found)
    assert read == set(plugins("methods/importers"))


# obs

OBS = pd.DataFrame(
    {
        "text": [B, T, "odd"],
        "kind": pd.Categorical([B, None, T], categories=[T, B, "unused"]),
        "score": [0.5, 0.25, 0.75],
        "whole": [3, 2, 1],
        "maybe": pd.array([1, None, 3], dtype="Int64"),
        "number": ["7", "8", "9"],
    },
    index=["c1", "c2", "c3"],
)


def test_obs(tmp_path: Path, ontology: Ontology) -> None:
    path = h5ad(tmp_path, OBS)
    found, notes = fit(ontology, "obs", path, "c3", "c1", "c2", options={"label": "text", "confidence": "score"})
    assert found.labels[:, 0].tolist() == [UNKNOWN, B, T]
    assert found.confidence is not None
    assert found.confidence.tolist() == [0.75, 0.5, 0.25]
    assert notes["sha256"] == {str(path): sha256_of(path)}
    found, _ = fit(ontology, "obs", path, "c1", "c2", "c3", options={"label": "kind", "confidence": "maybe"})
    assert found.labels[:, 0].tolist() == [B, UNKNOWN, T]
    assert found.confidence is not None
    assert found.confidence.tolist() == [1, 0, 3]
    options = {"label": "text", "ranks": ["kind"], "scores": ["whole", "score"], "cell_id": "number"}
    found, _ = fit(ontology, "obs", path, "9", "8", options=options)
    assert found.labels.tolist() == [[UNKNOWN, T], [T, UNKNOWN]]
    assert found.scores is not None
    assert found.scores.tolist() == [[1, 0.75], [2, 0.25]]


def test_obs_reads_no_matrix(tmp_path: Path, ontology: Ontology) -> None:
    path = h5ad(tmp_path, OBS)
    with h5py.File(path, "r+") as file:
        del file["X"]
        del file["var"]
    assert fit(ontology, "obs", path, "c1", options={"label": "text"})[0].labels.tolist() == [[B]]


def test_obs_of_an_earlier_anndata(tmp_path: Path, ontology: Ontology) -> None:
    """Version 0.7 kept the categories of all columns in a group of their own."""
    path = h5ad(tmp_path, OBS[["text"]])
    with h5py.File(path, "r+") as file:
        obs = file["obs"]
        del obs["text"]
        obs.attrs["encoding-version"] = "0.1.0"
        obs.attrs["column-order"] = ["kind", "text"]
        obs["__categories/kind"] = np.array([T, B], dtype=h5py.string_dtype())
        obs["kind"] = np.array([1, -1, 0], dtype="int8")
        obs["kind"].attrs["categories"] = obs["__categories/kind"].ref
        obs["text"] = np.array([B, T, T], dtype=h5py.string_dtype())
    found, _ = fit(ontology, "obs", path, "c1", "c2", "c3", options={"label": "kind", "ranks": ["text"]})
    assert found.labels.tolist() == [[B, UNKNOWN], [UNKNOWN, T], [T, UNKNOWN]]


@pytest.mark.parametrize(
    ("columns", "options", "labels", "confidence"),
    [
        ({"popv_prediction": [B, T], "popv_prediction_score": [8, 3]}, {"preset": "popv"}, [B, T], [8, 3]),
        ({"popv_prediction": [B, T]}, {"preset": "popv"}, [B, T], None),
        (
            {"popv_prediction": [B, T], "popv_prediction_score": [8, 3], "popv_knn_bbknn_prediction": [T, T]},
            {"preset": "popv", "label": "popv_knn_bbknn_prediction"},
            [T, T],
            None,
        ),
        (
            {"majority_voting": [B, B], "predicted_labels": [B, T], "conf_score": [0.9, 0.4]},
            {"preset": "celltypist"},
            [B, B],
            [0.9, 0.4],
        ),
        ({"predicted_labels": [B, T], "conf_score": [0.9, 0.4]}, {"preset": "celltypist"}, [B, T], [0.9, 0.4]),
        (
            {"predicted_labels": [B, T], "conf_score": [0.9, 0.4], "own": [1, 2]},
            {"preset": "celltypist", "confidence": "own"},
            [B, T],
            [1, 2],
        ),
        ({"C_scANVI": [B, T], "sure": [0.5, 0.6]}, {"preset": "scanvi", "confidence": "sure"}, [B, T], [0.5, 0.6]),
        ({"predictions": [B, T]}, {"preset": "scanvi"}, [B, T], None),
    ],
)
def test_presets(
    tmp_path: Path,
    ontology: Ontology,
    columns: dict[str, list[Any]],
    options: dict[str, str],
    labels: list[str],
    confidence: list[float] | None,
) -> None:
    path = h5ad(tmp_path, pd.DataFrame(columns, index=["c1", "c2"]))
    found, _ = fit(ontology, "obs", path, "c1", "c2", options=options)
    assert found.labels[:, 0].tolist() == labels
    assert (None if found.confidence is None else found.confidence.tolist()) == confidence


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "name the column of the `label`, or a `preset`"),
        ({"label": "txt"}, "cells.h5ad: obs: there is no column 'txt'; did you mean 'text'"),
        ({"preset": "popv"}, "obs has no column 'popv_prediction', which `preset: popv` reads; name the column in"),
        (
            {"label": "text", "confidence": "text"},
            "cells.h5ad: obs, row 1, column 'text': 'CL:0000236' is not a",
        ),
        ({"label": "text", "confidence": "maybe"}, "obs, row 2, column 'maybe': '' is not a number, expected one for"),
        ({"label": "text", "cell_id": "kind"}, "obs, row 2, column 'kind': '' is not a cell id"),
        ({"label": "text", "cell_id": "score"}, "obs, row 1, column 'score': '0.5' is not a cell id"),
        ({"label": "text", "preset": "popV"}, "parameters.options.preset: .* null, found text"),
    ],
)
def test_obs_that_is_refused(tmp_path: Path, ontology: Ontology, options: dict[str, str], message: str) -> None:
    with pytest.raises(AnnobenchError, match=message):
        fit(ontology, "obs", h5ad(tmp_path, OBS), "c1", options=options)


def test_a_broken_h5ad(tmp_path: Path, ontology: Ontology) -> None:
    with pytest.raises(DataError, match="t.h5ad: is not a readable h5ad file"):
        fit(ontology, "obs", written(tmp_path / "t.h5ad", "text"), "c1", options={"label": "x"})


# SingleR

SINGLER = (
    '"","scores.B","labels","delta.next","pruned.labels"\n"c1",0.4,"B cell",0.25,"B cell"\n"c2",0.3,"T cell",0.01,NA\n'
)


def test_singler(tmp_path: Path, ontology: Ontology) -> None:
    path = written(tmp_path / "singler.csv", SINGLER)
    found, _ = fit(ontology, "singler", path, "c1", "c2", labels="name")
    assert found.labels[:, 0].tolist() == [B, T]
    assert found.confidence is not None
    assert found.confidence.tolist() == [0.25, 0.01]
    found, notes = fit(ontology, "singler", path, "c1", "c2", labels="name", options={"pruned": True})
    assert found.labels[:, 0].tolist() == [B, UNKNOWN]
    assert notes["unmapped"] == {"(empty)": 1}
    found, _ = fit(ontology, "singler", path, "c1", labels="name", options={"confidence": None})
    assert found.confidence is None


def test_singler_without_its_columns(tmp_path: Path, ontology: Ontology) -> None:
    path = written(tmp_path / "singler.csv", '"","labels"\n"c1","B cell"\n')
    with pytest.raises(DataError, match="singler.csv: there is no column 'delta.next'"):
        fit(ontology, "singler", path, "c1", labels="name")
    with pytest.raises(DataError, match="singler.csv: there is no column 'pruned.labels'"):
        fit(ontology, "singler", path, "c1", labels="name", options={"pruned": True, "confidence": None})


# answers for clusters

ANSWERS = "cluster,label,also,sure\n0,B cell,,0.9\n1,T cell,B cell,0.5\n9,monocyte,,0.1\n"
CLUSTERED = pd.DataFrame({"leiden": pd.Categorical(["0", "1", "2", "0"])}, index=["c1", "c2", "c3", "c4"])


def test_answers_for_clusters(tmp_path: Path, ontology: Ontology) -> None:
    path, cells = written(tmp_path / "answers.csv", ANSWERS), h5ad(tmp_path, CLUSTERED)
    options = {"cells": str(cells), "cells_cluster": "leiden", "ranks": ["also"], "confidence": "sure"}
    found, notes = fit(ontology, "clusters", path, "c1", "c2", "c3", "c4", labels="name", options=options)
    assert found.labels.tolist() == [[B, UNKNOWN], [T, B], [UNKNOWN, UNKNOWN], [B, UNKNOWN]]
    assert found.confidence is not None
    assert found.confidence.tolist() == [0.9, 0.5, 0.0, 0.9]
    assert (notes["clusters"], notes["clusters_without_answer"], notes["answers_without_cells"]) == (3, 1, 1)
    assert notes["without_answer"] == {"2": 1}
    assert notes["cells_unmapped"] == 1
    assert notes["sha256"] == {str(path): sha256_of(path), str(cells): sha256_of(cells)}


def test_clusters_of_a_table(tmp_path: Path, ontology: Ontology) -> None:
    path = written(tmp_path / "answers.csv", ANSWERS)
    cells = written(tmp_path / "cells.tsv", "barcode\tgroup\nc2\t1.0\nc1\t0\nc3\t\n")
    options = {"cells": str(cells), "cells_id": "barcode", "cells_cluster": "group"}
    found, notes = fit(ontology, "clusters", path, "c1", "c2", "c3", labels="name", options=options)
    assert found.labels[:, 0].tolist() == [B, T, UNKNOWN]
    assert notes["without_answer"] == {"(empty)": 1}


@pytest.mark.parametrize(
    ("answers", "message"),
    [
        (ANSWERS + "0,T cell,,1\n", "answers.csv, line 5, column 'cluster': cluster '0' is answered twice"),
        (ANSWERS + ",T cell,,1\n", "answers.csv, line 5, column 'cluster': the cluster is missing"),
        ("cluster,label,also,sure\nB,B cell,,1\n", "has no answer for any cluster of .*'0'.*; its clusters are B"),
        (ANSWERS.replace("0.5", ""), "answers.csv, line 3, column 'sure': '' is not a number"),
        ("cluster,lable,also,sure\n0,B cell,,1\n", "there is no column 'label'; did you mean 'lable'"),
    ],
)
def test_answers_that_are_refused(tmp_path: Path, ontology: Ontology, answers: str, message: str) -> None:
    path = written(tmp_path / "answers.csv", answers)
    options = {"cells": str(h5ad(tmp_path, CLUSTERED)), "cells_cluster": "leiden", "confidence": "sure"}
    with pytest.raises(DataError, match=message):
        fit(ontology, "clusters", path, "c1", labels="name", options=options)


def test_clusters_need_cells(tmp_path: Path, ontology: Ontology) -> None:
    path = written(tmp_path / "answers.csv", ANSWERS)
    with pytest.raises(ConfigError, match="parameters.options: key 'cells' is missing"):
        fit(ontology, "clusters", path, "c1")
    with pytest.raises(MethodSkipped, match="there is no file 'nowhere.h5ad', and the reader 'clusters' needs 2 files"):
        fit(ontology, "clusters", path, "c1", options={"cells": "nowhere.h5ad"})


# Azimuth


def azimuth(folder: Path, metadata: str = METADATA, crosswalk: str = CROSSWALK) -> tuple[Path, dict[str, str]]:
    walk = written(folder / "walk.csv", crosswalk)
    return written(folder / "azimuth.csv", metadata), {"crosswalk": str(walk)}


def test_azimuth(tmp_path: Path, ontology: Ontology) -> None:
    path, options = azimuth(tmp_path)
    found, notes = fit(ontology, "azimuth", path, "c1", "c2", "c3", "c4", options=options)
    assert found.labels.tolist() == [[CD4, T], [CD8, T], [UNKNOWN, B], [UNKNOWN, B]]
    assert found.scores is None
    assert found.confidence is not None
    assert found.confidence.tolist() == [0.75, 0.5, 0.8, 0.0]
    assert notes["levels"] == ("predicted.l2", "predicted.l1")
    assert (notes["labels_not_in_crosswalk"], notes["not_in_crosswalk"]) == (1, {"B odd": 1})
    assert notes["unmapped"] == {"B odd": 1, "(empty)": 1}
    assert set(notes["sha256"]) == {str(path), options["crosswalk"]}  # type: ignore[arg-type]


def test_azimuth_with_chosen_levels(tmp_path: Path, ontology: Ontology) -> None:
    path, options = azimuth(tmp_path)
    chosen = {**options, "levels": ["predicted.l1"]}
    found, _ = fit(ontology, "azimuth", path, "c1", "c4", options=chosen)
    assert found.labels.tolist() == [[T], [B]]
    assert found.confidence is not None
    assert found.confidence.tolist() == [0.99, 0.7]


def test_azimuth_without_crosswalk(tmp_path: Path, ontology: Ontology) -> None:
    names = METADATA.replace('"T"', '"T cell"').replace('"B"', '"B cell"')
    path, _ = azimuth(tmp_path, names)
    found, _ = fit(ontology, "azimuth", path, "c1", "c4", labels="name", options={"levels": ["predicted.l1"]})
    assert found.labels.tolist() == [[T], [B]]


def test_a_label_without_score_has_the_lowest(tmp_path: Path, ontology: Ontology) -> None:
    path, options = azimuth(tmp_path, METADATA.replace("0.5,", "NA,"))
    found, notes = fit(ontology, "azimuth", path, "c2", options=options)
    assert found.confidence is not None
    assert found.confidence.tolist() == [0.0]
    assert notes["cells_without_score"] == 1


@pytest.mark.parametrize(
    ("metadata", "crosswalk", "more", "message"),
    [
        (
            METADATA,
            CROSSWALK + f"B,{T},T cell\n",
            {},
            "walk.csv, line 8: label 'B' has the id 'CL:0000084', but 'CL:0000236' in line 5; keep one row",
        ),
        (
            METADATA,
            CROSSWALK,
            {"unmapped": "error"},
            r"line 4: label 'B odd' is not in walk.csv.* \(\(empty\): 1; B odd: 1\)",
        ),
        (METADATA, "tool_cell_label,cl_id\nother,CL:0000084\n", {}, "none of the labels is in walk.csv"),
        (METADATA, "label,id\nB,x\n", {}, "walk.csv: there is no column 'tool_cell_label'"),
        (METADATA.replace("predicted.", "pred."), CROSSWALK, {}, "there is no column 'predicted.<level>' with a 'pred"),
        (METADATA + '"c1",1,1,"B",1,"B",1\n', CROSSWALK, {}, "line 6: cell 'c1' is listed twice, first in line 2"),
        (METADATA.replace('"c', '"x'), CROSSWALK, {}, "none of its 4 cells .* is among the 2 test cells"),
        (METADATA.replace('"c2"', '"x"'), CROSSWALK, {"missing": "error"}, r"1 of 2 test cells are missing \(c2\)"),
    ],
)
def test_azimuth_that_is_refused(
    tmp_path: Path, ontology: Ontology, metadata: str, crosswalk: str, more: dict[str, Any], message: str
) -> None:
    path, options = azimuth(tmp_path, metadata, crosswalk)
    with pytest.raises(DataError, match=message):
        fit(ontology, "azimuth", path, "c1", "c2", options=options, **more)


def test_two_ids_of_a_label_that_does_not_occur_do_not_matter(tmp_path: Path, ontology: Ontology) -> None:
    path, options = azimuth(tmp_path, crosswalk=CROSSWALK + f"rare,{B},\nrare,{T},\n")
    assert fit(ontology, "azimuth", path, "c1", options=options)[0].labels.tolist() == [[CD4, T]]


def test_a_crosswalk_that_is_missing(tmp_path: Path, ontology: Ontology) -> None:
    path, _ = azimuth(tmp_path)
    with pytest.raises(MethodSkipped, match="there is no file 'walk.tsv', and the reader 'azimuth' needs 2 files"):
        fit(ontology, "azimuth", path, "c1", options={"crosswalk": "walk.tsv"})


# CAS

INFERRED = (
    ",cas_cell_type_label_1,cas_cell_type_label_2,cas_cell_type_name_1,cas_cell_type_name_2,cas_cell_type_score_1,"
    "cas_cell_type_score_2,cas_cluster_type_label_1,cas_cluster_type_name_1,cas_cluster_type_score_1\n"
    f'c1,"CD4-positive, alpha-beta T cell",T cell,{CD4},{T},0.4,0.9,T cell,{T},0.8\n'
    f"c2,B cell,cell,{B},{ROOT},0.7,1.0,T cell,{T},0.8\n"
    f"c3,cell,cell,{ROOT},{ROOT},1.0,1.0,B cell,{B},0.6\n"
)


def matches(**scores: float) -> list[dict[str, Any]]:
    ids = {"cell": ROOT, "eukaryotic": "CL:0000255", "t": T, "b": B, "cd4": CD4, "cd8": CD8}
    return [
        {"score": score, "cell_type_ontology_term_id": ids[name], "cell_type": NAMES[ids[name]]}
        for name, score in scores.items()
    ]


RESPONSE: dict[str, Any] = {
    "data": [
        {"query_cell_id": "c1", "matches": matches(cell=1.0, t=0.9, cd4=0.4, cd8=0.3, b=0.1), "total_weight": 5.0},
        {"query_cell_id": "c2", "matches": matches(b=0.7, cell=1.0, eukaryotic=1.0, t=0.2), "total_weight": 5.0},
        {"query_cell_id": "c3", "matches": matches(b=0.1), "total_weight": 5.0},
    ],
    "model_name": "model",
}
ABOUT = {"input_path": "cells.h5ad", "model_name": "model", "n_cells": 3, "ontology_resource_name": "cl"}


def run(folder: Path, labels: str = INFERRED, **changes: Any) -> Path:
    """The folder of a run of CAS."""
    folder = folder / "run"
    folder.mkdir(exist_ok=True)
    written(folder / cas.LABELS, labels)
    for file, content in (
        (cas.METADATA, ABOUT | changes.get("about", {})),
        (cas.RESOURCE, RESOURCE | changes.get("resource", {})),
        (cas.RESPONSE, RESPONSE | changes.get("response", {})),
    ):
        written(folder / file, json.dumps({key: value for key, value in content.items() if value is not None}))
    return folder


def test_cas(tmp_path: Path, ontology: Ontology) -> None:
    path = run(tmp_path)
    found, notes = fit(ontology, "cas", path, "c3", "c1", "c2")
    assert found.labels.tolist() == [[ROOT, UNKNOWN], [CD4, T], [B, ROOT]]
    assert found.scores is None
    assert found.confidence is not None
    assert found.confidence.tolist() == [1.0, 0.4, 0.7]
    assert notes["model"] == "model"
    assert notes["cells_root"] == 1
    assert notes["sha256"] == {
        f"{path}/{file}": sha256_of(path / file) for file in sorted(p.name for p in path.iterdir())
    }


def test_cas_clusters_names_and_fewer_ranks(tmp_path: Path, ontology: Ontology) -> None:
    path = run(tmp_path)
    found, _ = fit(ontology, "cas", path, "c1", "c2", "c3", options={"level": "cluster"})
    assert found.labels.tolist() == [[T], [T], [B]]
    assert found.confidence is not None
    assert found.confidence.tolist() == [0.8, 0.8, 0.6]
    by_name, _ = fit(ontology, "cas", path, "c1", "c2", "c3", labels="name", options={"use": "label"})
    assert same(by_name, fit(ontology, "cas", path, "c1", "c2", "c3")[0])
    assert fit(ontology, "cas", path, "c1", options={"top_k": 1})[0].labels.tolist() == [[CD4]]


def test_cas_of_any_number_of_ranks(tmp_path: Path, ontology: Ontology) -> None:
    ids = sorted(term for term in ontology.terms if term in ontology)[:12]
    kinds = ("label", "name", "score")
    header = ",".join(f"cas_cell_type_{kind}_{k}" for kind in kinds for k in range(1, 13))
    row = ",".join([*(f'"{ontology.label(i)}"' for i in ids), *ids, *(str(k / 20) for k in range(12))])
    names = {"cl_names": ids, "cell_ontology_term_id_to_cell_type": {i: ontology.label(i) for i in ids}}
    path = run(tmp_path, f",{header}\nc1,{row}\n", about={"n_cells": 1}, resource=names)
    assert fit(ontology, "cas", path, "c1")[0].labels.tolist() == [ids]


@pytest.mark.parametrize(
    ("options", "labels", "confidence"),
    [
        ({}, [[CD4, CD8, T], [B, T, "CL:0000255"], [ROOT, UNKNOWN, UNKNOWN]], [0.4, 0.7, 1.0]),
        ({"top_k": 1, "min_score": 0.35}, [[CD4], [B], [ROOT]], [0.4, 0.7, 1.0]),
        ({"top_k": 2, "min_score": 0.95}, [[ROOT, UNKNOWN], ["CL:0000255", ROOT], [ROOT, UNKNOWN]], [1.0, 1.0, 1.0]),
        ({"top_k": 2, "min_score": 0.1, "depth": "longest"}, [[B, CD4], [B, T], [B, ROOT]], [0.1, 0.7, 0.1]),
    ],
)
def test_calls_from_the_response(
    tmp_path: Path, ontology: Ontology, options: dict[str, Any], labels: list[list[str]], confidence: list[float]
) -> None:
    path = run(tmp_path)
    found, _ = fit(ontology, "cas", path, "c1", "c2", "c3", options={"calls": "response", **options})
    assert found.labels.tolist() == labels
    assert found.confidence is not None
    assert found.confidence.tolist() == confidence


def top_calls(scores: dict[str, float], depth: dict[str, int], least: float, k: int) -> list[str]:
    """The most granular calls as CAS describes them, by sorting: an independent statement of the rule."""
    kept = [(depth[term], scores[term], term) for term in NAMES if scores.get(term, -1.0) >= least]
    kept.sort(key=lambda one: (-one[0], -one[1]))
    return ([term for _, _, term in kept] + [ROOT] * k)[:k]


@settings(deadline=None, max_examples=60)
@given(
    scores=st.lists(
        st.dictionaries(st.sampled_from(list(NAMES)), st.sampled_from([0.1, 0.2, 0.3, 0.5, 1.0])),
        min_size=1,
        max_size=5,
    ),
    k=st.integers(1, 7),
    least=st.sampled_from([0.05, 0.2, 0.3]),
    depth=st.sampled_from(["shortest", "longest"]),
)
def test_calls_from_any_response(
    tmp_path_factory: pytest.TempPathFactory,
    ontology: Ontology,
    scores: list[dict[str, float]],
    k: int,
    least: float,
    depth: str,
) -> None:
    data = [
        {
            "query_cell_id": f"c{i}",
            "matches": [{"cell_type_ontology_term_id": term, "score": score} for term, score in one.items()],
        }
        for i, one in enumerate(scores)
    ]
    path = run(tmp_path_factory.mktemp("t"), about={"n_cells": len(data)}, response={"data": data})
    options = {"calls": "response", "top_k": k, "min_score": least, "depth": depth}
    found, _ = fit(ontology, "cas", path, *(f"c{i}" for i in range(len(data))), options=options)
    for one, labels in zip(scores, found.labels.tolist(), strict=True):
        expected = top_calls(one, RESOURCE[f"{depth}_path_lengths_from_cell_root"], least, k)
        expected = [UNKNOWN if term in expected[:rank] else term for rank, term in enumerate(expected)]
        assert labels == expected


@pytest.mark.parametrize("file", [cas.LABELS, cas.METADATA, cas.RESOURCE, cas.RESPONSE])
def test_a_run_without_one_of_its_files_is_skipped(tmp_path: Path, ontology: Ontology, file: str) -> None:
    path = run(tmp_path)
    (path / file).unlink()
    message = f"parameters: there is no file '{path}/{file}', and the reader 'cas' needs 4 files"
    with pytest.raises(MethodSkipped, match=message):
        fit(ontology, "cas", path, "c1")


def test_a_run_that_is_not_there_names_all_files(tmp_path: Path, ontology: Ontology) -> None:
    with pytest.raises(MethodSkipped, match="inferred_labels.csv' and .*metadata.* and .*resource.* and .*response"):
        fit(ontology, "cas", tmp_path / "nowhere", "c1")


def test_the_ontology_of_a_run_is_compared(tmp_path: Path, ontology: Ontology) -> None:
    old = next(i for i, term in ontology.terms.items() if term.obsolete and ontology.resolve(i))
    new = ontology.resolve(old)
    names = {**NAMES, old: "old name", "CL:9999999": "own type", B: "B lymphocyte"}
    labels = INFERRED.replace(f"{B},{ROOT}", f"{old},CL:9999999")
    resource = {"cl_names": list(names), "cell_ontology_term_id_to_cell_type": names}
    found, notes = fit(ontology, "cas", run(tmp_path, labels, resource=resource), "c1", "c2")
    assert found.labels.tolist() == [[CD4, T], [new, UNKNOWN]]
    assert (notes["cells_replaced"], notes["replaced"]) == (1, {f"{old} -> {new}": 1})
    assert (notes["ontology_terms"], notes["ontology_terms_missing"], notes["ontology_terms_obsolete"]) == (8, 1, 1)
    assert notes["ontology_missing"] == ("CL:9999999",)
    assert notes["ontology_obsolete"] == (f"{old} -> {new}",)
    assert (notes["ontology_terms_renamed"], notes["ontology_renamed"]) == (
        1,
        (f"{B}: 'B lymphocyte', now '{ontology.label(B)}'",),
    )


WITHOUT = {term: name for term, name in NAMES.items() if term != CD8}
RESPONDED = {"options": {"calls": "response"}}
REFUSED: list[tuple[str, str, dict[str, Any], dict[str, Any], str]] = [
    (
        "another ontology",
        INFERRED.replace(B, MONOCYTE),
        {},
        {},
        r"inferred_labels.csv: 1 ids of 1 cells are not in ontology_resource.json \(CL:0000576\); the two files are of",
    ),
    (
        "another ontology in the response",
        INFERRED,
        {
            "resource": {
                "cell_ontology_term_id_to_cell_type": {k: v for k, v in NAMES.items() if k != CD8},
                "cl_names": [],
            }
        },
        {"options": {"calls": "response"}},
        r"ontology_response.json: 1 ids of 1 cells are not in ontology_resource.json \(CL:0000625\)",
    ),
    (
        "another run",
        INFERRED,
        {"about": {"n_cells": 4}},
        {},
        "inferred_labels.csv: has 3 cells, but metadata.json says n_cells 4; the two files are of different runs",
    ),
    (
        "a gap in the ranks",
        INFERRED.replace("name_2", "name_3"),
        {},
        {},
        "there is a column 'cas_cell_type_name_3', but no 'cas_cell_type_name_2'; ranks must have no gap",
    ),
    (
        "no ranks",
        INFERRED.replace("cas_cell_type_name", "name"),
        {},
        {},
        "there is no column 'cas_cell_type_name_1'; run `annotate` with --infer-labels",
    ),
    ("cells with a name", "cell" + INFERRED, {}, {}, "its first column, 'cell', has a name"),
    ("doubled", INFERRED.replace("c2,", "c1,"), {}, {}, "line 3: cell 'c1' is listed twice, first in line 2"),
    ("of others", INFERRED.replace("\nc", "\nd"), {}, {}, r"none of its 3 cells \(such as 'd1'\) is among the 2 test"),
    ("missing", INFERRED.replace("c2,", "d,"), {}, {"missing": "error"}, r"1 of 2 test cells are missing \(c2\)"),
    ("no resource", INFERRED, {"resource": {"cl_names": None}}, {}, "ontology_resource.json: has no 'cl_names'"),
    (
        "no depths",
        INFERRED,
        {"resource": {"longest_path_lengths_from_cell_root": None}},
        {"options": {"calls": "response", "depth": "longest"}},
        "ontology_resource.json: has no longest path lengths from the root",
    ),
    (
        "no answers",
        INFERRED,
        {"response": {"data": [{}]}},
        {"options": {"calls": "response"}},
        "cell 0: is not an answer",
    ),
    ("ranks", INFERRED, {}, {"options": {"top_k": 0}}, "options.top_k is 0, expected 1 or more"),
    ("score", INFERRED, {}, {"options": {"min_score": 0.0}}, "options.min_score is 0.0, expected more than 0"),
]


@pytest.mark.parametrize(
    ("labels", "changes", "more", "message"), [case[1:] for case in REFUSED], ids=[c[0] for c in REFUSED]
)
def test_cas_that_is_refused(
    tmp_path: Path, ontology: Ontology, labels: str, changes: dict[str, Any], more: dict[str, Any], message: str
) -> None:
    with pytest.raises(AnnobenchError, match=message):
        fit(ontology, "cas", run(tmp_path, labels, **changes), "c1", "c2", **more)


def test_a_run_that_is_not_json(tmp_path: Path, ontology: Ontology) -> None:
    path = run(tmp_path)
    written(path / cas.RESOURCE, "{")
    with pytest.raises(DataError, match="ontology_resource.json: is not readable as JSON"):
        fit(ontology, "cas", path, "c1")


# what holds for all readers


def shuffled(text: str, order: list[int]) -> str:
    header, *rows = text.splitlines()
    return "\n".join([header, *(rows[i] for i in order if i < len(rows))]) + "\n"


@settings(deadline=None, max_examples=15)
@given(order=st.permutations(range(4)))
def test_the_order_of_rows_never_matters(
    tmp_path_factory: pytest.TempPathFactory, ontology: Ontology, order: list[int]
) -> None:
    folder = tmp_path_factory.mktemp("t")
    cells = ["c3", "c1", "c2", "of nobody"]

    def both(reader: str, write: Any, **more: Any) -> None:
        before = fit(ontology, reader, write(list(range(4))), *cells, **more)[0]
        assert same(before, fit(ontology, reader, write(order), *cells, **more)[0])

    both("singler", lambda rows: written(folder / "s.csv", shuffled(SINGLER, rows)), labels="name")
    walk = {"crosswalk": str(written(folder / "walk.csv", CROSSWALK))}
    both("azimuth", lambda rows: written(folder / "a.csv", shuffled(METADATA, rows)), options=walk)
    both("cas", lambda rows: run(folder, shuffled(INFERRED, rows)))
    data = [*RESPONSE["data"], {"query_cell_id": "more", "matches": []}]
    changes = {"calls": "response"}
    both(
        "cas",
        lambda rows: run(folder, about={"n_cells": 4}, response={"data": [data[i] for i in rows]}),
        options=changes,
    )
    both(
        "obs",
        lambda rows: h5ad(folder, OBS.iloc[[i for i in rows if i < 3]]),
        options={"label": "text", "confidence": "score"},
    )
    clusters = {"cells": str(folder / "clusters.h5ad"), "cells_cluster": "leiden"}

    def answers(rows: list[int]) -> Path:
        h5ad(folder, CLUSTERED.iloc[rows], "clusters.h5ad")
        return written(folder / "answers.csv", shuffled(ANSWERS, rows))

    both("clusters", answers, labels="name", options=clusters)
