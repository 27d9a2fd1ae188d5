"""Labels of Azimuth become the folder of a CAS run: the columns, the propagated scores, and what is left out."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from annobench.__main__ import main
from annobench.core.errors import DataError
from annobench.methods.converters.azimuth import convert
from annobench.methods.shared import cas
from annobench.methods.shared.azimuth import Crosswalk
from annobench.ontology import ROOT, UNKNOWN, Ontology
from annotations import CD4, CD8, CROSSWALK, METADATA, NAMES, RESOURCE, B, T, fit, h5ad, same, written

CELLS = pd.DataFrame({"x": [1, 2, 3, 4]}, index=["c2", "c1", "c4", "c3"])


def converted(folder: Path, metadata: str = METADATA, crosswalk: str = CROSSWALK, **more: Any) -> Path:
    columns = {"label_column": "tool_cell_label", "id_column": "cl_id"} | more.pop("columns", {})
    walk = Crosswalk.load(written(folder / "walk.csv", crosswalk), **columns)
    resource = written(folder / "resource.json", json.dumps(RESOURCE))
    table, cells = written(folder / "azimuth.csv", metadata), h5ad(folder, more.pop("cells", CELLS))
    convert(table, cells, walk, folder / "out", **{"ontology": resource, "reference": "pbmcref"} | more)
    return folder / "out"


def test_the_layout(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = converted(tmp_path, columns={"name_column": "cl_label"})
    assert (out / cas.LABELS).read_text() == (
        ",cas_cell_type_label_1,cas_cell_type_label_2,cas_cell_type_name_1,cas_cell_type_name_2,"
        "cas_cell_type_score_1,cas_cell_type_score_2\n"
        f'c2,"CD8-positive, alpha-beta T cell",T cell,{CD8},{T},0.5,0.9\n'
        f'c1,"CD4-positive, alpha-beta T cell",T cell,{CD4},{T},0.75,0.99\n'
        f"c4,,B cell,,{B},,0.7\n"
        f"c3,unknown,B cell,unknown,{B},0.8,0.8\n"
    )
    assert json.loads((out / cas.METADATA).read_text()) == {
        "input_path": str((tmp_path / "cells.h5ad").resolve()),
        "model_name": "azimuth_pbmcref",
        "n_cells": 4,
        "ontology_resource_name": None,
    }
    assert json.loads((out / cas.RESOURCE).read_text()) == RESOURCE
    said = capsys.readouterr().out
    assert "walk.csv: 1 labels have no id and become 'unknown' (label: cells; B odd: 1)" in said
    assert "wrote 4 cells with 2 levels (predicted.l2, predicted.l1)" in said


def test_scores_go_to_ancestors(tmp_path: Path) -> None:
    response = json.loads((converted(tmp_path) / cas.RESPONSE).read_text())
    assert response["model_name"] == "azimuth_pbmcref"
    by_cell = {answer["query_cell_id"]: answer for answer in response["data"]}
    assert list(by_cell) == list(CELLS.index)
    eukaryotic = "CL:0000255"
    expected = {
        "c1": ({ROOT: 0.99, eukaryotic: 0.99, T: 0.99, CD4: 0.75}, 0.75),
        "c2": ({ROOT: 0.9, eukaryotic: 0.9, T: 0.9, CD8: 0.5}, 0.5),
        "c3": ({ROOT: 0.8, eukaryotic: 0.8, B: 0.8}, 0.8),
        "c4": ({ROOT: 0.7, eukaryotic: 0.7, B: 0.7}, 0.7),
    }
    for cell, (scores, weight) in expected.items():
        answer = by_cell[cell]
        assert {one["cell_type_ontology_term_id"]: one["score"] for one in answer["matches"]} == scores
        assert all(one["cell_type"] == NAMES[one["cell_type_ontology_term_id"]] for one in answer["matches"])
        assert (answer["total_weight"], answer["total_neighbors"], answer["total_neighbors_unrecognized"]) == (
            weight,
            1,
            0,
        )


def test_what_is_converted_reads_as_the_original(tmp_path: Path, ontology: Ontology) -> None:
    out = converted(tmp_path)
    options = {"crosswalk": str(tmp_path / "walk.csv")}
    original, _ = fit(ontology, "azimuth", tmp_path / "azimuth.csv", "c1", "c2", "c3", "c4", options=options)
    again, _ = fit(ontology, "cas", out, "c1", "c2", "c3", "c4")
    assert same(original, again)
    assert again.labels.tolist() == [[CD4, T], [CD8, T], [UNKNOWN, B], [UNKNOWN, B]]


def test_real_releases_convert_and_read_again(tmp_path: Path, ontology: Ontology) -> None:
    """With many cells and the whole ontology: equal to the reader of Azimuth, and scores as brute force has them."""
    rng = np.random.default_rng(0)
    terms = sorted(term for term in ontology.terms if term in ontology and ROOT in ontology.ancestors(term))
    fine = rng.choice(terms, 12, replace=False).tolist()
    coarse = {term: sorted(ontology.ancestors(term))[0] for term in fine}
    walk = "tool_cell_label,cl_id\n" + "".join(f"{term.lower()},{term}\n" for term in {*fine, *coarse.values()})
    rows = [(f"cell{i}", fine[rng.integers(12)], round(rng.random(), 3), round(rng.random(), 3)) for i in range(200)]
    metadata = '"","predicted.a","predicted.a.score","predicted.b","predicted.b.score"\n' + "".join(
        f"{cell},{coarse[term].lower()},{score},{term.lower()},{other}\n" for cell, term, score, other in rows
    )
    names = [cell for cell, *_ in rows]
    cells = pd.DataFrame({"x": 1.0}, index=rng.permutation(names))
    out = converted(tmp_path, metadata, walk, ontology=ontology, cells=cells)
    original, _ = fit(
        ontology, "azimuth", tmp_path / "azimuth.csv", *names, options={"crosswalk": str(tmp_path / "walk.csv")}
    )
    again, notes = fit(ontology, "cas", out, *names)
    assert same(original, again)
    assert (notes["ontology_terms_missing"], notes["ontology_terms_obsolete"], notes["ontology_terms_renamed"]) == (
        0,
        0,
        0,
    )
    answers = {one["query_cell_id"]: one["matches"] for one in json.loads((out / cas.RESPONSE).read_text())["data"]}
    for cell, term, score, other in rows:
        expected = dict.fromkeys(ontology.ancestors(term) | {term}, other)
        for above in ontology.ancestors(coarse[term]) | {coarse[term]}:
            expected[above] = max(score, other)
        assert {one["cell_type_ontology_term_id"]: one["score"] for one in answers[cell]} == expected


def test_the_ontology_resource_of_a_release(ontology: Ontology) -> None:
    resource = cas.Resource.of(ontology)
    assert resource.depths["shortest"][ROOT] == resource.depths["longest"][ROOT] == 0
    for term in resource.ids[1::50]:
        assert resource.ancestors(term) == ontology.ancestors(term)
        parents = [parent for parent in ontology.terms[term].parents if parent in resource.depths["shortest"]]
        for kind, choose in (("shortest", min), ("longest", max)):
            assert resource.depths[kind][term] == 1 + choose(resource.depths[kind][parent] for parent in parents)


@pytest.mark.parametrize("stated", [False, True])
def test_ancestors_of_a_resource(tmp_path: Path, stated: bool) -> None:
    above = {term: [ROOT] for term in NAMES} if stated else {}
    path = written(tmp_path / "r.json", json.dumps(RESOURCE | {"ancestors_dictionary": above}))
    assert cas.Resource.load(path).ancestors(CD4) == ({ROOT} if stated else {ROOT, "CL:0000255", T})


def test_levels_that_do_not_lie_above_each_other_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    converted(tmp_path, METADATA.replace('0.99,"T"', '0.99,"B"'))
    said = capsys.readouterr().out
    assert f"resource.json: 1 pairs of levels are not above each other ({B} above {CD4})" in said


def test_ids_that_the_ontology_does_not_have_are_named(
    tmp_path: Path, ontology: Ontology, capsys: pytest.CaptureFixture[str]
) -> None:
    out = converted(tmp_path, crosswalk=CROSSWALK.replace(CD4, "CL:0000899"))
    assert "resource.json: does not have 1 ids of the crosswalk (CL:0000899)" in capsys.readouterr().out
    answers = {one["query_cell_id"]: one for one in json.loads((out / cas.RESPONSE).read_text())["data"]}
    assert answers["c1"]["total_weight"] == 0.99
    with pytest.raises(DataError, match=r"1 ids of 1 cells are not in ontology_resource.json \(CL:0000899\)"):
        fit(ontology, "cas", out, "c1")


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (
            {"cells": CELLS.rename(index={"c1": "c9", "c2": "c8"})},
            r"azimuth.csv: 2 of 4 cells of cells.h5ad are missing \(c8, c9\); cells are joined by id",
        ),
        ({"metadata": METADATA + '"c1",1,1,"B",1,"B",1\n'}, "azimuth.csv, line 6: cell 'c1' is listed twice, first in"),
        ({"crosswalk": CROSSWALK + f"B,{T},\n"}, "walk.csv, line 8: label 'B' has the id"),
        ({"levels": ["predicted.l3"]}, "azimuth.csv: there is no column 'predicted.l3'; did you mean 'predicted.l"),
        ({"columns": {"id_column": "cl"}}, "walk.csv: there is no column 'cl'"),
    ],
)
def test_refused(tmp_path: Path, more: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        converted(tmp_path, **more)
    assert not (tmp_path / "out").exists()


def test_surplus_cells_are_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    converted(tmp_path, cells=CELLS.iloc[:2])
    assert "azimuth.csv: 2 cells are not in the h5ad file and are left out (c3, c4)" in capsys.readouterr().out


@pytest.mark.parametrize("missing", ["azimuth.csv", "cells.h5ad", "walk.csv", "resource.json"])
def test_the_command_names_a_file_that_is_missing(
    tmp_path: Path, missing: str, capsys: pytest.CaptureFixture[str]
) -> None:
    written(tmp_path / "azimuth.csv", METADATA)
    h5ad(tmp_path, CELLS)
    written(tmp_path / "walk.csv", CROSSWALK)
    written(tmp_path / "resource.json", json.dumps(RESOURCE))
    (tmp_path / missing).unlink()
    paths = [str(tmp_path / name) for name in ("azimuth.csv", "cells.h5ad", "walk.csv", "out")]
    assert main(["convert", "azimuth", *paths, "--ontology", str(tmp_path / "resource.json")]) == 2
    assert f"{missing}: there is no such file" in capsys.readouterr().err


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    walk = CROSSWALK.replace("tool_cell_label,cl_id,cl_label", "mine,id,name")
    paths = [written(tmp_path / "azimuth.csv", METADATA), h5ad(tmp_path, CELLS), written(tmp_path / "walk.csv", walk)]
    out = tmp_path / "out"
    columns = ["--label-column", "mine", "--id-column", "id", "--name-column", "name"]
    command = [
        "convert",
        "azimuth",
        *map(str, paths),
        str(out),
        *columns,
        "--reference",
        "x",
        "--level",
        "predicted.l1",
    ]
    assert main(command) == 0
    frame = pd.read_csv(out / cas.LABELS, index_col=0)
    assert frame["cas_cell_type_label_1"].tolist() == ["T cell", "T cell", "B cell", "B cell"]
    assert len(json.loads((out / cas.RESOURCE).read_text())["cl_names"]) > 2000
    assert main(command) == 2
    assert "out: is there already; delete it, or name another folder" in capsys.readouterr().err
