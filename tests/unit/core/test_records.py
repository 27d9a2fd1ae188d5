"""What is promised: the same table comes out, however a program or a person saved it."""

import csv
import gzip
import io
from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from annobench.core.errors import DataError
from annobench.core.missing import NO_ANSWER, NOTHING, is_missing
from annobench.core.records import Records, plain, read_text, separator
from annobench.core.tables import Wanted, read_table

ENCODINGS = ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "cp1252", "mac_roman"]
HEADER = ["cell_id", "label", "note", "score"]

ids = st.from_regex(r"[ACGT]{4,8}-[1-9]", fullmatch=True)
labels = st.sampled_from(
    ["T cell", "B cell", "naïve B cell", "Müller cell", "CL:0000084", "γδ T cell", "CD8+, αβ", "x"]
)
notes = st.sampled_from(["", "a b", "2", "see p. 3", "one; two", 'say "hello"', "5' end", "50%"])
scores = st.decimals(min_value=0, max_value=1, places=4).map(lambda one: f"{one:.4f}")
tables = st.lists(st.tuples(labels, notes, scores), min_size=2, max_size=8).flatmap(
    lambda rows: st.lists(ids, min_size=len(rows), max_size=len(rows), unique=True).map(
        lambda names: [(name, *row) for name, row in zip(names, rows, strict=True)]
    )
)


def content(path: Path) -> list[tuple[object, ...]]:
    """The rows of a file with these columns."""
    found = read_table(path, Wanted(ids="cell_id", texts=["label", "note"], numbers=["score"]))
    columns = (found.ids.to_pylist(), *(found.texts[name].to_text() for name in ("label", "note")))
    return list(zip(*columns, found.numbers["score"].tolist(), strict=True))


@settings(deadline=None, max_examples=150)
@given(
    rows=tables,
    encoding=st.sampled_from(ENCODINGS),
    end=st.sampled_from(["\n", "\r\n", "\r"]),
    delimiter=st.sampled_from([",", ";", "\t"]),
    ending=st.sampled_from([".csv", ".tsv", ".txt", ".csv.gz"]),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC]),
    doubled=st.booleans(),
    row_names=st.sampled_from(["none", "unnamed", "short"]),
    comma=st.booleans(),
    tail=st.sampled_from(["", "blank", "empty"]),
    wide=st.booleans(),
)
def test_a_table_is_the_same_in_every_spelling(
    tmp_path_factory: pytest.TempPathFactory,
    rows: list[tuple[str, ...]],
    encoding: str,
    end: str,
    delimiter: str,
    ending: str,
    quoting: int,
    doubled: bool,
    row_names: str,
    comma: bool,
    tail: str,
    wide: bool,
) -> None:
    assume(doubled or quoting == csv.QUOTE_ALL)  # R writes backslashes within quotes only
    text = io.StringIO(newline="")
    quotes = {"doublequote": True} if doubled else {"doublequote": False, "escapechar": "\\"}
    writer = csv.writer(text, delimiter=delimiter, lineterminator=end, quoting=quoting, **quotes)
    # decimal commas come with semicolons or tabs; within quotes also with commas, which nothing tells from thousands
    written = [(*row[:-1], row[-1].replace(".", ",") if comma and delimiter != "," else row[-1]) for row in rows]
    header = [*([""] if row_names == "unnamed" else []), *HEADER]
    writer.writerow(header)
    for number, row in enumerate(written, 1):
        names = [] if row_names == "none" else [str(number)]
        writer.writerow([*names, *(f" {cell}\u00a0" if wide and cell else cell for cell in row)])
    text.write({"": "", "blank": end * 2, "empty": delimiter * 3 + end + " " + delimiter + end}[tail])
    whole = text.getvalue()
    try:
        raw = whole.encode(encoding)
    except UnicodeEncodeError:
        assume(False)
    if encoding == "mac_roman":
        assume(end == "\r")  # what else tells a file of an old Mac
    if encoding == "cp1252":
        assume(end != "\r")
    path = tmp_path_factory.mktemp("t") / f"t{ending}"
    path.write_bytes(gzip.compress(raw) if ending.endswith(".gz") else raw)
    expected = [(name, label, note, float(score)) for name, label, note, score in rows]
    assert content(path) == expected


@pytest.mark.parametrize(
    ("text", "label"),
    [
        (b'id\tlabel\n1\t"naive" T cell\n2\tx\n', '"naive" T cell'),
        (b'id\tlabel\n1\t"T cell\n2\tx\n', '"T cell'),
        (b'id\tlabel\n1\t"T cell\n2\tB cell"\n', '"T cell'),  # the quotes would hold two lines
        (b'id\tlabel\n1\t5" T cell\n2\tx\n', '5" T cell'),
        (b'"id"\t"label"\n"1"\t"a ""b"""\n"2"\tx\n', 'a "b"'),
        (b'"id"\t"label"\n"1"\t"a \\"b\\""\n"2"\tx\n', 'a "b"'),
        (b'id,label\n1,"a\r\nb"\n2,x\n', "a\r\nb"),
    ],
)
def test_quotes_enclose_fields_or_are_characters(tmp_path: Path, text: bytes, label: str) -> None:
    path = tmp_path / ("t.tsv" if b"\t" in text else "t.csv")
    path.write_bytes(text)
    assert next(iter(Records.read(path)))[1][1] == label


@pytest.mark.parametrize(
    ("head", "default", "found"),
    [
        ("a,b\n1,2\n", "\t", ","),
        ("a;b\n1;0,5\n", ",", ";"),
        ("a\tb\n1, 2\t3\n", "\t", "\t"),
        ("label\nT cell, CD4\nB cell\n", ",", ","),
        ("gene name\nCD3E\n", "\t", "\t"),
        ("a b\n1 x y\n", "\t", " "),
        ("sep=|\na|b\n", ",", "|"),
        ("a,b;c\nx,1;2\ny;3\n", ",", ";"),
        ("a,b\n1,2,3\n4\n", ",", ","),
        ("", "\t", "\t"),
    ],
)
def test_what_separates_columns(head: str, default: str, found: str) -> None:
    assert separator(head, default) == found


def test_rows_longer_or_shorter_than_the_header(tmp_path: Path) -> None:
    path = tmp_path / "t.tsv"
    path.write_text("a\tb\tc\n1\t2\t3\t\n4\t5\n")
    with pytest.raises(DataError, match="line 3: has 2 fields, expected 3"):
        list(Records.read(path))
    assert [fields for _, fields in Records.read(path, optional=True)] == [["1", "2", "3"], ["4", "5", ""]]
    path.write_text("a\tb\n1\t2\n4\t5\t6\n")
    with pytest.raises(DataError, match="line 3: has 3 fields, expected 2"):
        list(Records.read(path, optional=True))


def test_a_guess_is_said_and_nothing_else(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "guessed.csv"
    path.write_bytes("a\nM\u00fcller\n".encode("cp1252"))
    assert read_text(path) == "a\nM\u00fcller\n"
    assert "guessed.csv: is not UTF-8 (line 2); read as Windows-1252, such as 'Müller'" in capsys.readouterr().err
    path.write_bytes("a\nM\u00fcller\n".encode("utf-16"))
    assert read_text(path) == "a\nM\u00fcller\n"
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("text", sorted(NOTHING | NO_ANSWER))
def test_texts_that_mean_missing(text: str) -> None:
    assert is_missing(text)
    assert is_missing(f" {text.upper()} ")
    assert is_missing(text, words=False) == (text in NOTHING)


@pytest.mark.parametrize("text", ["unknown", "0", "nk", "nano", "T cell", "none of these", "NAN1"])
def test_texts_that_mean_something(text: str) -> None:
    assert not is_missing(text)


def test_texts_are_compared_without_what_nobody_sees() -> None:
    assert plain("\ufeff T\u00a0cell\u200b ") == "T cell"
    assert plain("nai\u0308ve") == "na\u00efve"
