"""What is promised: only one-to-one pairs are kept, what is left out is counted, and wrong columns are told."""

import gzip
import json
from pathlib import Path

import pytest

from annobench.core.errors import DataError
from annobench.data.orthologues import fetch_orthologues, read_orthologues
from annobench.data.spec import OrthologueSpec
from annobench.score.orthologues import read_pairs

# as BioMart exports it: a row per pair, empty where a gene has no orthologue, one row per transcript
TABLE = """Gene stable ID\tGene name\tMouse gene name
ENSG00000198851\tCD3E\tCd3e
ENSG00000198851\tCD3E\tCd3e
ENSG00000156738\tMS4A1\tMs4a1
ENSG00000254647\tINS\tIns1
ENSG00000254647\tINS\tIns2
ENSG00000090382\tLYZ\tLyz1
ENSG00000090382\tLYZ\tLyz2
ENSG00000204287\tHLA-DRA\t
ENSG00000115523\tGNLY\t
ENSG00000170458\tCD14\tCd14
"""
PAIRS = [("CD3E", "Cd3e"), ("MS4A1", "Ms4a1"), ("CD14", "Cd14")]
COLUMNS = ("Gene name", "Mouse gene name")


@pytest.mark.parametrize("form", ["tsv", "csv", "excel", "gz"])
def test_one_to_one_pairs_of_a_table_in_any_form(tmp_path: Path, form: str) -> None:
    file = tmp_path / f"pairs.{form if form != 'excel' else 'csv'}"
    text = TABLE.replace("\t", {"csv": ",", "excel": ";"}.get(form, "\t"))
    if form == "gz":
        file = tmp_path / "pairs.tsv.gz"
        file.write_bytes(gzip.compress(text.encode()))
    else:
        file.write_bytes(text.replace("\n", "\r\n").encode("utf-8-sig") if form == "excel" else text.encode())
    pairs, left_out = read_orthologues(file, COLUMNS)
    assert pairs == PAIRS
    assert list(left_out.values()) == [2, 4]


def test_the_order_of_columns_is_that_of_the_pairs(tmp_path: Path) -> None:
    (tmp_path / "t.tsv").write_text(TABLE)
    pairs, _ = read_orthologues(tmp_path / "t.tsv", COLUMNS[::-1])
    assert pairs == [(mouse, human) for human, mouse in PAIRS]


def test_several_genes_of_the_second_organism_are_left_out_too(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("a,b\nA1,B1\nA2,B2\nA3,B2\n")
    assert read_orthologues(tmp_path / "t.csv", ("a", "b"))[0] == [("A1", "B1")]


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("a,c\nA1,B1\n", "there is no column 'b'"),
        ("a,b\nA1,B1\nA1,B2\n", "no one-to-one pair of 'a' and 'b'.*such as A1 and B1; A1 and B2.*under `columns`"),
        ("a,b\nA1,\n", "all rows lack a symbol"),
    ],
)
def test_tables_without_pairs_are_refused(tmp_path: Path, text: str, part: str) -> None:
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(DataError, match=part):
        read_orthologues(tmp_path / "t.csv", ("a", "b"))


def test_what_was_left_out_is_said_and_recorded(tmp_path: Path) -> None:
    (tmp_path / "t.tsv").write_text(TABLE)
    source = {"kind": "local", "path": str(tmp_path / "t.tsv")}
    spec = OrthologueSpec.from_params({"source": source, "columns": list(COLUMNS)})
    said: list[str] = []
    pairs, record = tmp_path / "pairs.csv", tmp_path / "pairs.json"
    fetch_orthologues("mouse", spec, pairs, record, lock_file=tmp_path / "lock.yaml", report=said.append)
    assert read_pairs(pairs).pairs == PAIRS
    assert read_pairs(pairs).columns == COLUMNS
    kept = json.loads(record.read_text())
    assert kept["pairs"] == 3
    assert sum(kept["left_out"].values()) == 6
    assert len(kept["sha256"]) == 64
    assert "3 one-to-one pairs; 2 rows without a symbol on one side; 4 pairs left out" in said[-1]
