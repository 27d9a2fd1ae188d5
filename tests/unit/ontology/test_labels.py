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
        ("original\tlabel_id\tcomment\nx\tOLD\t\n", "'OLD' is obsolete in Cell Ontology"),
        ("original\tlabel_id\tcomment\nx\tCL:9\t\n", "'CL:9' is not a term of"),
    ],
)
def test_wrong_tables_are_refused(tmp_path: Path, text: str, part: str) -> None:
    with pytest.raises(DataError, match=part):
        read_table(table(tmp_path, text), toy_ontology())


@pytest.mark.parametrize("file", sorted((ROOT / "config" / "labels").glob("*.tsv")), ids=lambda file: file.stem)
def test_every_table_of_the_repository_holds_live_ids(file: Path, ontology: Ontology) -> None:
    assert read_table(file, ontology)
