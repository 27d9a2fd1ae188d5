"""What is promised: nothing is guessed; table first, then native ids, and what is left stays visible and counted."""

from pathlib import Path

import pytest

from annobench.core.errors import DataError
from annobench.core.paths import ROOT
from annobench.ontology import Ontology
from annobench.ontology.labels import map_labels, read_table
from helpers import toy_ontology


def table(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "t.tsv"
    file.write_text(text)
    return file


def test_table_goes_before_native_ids() -> None:
    found = map_labels(["x", "y"], ["B", "B"], {"x": "A"}, toy_ontology())
    assert found.label_ids == ["A", "B"]


def test_labels_are_found_whatever_blanks_are_around_them(tmp_path: Path) -> None:
    rows = read_table(table(tmp_path, "label_id;original\nA; x\u00a0y \n;z\nNA;NA\nB;w\n"), toy_ontology())
    assert rows == {"x y": "A", "z": "unknown", "NA": "unknown", "w": "B"}
    found = map_labels(["x\u00a0y", " x y", "z"], None, rows, toy_ontology())
    assert found.label_ids == ["A", "A", "unknown"]
    assert found.unused == ["NA", "w"]


def test_a_label_that_reads_as_missing_can_be_one() -> None:
    found = map_labels(["NA", "None"], None, {"NA": "A"}, toy_ontology())
    assert found.label_ids == ["A", "unknown"]


def test_native_ids_in_other_spellings(ontology: Ontology) -> None:
    native = ["CL_0000236", " cl:0000084 ", "http://purl.obolibrary.org/obo/CL_0000623", "NA", "CL_9999999"]
    found = map_labels(list("abcde"), native, None, ontology)
    assert found.label_ids == ["CL:0000236", "CL:0000084", "CL:0000623", "unknown", "unknown"]
    assert found.respelled == dict(zip(native[:3], found.label_ids, strict=False))
    assert found.replaced == {}
    assert found.unmapped["d"] == "1 cells: no native id"
    assert "'CL_9999999' is not in Cell Ontology" in found.unmapped["e"]


def test_unknown_of_the_table_is_not_overruled_by_a_native_id() -> None:
    found = map_labels(["x"], ["B"], {"x": "unknown"}, toy_ontology())
    assert found.label_ids == ["unknown"]
    assert found.unmapped == {"x": "1 cells: unknown by the table"}


def test_obsolete_native_ids_are_replaced_and_counted() -> None:
    found = map_labels(["x", "z"], ["OLD", "GONE"], None, toy_ontology())
    assert found.label_ids == ["A1", "unknown"]
    assert found.replaced == {"OLD": "A1"}
    assert found.unmapped == {"z": "1 cells: native id 'GONE' is not in Cell Ontology 2000-01-01"}


def test_a_label_with_several_reasons_is_counted_whole() -> None:
    native = ["GONE", "GONE", "odd"]
    found = map_labels(["z"] * 3, native, None, toy_ontology()).unmapped["z"]
    assert found == (
        "2 cells: native id 'GONE' is not in Cell Ontology 2000-01-01; "
        "1 cells: native id 'odd' is not in Cell Ontology 2000-01-01"
    )


def test_labels_without_table_and_id_stay_visible() -> None:
    found = map_labels(["x", "x", "y"], None, None, toy_ontology())
    assert found.label_ids == ["unknown"] * 3
    assert set(found.unmapped) == {"x", "y"}


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("label\tid\n", "expected the columns original, label_id, comment"),
        ("original\tlabel_id\tcomment\nx\tA\t\nx\tB\t\n", "line 3: label 'x' is listed twice"),
        ("original\tlabel_id\tcomment\nx\tOLD\t\n", "'OLD' is obsolete in Cell Ontology .*use its successor A1"),
        ("original\tlabel_id\tcomment\nx\ta one\t\n", "ids are expected, not names: use A1"),
        ("original\tlabel_id\tcomment\nw\tA\t\nx\tA\ty\tz\n", "line 3: has 4 fields, expected 3"),
        ("original\tlabel_id\tcomment\nx\tCL:9\t\n", "'CL:9' is not a term of"),
    ],
)
def test_wrong_tables_are_refused(tmp_path: Path, text: str, part: str) -> None:
    with pytest.raises(DataError, match=part):
        read_table(table(tmp_path, text), toy_ontology())


@pytest.mark.parametrize("file", sorted((ROOT / "config" / "labels").glob("*.tsv")), ids=lambda file: file.stem)
def test_every_table_of_the_repository_holds_live_ids(file: Path, ontology: Ontology) -> None:
    assert read_table(file, ontology)
