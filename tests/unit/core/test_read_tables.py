"""Tables are read fast where they are regular, and line by line elsewhere, with the same result."""

import csv
import gzip
import io
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from annobench.core import delimited, tables
from annobench.core.delimited import TextFile, careful_columns, regular_columns
from annobench.core.errors import DataError
from annobench.core.parquet import positions, read_columns
from annobench.core.tables import Table, Wanted, column_names, find_repeated, read_table

WANTED = Wanted(ids="id", texts=["label"], numbers=["score"])
KINDS = {"id": "id", "label": "text", "score": "number"}


def as_written(text: bytes, folder: Path, name: str = "t.csv") -> Path:
    (folder / name).write_bytes(text)
    return folder / name


def content(table: Table) -> tuple[object, ...]:
    return (
        table.ids.to_pylist(),
        {name: column.to_text().tolist() for name, column in table.texts.items()},
        {name: np.nan_to_num(column, nan=-1e300).tolist() for name, column in table.numbers.items()},
        table.rows.tolist(),
        table.unit,
    )


def outcome(path: Path, wanted: Wanted, **options: str) -> object:
    """What a file holds, or why it is refused."""
    try:
        return content(read_table(path, wanted, **options))
    except DataError as error:
        return str(error)


def careful_outcome(path: Path, wanted: Wanted, **options: str) -> object:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tables, "regular_columns", lambda file, kinds: None)
        return outcome(path, wanted, **options)


cells = st.text(st.sampled_from('ab1.,"\n\r\t é-'), max_size=5) | st.sampled_from(
    [
        "",
        "NA",
        "nAn",
        " x ",
        "0.5",
        "1e-3",
        "+1",
        "1_0",
        "inf",
        "-nan",
        "0,5",
        "1e999",
        "0x10",
        ".5",
        "5.",
        "CL:1",
        "\0",
    ]
)


@settings(deadline=None, max_examples=400)
@given(
    rows=st.lists(st.tuples(cells, cells, cells | st.floats().map(repr), cells), min_size=1, max_size=4),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC]),
    end=st.sampled_from(["\n", "\r\n"]),
    tail=st.sampled_from(["", "\n", "\n\n", "\r\n\r\n"]),
    mark=st.booleans(),
)
def test_both_readers_agree_on_what_csv_writers_write(
    tmp_path_factory: pytest.TempPathFactory,
    rows: list[tuple[str, ...]],
    quoting: int,
    end: str,
    tail: str,
    mark: bool,
) -> None:
    text = io.StringIO()
    writer = csv.writer(text, quoting=quoting, lineterminator=end)
    writer.writerows([("id", "label", "score", "more"), *rows])
    whole = ("\ufeff" if mark else "") + text.getvalue() + tail
    path = as_written(whole.encode(), tmp_path_factory.mktemp("t"))
    assert outcome(path, WANTED) == careful_outcome(path, WANTED)


lines = st.lists(
    st.lists(st.sampled_from(["a", "b", "1", "", '"', '"a"', 'a"', '"a,b"', '""', '"""', "NA", "é"]), max_size=4).map(
        ",".join
    ),
    max_size=5,
)


@settings(deadline=None, max_examples=400)
@given(text=lines, end=st.sampled_from(["\n", "\r\n", "\r"]), last=st.booleans())
def test_both_readers_agree_on_any_text(
    tmp_path_factory: pytest.TempPathFactory, text: list[str], end: str, last: bool
) -> None:
    whole = end.join(["id,label,score", *text]) + (end if last else "")
    path = as_written(whole.encode(), tmp_path_factory.mktemp("t"))
    assert outcome(path, WANTED) == careful_outcome(path, WANTED)


REGULAR = [
    b"id,label,score\nc1,A,1\nc2,,NA\n",
    b"\xef\xbb\xbfid,label,score\r\nc1,A,1\r\nc2,B,0.5",
    b'"id","label","score"\n"c1","A, or B",1\n"c2","","NaN"\n\n\n',
    b"more,score,label,id\n,1,A,c1\n\xc3\xa9,2,B,c2\n",
    b"label,score\nc1,A,1\nc2,B,2\n",
]
IRREGULAR = [
    b'id,label,score\nc1,"A\nB",1\n',
    b'id,label,score\nc1,"A ""B""",1\n',
    b'id,label,score\nc1,5" A,1\n',
    b"id,label,score\nc1,A,1\n\nc2,B,2\n",
    b"id,label,score\nc1,A,1_0\n",
    b"id,label,score\rc1,A,1\r",
]


@pytest.mark.parametrize("text", REGULAR)
def test_regular_files_are_read_fast(tmp_path: Path, text: bytes) -> None:
    wanted = Wanted(ids="index", texts=["label"], numbers=["score"]) if text.startswith(b"label") else WANTED
    kinds = {wanted.ids: "id", "label": "text", "score": "number"}
    for path in (as_written(text, tmp_path), as_written(gzip.compress(text), tmp_path, "t.csv.gz")):
        assert regular_columns(TextFile.of(path), kinds) is not None
        assert outcome(path, wanted) == careful_outcome(path, wanted)
        assert isinstance(outcome(path, wanted), tuple)


@pytest.mark.parametrize("text", IRREGULAR)
def test_irregular_files_are_read_line_by_line(tmp_path: Path, text: bytes) -> None:
    path = as_written(text, tmp_path)
    assert regular_columns(TextFile.of(path), KINDS) is None
    assert isinstance(outcome(path, WANTED), tuple)


def test_files_of_several_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delimited, "_BLOCK", 64)
    monkeypatch.setattr(delimited, "_PARSED", 64)
    rows = "".join(f'c{i},"A, {i % 3}",{i / 7}\n' for i in range(300))
    for end in ("", "\n", "\n\n\n", "x,y,1", "é,y,1\r\n"):
        path = as_written(f"id,label,score\n{rows}{end}".encode(), tmp_path)
        assert regular_columns(TextFile.of(path), KINDS) is not None
        assert outcome(path, WANTED) == careful_outcome(path, WANTED)
    for end in ('c,"A,1\n', "c,A\r,1\n", "c" * 80 + ",A,1\n", "\n\nc,A,1\n"):
        path = as_written(f"id,label,score\n{rows}{end}".encode(), tmp_path)
        assert regular_columns(TextFile.of(path), KINDS) is None
        assert outcome(path, WANTED) == careful_outcome(path, WANTED)


def test_column_names(tmp_path: Path) -> None:
    assert column_names(as_written(b'"","a","b"\n"c",1,2\n', tmp_path)) == ["index", "a", "b"]
    assert column_names(as_written(b"a b\nc 1 2\n", tmp_path), " ") == ["index", "a", "b"]


def test_careful_columns_state_the_lines(tmp_path: Path) -> None:
    columns, lines, _ = careful_columns(TextFile.of(as_written(b'id,label\n\nc1,"A\nB"\nc2,C\n', tmp_path)), ["label"])
    assert columns["label"].to_pylist() == ["A\nB", "C"]
    assert lines.tolist() == [4, 5]


def test_a_column_may_be_text_and_number(tmp_path: Path) -> None:
    path = as_written(b"id,label,score\n1,2,3\n4,5,6\n", tmp_path)
    table = read_table(path, Wanted(ids="id", texts=["id", "score"], numbers=["score"]))
    assert table.ids.to_pylist() == table.texts["id"].to_text().tolist() == ["1", "4"]
    assert table.numbers["score"].tolist() == [3, 6]


# joins of many texts


def test_positions_of_many_texts_in_any_order(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    names = np.array([f"barcode-{i}" for i in range(5000)], dtype=object)
    given = pa.array(names[rng.permutation(4000)], pa.large_string())
    wanted = pa.array(names[rng.permutation(5000)], pa.large_string())
    expected = positions(wanted, given)
    at = {name: i for i, name in enumerate(given.to_pylist())}
    assert expected.tolist() == [at.get(name, -1) for name in wanted.to_pylist()]
    monkeypatch.setattr("annobench.core.parquet._AT_ONCE", 100)
    assert (positions(wanted, given) == expected).all()
    assert (positions(wanted[7:4000], given[5:]) == positions(pa.array(wanted[7:4000].to_pylist()), given[5:])).all()


def test_repeated_ids(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("annobench.core.parquet._AT_ONCE", 2)
    for prefix in ("", "long-enough-"):
        ids = [prefix + name for name in "abcdb"]
        assert find_repeated(pa.array(ids, pa.large_string())) == (4, 1)
        assert find_repeated(pa.array(ids[:4], pa.large_string())) is None


@pytest.mark.parametrize("width", [pa.int8(), pa.int16(), pa.int32(), pa.int64(), pa.uint8(), pa.uint16(), pa.uint32()])
@pytest.mark.parametrize("text", [pa.string(), pa.large_string()])
def test_categories_of_any_width(tmp_path: Path, width: pa.DataType, text: pa.DataType) -> None:
    codes = pa.array([0, 1, None, 0], width)
    columns = {
        "id": pa.DictionaryArray.from_arrays(pa.array([3, 2, 1, 0], width), pa.array(list("wxyz"), text)),
        "label": pa.DictionaryArray.from_arrays(codes, pa.array(["a", " b\u00a0"], text)),
        "score": pa.DictionaryArray.from_arrays(codes, pa.array(["0.5", "NA"], text)),
        "whole": pa.array([1, None, 3, 4], pa.int64()),
    }
    pq.write_table(pa.table(columns), tmp_path / "t.parquet", row_group_size=2)
    table = read_table(tmp_path / "t.parquet", Wanted(ids="id", texts=["label"], numbers=["score"]))
    assert table.ids.to_pylist() == list("zyxw")
    assert table.texts["label"].to_text().tolist() == ["a", "b", "", "a"]
    assert np.array_equal(table.numbers["score"], [0.5, np.nan, np.nan, 0.5], equal_nan=True)
    read = read_columns(tmp_path / "t.parquet", categorical=["label"], texts=["id"])
    assert read["label"].to_text().tolist() == ["a", " b\u00a0", None, "a"]
    assert np.array_equal(read["whole"], [1, np.nan, 3, 4], equal_nan=True)


@pytest.mark.parametrize(
    ("values", "numbers"),
    [
        (["0,5", "1", "2,25e-1"], [0.5, 1, 0.225]),
        (["1,234", "0,5", "NA"], [1.234, 0.5, np.nan]),
        (["\u22120.5", "not available", "-"], [-0.5, np.nan, np.nan]),
    ],
)
def test_numbers_as_people_write_them(tmp_path: Path, values: list[str], numbers: list[float]) -> None:
    rows = "".join(f"c{i};{value}\n" for i, value in enumerate(values))
    path = as_written(f"id;score\n{rows}".encode(), tmp_path)
    found = read_table(path, Wanted(ids="id", numbers=["score"])).numbers["score"]
    assert np.array_equal(found, numbers, equal_nan=True)


@pytest.mark.parametrize("values", [["1,234.5"], ["1,2,3"], ["0,5", "0.5"]])
def test_commas_that_are_not_decimal_are_refused(tmp_path: Path, values: list[str]) -> None:
    path = as_written(("id;score\n" + "".join(f"c;{value}\n" for value in values)).encode(), tmp_path)
    with pytest.raises(DataError, match="line 2, column 'score': .* is not a number"):
        read_table(path, Wanted(ids="id", numbers=["score"]))


def test_a_comma_that_may_divide_thousands_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = as_written(b"id\tscore\nc1\t1,234\nc2\t2,500\n", tmp_path, "thousands.tsv")
    assert read_table(path, Wanted(ids="id", numbers=["score"])).numbers["score"].tolist() == [1.234, 2.5]
    assert "thousands.tsv, column 'score': '1,234' is read with a decimal comma" in capsys.readouterr().err


@pytest.mark.parametrize("form", ["binary", "large_binary", "coded"])
def test_texts_that_a_parquet_file_holds_as_bytes(tmp_path: Path, form: str) -> None:
    labels = pa.array([b"T cell", "Größe".encode(), None], pa.large_binary() if form == "large_binary" else pa.binary())
    labels = labels.dictionary_encode() if form == "coded" else labels
    pq.write_table(pa.table({"cell_id": pa.array([b"a", b"b", b"c"]), "label": labels}), tmp_path / "x.parquet")
    table = read_table(tmp_path / "x.parquet", Wanted(ids="cell_id", texts=["label"]))
    assert table.ids.to_pylist() == ["a", "b", "c"]
    assert table.texts["label"].to_text().tolist() == ["T cell", "Größe", ""]


def test_bytes_of_a_parquet_file_that_are_no_text_are_refused(tmp_path: Path) -> None:
    pq.write_table(pa.table({"cell_id": ["a"], "label": pa.array([b"\xff\xfe"])}), tmp_path / "x.parquet")
    with pytest.raises(DataError, match=r"x\.parquet: column 'label': holds bytes that are no UTF-8 text"):
        read_table(tmp_path / "x.parquet", Wanted(ids="cell_id", texts=["label"]))
