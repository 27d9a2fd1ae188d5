"""Tables of predictions as people write them are read, or refused with the line and what was expected."""

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from annobench.core.errors import AnnobenchError, ConfigError, DataError
from annobench.core.parquet import Categorical
from annobench.fit.method import Notes
from annobench.fit.predictions import validate
from annobench.methods.importers.table import read
from annobench.methods.shared.imports import ImportedPredictions, LabelIds, Labels, joined
from annobench.ontology import UNKNOWN, Ontology

SIMPLE = "cell_id,label\nc1,CL:0000236\nc2,CL:0000084\n"


def written(folder: Path, text: str | bytes, name: str = "table.csv") -> Path:
    path = folder / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def table(folder: Path, text: str | bytes, name: str = "table.csv", **options: Any) -> ImportedPredictions:
    return read(written(folder, text, name), **options)


def plain(found: ImportedPredictions) -> dict[str, list[str]]:
    return dict(zip(found.cell_ids.to_pylist(), labels_of(found), strict=True))


def labels_of(found: ImportedPredictions) -> list[list[str]]:
    """Labels of every cell, best first."""
    return np.column_stack([rank.to_text() for rank in found.labels]).tolist()


SAME = {"c1": ["CL:0000236"], "c2": ["CL:0000084"]}


@pytest.mark.parametrize(
    ("name", "text", "options"),
    [
        ("table.csv", SIMPLE, {}),
        ("table.csv", "\ufeff" + SIMPLE, {}),  # Excel's byte order mark
        ("table.csv", SIMPLE.replace("\n", "\r\n"), {}),
        ("table.csv", SIMPLE.rstrip("\n"), {}),
        ("table.csv", SIMPLE + "\n\n", {}),
        ("table.csv", '"cell_id","label"\n"c1","CL:0000236"\n"c2","CL:0000084"\n', {}),
        ("table.csv", SIMPLE.replace(",", ", "), {}),
        ("table.tsv", SIMPLE.replace(",", "\t"), {}),
        ("table.txt", SIMPLE.replace(",", "\t"), {}),
        ("table.csv", SIMPLE.replace(",", ";"), {"delimiter": ";"}),
        ("table.csv", SIMPLE.replace(",", ";"), {}),
        ("table.csv", "sep=;\n" + SIMPLE.replace(",", ";"), {}),
        ("table.csv", SIMPLE.replace(",", "\t"), {}),
        ("table.tsv", SIMPLE, {}),
        ("table.csv", SIMPLE.replace("\n", "\r"), {}),
        ("table.csv", SIMPLE.encode("utf-16"), {}),
        ("table.csv", SIMPLE.encode("utf-16-be"), {}),
        ("table.csv", SIMPLE.replace("c1,", "\xa0c1 ,").replace("236\n", "236\xa0\n"), {}),
        ("table.csv", SIMPLE.replace("\n", ",,\n") + ",,,\n , ,\n", {}),  # as Excel leaves cleared cells
        ("table.txt", '"cell_id" "label"\n"1" "c1" "CL:0000236"\n"2" "c2" "CL:0000084"\n', {}),  # write.table
        ("table.csv.gz", gzip.compress(SIMPLE.encode(), mtime=0), {}),
        # R: write.csv names the column of the row names "", write.table does not name it
        ("table.csv", '"","label"\n"c1","CL:0000236"\n"c2","CL:0000084"\n', {"cell_id": "index"}),
        ("table.tsv", '"label"\t"n"\n"c1"\t"CL:0000236"\t1\n"c2"\t"CL:0000084"\t2\n', {"cell_id": "index"}),
        ("table.csv", "label,more,cell_id\nCL:0000236,,c1\nCL:0000084,x,c2\n", {}),
    ],
)
def test_tables_as_people_write_them(tmp_path: Path, name: str, text: str | bytes, options: dict[str, str]) -> None:
    assert plain(table(tmp_path, text, name, **options)) == SAME


def test_parquet_of_pandas(tmp_path: Path) -> None:
    frame = pd.DataFrame({"label": pd.Categorical(["CL:0000236", "CL:0000084"])}, index=["c1", "c2"])
    frame.to_parquet(tmp_path / "a.parquet")
    assert plain(read(tmp_path / "a.parquet", cell_id="index")) == SAME
    frame.rename_axis("barcode").to_parquet(tmp_path / "b.parquet")
    assert plain(read(tmp_path / "b.parquet", cell_id="barcode")) == SAME
    frame.assign(cell_id=[7, 8]).to_parquet(tmp_path / "c.parquet")
    assert read(tmp_path / "c.parquet").cell_ids.to_pylist() == ["7", "8"]


def test_ranks_scores_and_confidence(tmp_path: Path) -> None:
    text = "cell_id,a,b,sa,sb,sure\nc1,A,B,0.9,0.1,0.8\nc2,B,,1e-1,,.5\nc3,NA,NA,NA,NA,NA\nc4,unknown,,,,\n"
    found = table(tmp_path, text, label="a", ranks=["b"], scores=["sa", "sb"], confidence="sure")
    assert labels_of(found) == [["A", "B"], ["B", ""], ["", ""], ["unknown", ""]]
    assert found.scores is not None
    assert found.confidence is not None
    assert np.array_equal(found.scores, [[0.9, 0.1], [0.1, np.nan]] + [[np.nan, np.nan]] * 2, equal_nan=True)
    assert np.array_equal(found.confidence, [0.8, 0.5, np.nan, np.nan], equal_nan=True)


SURE = {"confidence": "s"}
REFUSED: list[tuple[str, str | bytes, dict[str, Any], str]] = [
    ("t.csv", "cell_id,label,n\nc1,A,1\nc2,B\n", {}, "t.csv, line 3: has 2 fields, expected 3"),
    ("t.csv", "cell_id,label,n\nc1,A,1\nc2,B,2,3\n", {}, "t.csv, line 3: has 4 fields, expected 3"),
    ("t.csv", "cell_id,label\nc1,A\n,B\n", {}, "t.csv, line 3, column 'cell_id': '' is not a cell id"),
    ("t.csv", "cell_id,lable\nc1,A\n", {}, "t.csv: there is no column 'label'; did you mean 'lable'"),
    ("t.csv", "cell_id,label,label\nc1,A,B\n", {}, "column 'label' is listed twice in the header"),
    ("t.csv", 'cell_id,label,s\nc1,A,"0,93"\n', SURE, "line 2, column 's': '0,93' is not a number, .*decimal point"),
    ("t.csv", "cell_id,label,s\nc1,A,0.5\nc2,A,\n", SURE, "line 3, column 's': '' is not a number, .* 1 values are"),
    ("t.csv", "cell_id,label,s\nc1,A,0.5\nc2,A,NA\n", SURE, "t.csv, line 3, column 's': 'NA' is not a number"),
    ("t.csv", "cell_id,label,s\nc1,A,inf\n", SURE, "t.csv, line 2, column 's': 'inf' is not a number"),
    ("t.csv", "cell_id,label,s\nc1,A,95%\n", SURE, "t.csv, line 2, column 's': '95%' is not a number"),
    ("t.csv", 'cell_id,label\nc1,"A\nc2,B\n', {}, "t.csv, line 3: .*is a quote missing"),
    ("t.csv", 'cell_id,label\nc1,"A"B\n', {}, "t.csv, line 2: .*is a quote missing"),
    ("t.csv", "cell_id,label,s\nc1,A,0,93\nc2,A,0,5\n", SURE, "is '0,93' a number with a decimal comma"),
    ("t.csv", "cell_id,label,s\nc1,A,1\nc2,A,0,5\n", SURE, "t.csv, line 3: has 4 fields, .*'0,5' a number with a dec"),
    ("t.csv", "cell_id,label\nc1,A\nc2,B\x00\n", {}, "t.csv, line 3: holds a zero character"),
    ("t.csv", b"cell_id,label\nc1,A\nc2,\x8d\xe4\n", {}, "t.csv, line 3: is not UTF-8 text, nor Windows-1252"),
    ("t.csv", b"\xff\xfec\x00e\xd8x", {}, "t.csv: is not the text that its first bytes say"),
    ("t.csv", b"PK\x03\x04 and more", {}, "t.csv: is not text but a workbook"),
    ("t.csv", "cell_id,label\n", {}, "t.csv: holds no rows"),
    ("t.csv", "", {}, "t.csv: holds no rows"),
    ("t.csv.gz", gzip.compress(SIMPLE.encode(), mtime=0)[:-9], {}, "t.csv.gz: is not a whole gzip file"),
    ("t.csv.gz", SIMPLE, {}, "t.csv.gz: is not a whole gzip file"),
    ("t.parquet", SIMPLE, {}, "t.parquet: is not a readable Parquet file"),
    ("t.xlsx", SIMPLE, {}, "t.xlsx: ends in '.xlsx', expected one of .csv, .tsv, .tab, .txt, .parquet"),
    ("t.csv", SIMPLE, {"scores": ["a", "b"]}, "options.scores names 2 columns, expected 1"),
    ("t.csv", SIMPLE, {"delimiter": "||"}, "options.delimiter is '..', expected one character"),
]


@pytest.mark.parametrize(("name", "text", "options", "message"), REFUSED, ids=range(len(REFUSED)))
def test_refused_with_the_place(
    tmp_path: Path, name: str, text: str | bytes, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(AnnobenchError, match=message):
        table(tmp_path, text, name, **options)


def test_refused_parquet(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    frame = pd.DataFrame({"cell_id": ["c1", None], "label": ["A", "B"], "s": [0.5, np.nan], "n": [1.5, 2.5]})
    frame.to_parquet(path)
    with pytest.raises(DataError, match=r"t.parquet, row 2, column 'cell_id': '' is not a cell id"):
        read(path)
    with pytest.raises(DataError, match=r"t.parquet, row 1, column 'n': '1.5' is not a cell id"):
        read(path, cell_id="n")
    frame.assign(cell_id=["c1", "c2"]).to_parquet(path)
    with pytest.raises(DataError, match=r"t.parquet, row 2, column 's'"):
        read(path, confidence="s")
    frame.iloc[:0].to_parquet(path)
    with pytest.raises(DataError, match="holds no rows"):
        read(path)


def given(**more: Any) -> ImportedPredictions:
    values: dict[str, Any] = {
        "file": "t.csv",
        "cell_ids": ["c3", "c1", "c2"],
        "labels": [["B cell"], ["T cell"], ["odd"]],
        "scores": None,
        "confidence": None,
        "rows": np.array([2, 3, 4]),
    }
    values |= more
    values["cell_ids"] = pa.array(values["cell_ids"], pa.large_string())
    values["labels"] = [Categorical.of(rank) for rank in zip(*values["labels"], strict=True)]
    return ImportedPredictions(**values)


def texts(found: tuple[LabelIds, Notes]) -> list[list[str]]:
    """Ids of every cell, best first."""
    return found[0].ids[found[0].codes].tolist()


def by_name(ontology: Ontology, unmapped: str = UNKNOWN) -> Labels:
    return Labels(ontology.find, "a label of the ontology", unmapped)


def test_labels_become_ids_and_what_has_none_is_counted(ontology: Ontology) -> None:
    found = by_name(ontology).ids(given())
    assert texts(found) == [["CL:0000236"], ["CL:0000084"], [UNKNOWN]]
    assert found[1] == {
        **{"cells_unmapped": 1, "labels_unmapped": 1, "unmapped": {"odd": 1}},
        **{"cells_replaced": 0, "replaced": {}, "cells_root": 0},
    }
    with pytest.raises(
        DataError, match="t.csv, line 4: label 'odd' is not a label of the ontology; 1 labels of 1 cells"
    ):
        by_name(ontology, "error").ids(given())
    with pytest.raises(DataError, match="t.csv: none of the labels is a label of the ontology"):
        by_name(ontology).ids(given(labels=[["x"], ["y"], ["unknown"]]))


def test_unknown_is_no_unmapped_label_and_a_cell_without_label_is(ontology: Ontology) -> None:
    found = by_name(ontology).ids(given(labels=[["B cell"], ["Unknown"], [""]]))
    assert texts(found) == [["CL:0000236"], [UNKNOWN], [UNKNOWN]]
    assert found[1]["unmapped"] == {"(empty)": 1}


def test_a_rank_that_repeats_an_id_is_unknown(ontology: Ontology) -> None:
    found = by_name(ontology).ids(given(labels=[["B cell", "B lymphocyte"], ["T cell", ""], ["T cell", "B cell"]]))
    assert texts(found) == [["CL:0000236", UNKNOWN], ["CL:0000084", UNKNOWN], ["CL:0000084", "CL:0000236"]]


def test_cells_are_joined_by_id(ontology: Ontology) -> None:
    scores, confidence = np.array([[0.9], [0.8], [0.7]]), np.array([0.3, 0.2, 0.1])
    table = given(scores=scores, confidence=confidence)
    labels, wanted = by_name(ontology).ids(table)[0], np.array(["c1", "c9", "c3"], dtype=object)
    found, notes = joined(table, labels, wanted, missing=UNKNOWN, surplus="ignore")
    assert found.labels[:, 0].tolist() == ["CL:0000084", UNKNOWN, "CL:0000236"]
    assert found.scores is not None
    assert found.confidence is not None
    assert found.scores[:, 0].tolist() == [0.8, 0.0, 0.9]
    assert found.confidence.tolist() == [0.2, 0.0, 0.3]
    assert notes == {
        "cells_joined": 2,
        "cells_missing": 1,
        "missing": ("c9",),
        "cells_surplus": 1,
        "surplus": ("c2",),
    }
    validate(found, ["c1", "c9", "c3"], ontology.terms)


@pytest.mark.parametrize(
    ("wanted", "missing", "surplus", "message"),
    [
        (["c1", "c2", "c3", "c9"], "error", "ignore", r"1 of 4 test cells are missing \(c9\), and `missing` is error"),
        (["c1", "c2"], UNKNOWN, "error", r"t.csv, line 2: cell 'c3' is not a test cell; 1 of 3 cells are not \(c3\)"),
        (
            ["d:c1", "d:c2"],
            UNKNOWN,
            "ignore",
            r"none of its 3 cells \(such as 'c3'\) is among the 2 .*d:c1.*`prefix`",
        ),
    ],
)
def test_cells_that_do_not_match(
    ontology: Ontology, wanted: list[str], missing: str, surplus: str, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        joined(
            given(), by_name(ontology).ids(given())[0], np.array(wanted, dtype=object), missing=missing, surplus=surplus
        )


def test_a_cell_is_listed_once(ontology: Ontology) -> None:
    for wanted in (["c1"], ["c2"], ["c1", "c2"], ["c9", "c2"]):
        table = given(cell_ids=["c1", "c2", "c1"])
        with pytest.raises(DataError, match="t.csv, line 4: cell 'c1' is listed twice, first in line 2; expected one"):
            joined(
                table,
                by_name(ontology).ids(table)[0],
                np.array(wanted, dtype=object),
                missing=UNKNOWN,
                surplus="ignore",
            )


def test_scores_must_fall(ontology: Ontology) -> None:
    labels = [["B cell", "T cell"]] * 3
    table = given(labels=labels, scores=np.array([[0.9, 0.1], [0.2, 0.7], [0.5, np.nan]]))
    with pytest.raises(DataError, match=r"line 3: the score of rank 2 \(0.7\) is larger than that of rank 1 \(0.2\)"):
        joined(
            table, by_name(ontology).ids(table)[0], np.array(["c1"], dtype=object), missing=UNKNOWN, surplus="ignore"
        )


def test_a_cell_with_fewer_ranks_keeps_the_contract(ontology: Ontology) -> None:
    labels = [["B cell", "T cell"], ["T cell", ""], ["", ""]]
    scores = np.array([[-0.1, -0.9], [-0.2, np.nan], [np.nan, np.nan]])
    table = given(labels=labels, scores=scores)
    ids, _ = by_name(ontology).ids(table)
    cells = np.array(["c1", "c2", "c3", "c4"], dtype=object)
    found, _ = joined(table, ids, cells, missing=UNKNOWN, surplus="ignore")
    validate(found, ["c1", "c2", "c3", "c4"], ontology.terms)
    assert found.scores is not None
    assert found.scores.tolist() == [[-0.2, -0.2], [-0.9, -0.9], [-0.1, -0.9], [-0.9, -0.9]]


def test_options_have_literal_defaults() -> None:
    with pytest.raises(ConfigError, match="one for `label` and each of `ranks`"):
        read(Path("t.csv"), ranks=["b"], scores=["x"])
