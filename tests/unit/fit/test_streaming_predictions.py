"""What is promised: predictions may come in parts, files of any size are arrays, and nobody sees it."""

import tracemalloc
import zlib
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from annobench.core.errors import DataError, PredictionError
from annobench.core.npz import NpzWriter, mapped
from annobench.core.parquet import (
    Categorical,
    ColumnWriter,
    crc32,
    positions,
    read_columns,
    take,
    to_arrow,
    write_columns,
)
from annobench.fit import decisions, predictions, predictions_file, writer
from annobench.fit.decisions import sample
from annobench.fit.predictions import Predictions
from annobench.fit.writer import PredictionsWriter

TEXTS = st.lists(st.sampled_from(["a", "b", "αβ", "", "a longer text"]), max_size=40)
CLASSES = [f"c{i}" for i in range(7)]
IDS = [f"cell{i}" for i in range(100)]


# columns


@given(TEXTS)
def test_texts_by_number_are_the_texts(texts: list[str]) -> None:
    found = Categorical.of(np.array(texts, dtype=object))
    assert found.to_text().tolist() == texts
    assert found.counts() == {text: texts.count(text) for text in sorted(set(texts))}
    assert found[::2].to_text().tolist() == texts[::2]
    assert (found == "a").tolist() == [text == "a" for text in texts]
    assert not (found == "absent").any()
    names = ["αβ", "b"]
    assert found.recode(names).tolist() == [names.index(text) if text in names else -1 for text in texts]
    shorter = found.renamed(lambda text: text[:1])
    assert shorter.to_text().tolist() == [text[:1] for text in texts]
    assert len(set(shorter.names)) == len(shorter.names)


def test_where_there_is_no_text() -> None:
    found = Categorical(np.array([0, -1], dtype=np.int32), ["a"])
    assert found.to_text().tolist() == ["a", None]
    assert found.recode(["a"]).tolist() == [0, -1]
    assert found.renamed(str.upper).to_text().tolist() == ["A", None]
    assert found.counts() == {"a": 1}


@given(st.lists(st.text(max_size=12), min_size=1, max_size=30))
def test_crc32_of_many_texts_is_that_of_each(texts: list[str]) -> None:
    expected = [zlib.crc32(text.encode("utf-8", "ignore")) for text in texts]
    arrow = to_arrow([text.encode("utf-8", "ignore").decode() for text in texts])
    assert crc32(arrow).tolist() == expected
    assert crc32(arrow[1:]).tolist() == expected[1:]  # a slice has an offset
    assert take(arrow, np.array([len(texts) - 1, 0])).to_pylist() == [arrow[len(texts) - 1].as_py(), arrow[0].as_py()]


@given(st.permutations(range(9)), st.integers(0, 9))
def test_positions_are_those_of_a_dictionary(order: list[int], size: int) -> None:
    given_ = np.array([f"id{i}" for i in order[:size]], dtype=object)
    wanted = [f"id{i}" for i in range(9)]
    at = {text: i for i, text in enumerate(given_)}
    assert positions(to_arrow(wanted), to_arrow(given_)).tolist() == [at.get(text, -1) for text in wanted]
    assert positions(to_arrow(given_), to_arrow(given_)).tolist() == list(range(size))


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Three row groups, the last column without values in the second."""
    with ColumnWriter(tmp_path / "t.parquet") as file:
        for start, texts in ((0, "ab"), (2, "ca"), (4, "b")):
            numbers = np.arange(start, start + len(texts))
            labels = Categorical(np.array([*range(len(texts))], dtype=np.int32), list(texts))
            file.write({"id": [f"i{i}" for i in numbers], "label": labels, "x": numbers / 2})
    return tmp_path / "t.parquet"


def test_row_groups_are_one_table(table: Path) -> None:
    found = read_columns(table, categorical=["label"], texts=["id"])
    assert found["label"].to_text().tolist() == list("abcab")
    assert sorted(found["label"].names) == list("abc")
    assert found["id"].to_pylist() == [f"i{i}" for i in range(5)]
    assert found["x"].tolist() == [0, 0.5, 1, 1.5, 2]
    assert read_columns(table)["label"].tolist() == list("abcab")
    other = pd.read_parquet(table)
    assert other["label"].tolist() == list("abcab")  # text, not a category
    assert not isinstance(other["label"].dtype, pd.CategoricalDtype)


@pytest.mark.parametrize("rows", [[0, 3, 4], [2], [], [0, 1, 2, 3, 4]])
def test_some_rows_of_a_table(table: Path, rows: list[int]) -> None:
    found = read_columns(table, ["id", "label"], categorical=["label"], texts=["id"], rows=np.isin(np.arange(5), rows))
    assert found["id"].to_pylist() == [f"i{i}" for i in rows]
    assert found["label"].to_text().tolist() == [list("abcab")[i] for i in rows]


def test_a_mask_of_another_length_is_refused(table: Path) -> None:
    with pytest.raises(DataError, match="has 5 rows, expected 4"):
        read_columns(table, rows=np.ones(4, dtype=bool))


def test_texts_that_are_missing_are_read_as_none(tmp_path: Path) -> None:
    write_columns(tmp_path / "t.parquet", {"a": Categorical(np.array([0, -1, 0], dtype=np.int32), ["x"])})
    assert read_columns(tmp_path / "t.parquet")["a"].tolist() == ["x", None, "x"]
    assert read_columns(tmp_path / "t.parquet", categorical=["a"])["a"].codes.tolist() == [0, -1, 0]


# arrays


def test_arrays_written_in_parts_are_an_ordinary_npz(tmp_path: Path) -> None:
    values = np.random.default_rng(0).random((5, 3)).astype(np.float16)
    with NpzWriter(tmp_path / "a.npz") as archive:
        archive.add("names", np.array(["x", "αβ"]))
        with archive.open("values", np.float16, values.shape) as member:
            member.write(values[:2].tobytes())
            member.write(values[2:].tobytes())
    with np.load(tmp_path / "a.npz", allow_pickle=False) as found:
        assert (found["values"] == values).all()
        assert found["names"].tolist() == ["x", "αβ"]
    found = mapped(tmp_path / "a.npz", "values")
    assert isinstance(found, np.memmap)
    assert (found == values).all()


def test_arrays_that_numpy_wrote_are_mapped_or_read(tmp_path: Path) -> None:
    values = np.asfortranarray(np.arange(6.0).reshape(2, 3))
    np.savez(tmp_path / "plain.npz", values=values)
    np.savez_compressed(tmp_path / "small.npz", values=values)
    assert isinstance(mapped(tmp_path / "plain.npz", "values"), np.memmap)
    for name in ("plain", "small"):
        assert mapped(tmp_path / f"{name}.npz", "values").tolist() == values.tolist()


# parts


def made(ids: list[str], seed: int = 0, **changes: Any) -> Predictions:
    """Predictions of these cells, the same for a cell whatever comes beside it."""
    rows = [np.random.default_rng([seed, zlib.crc32(cell.encode())]).dirichlet(np.ones(7)) for cell in ids]
    found = Predictions.from_probabilities(ids, np.array(rows), CLASSES, 5, np.log(rows))
    for key, value in changes.items():
        setattr(found, key, value)
    return found


def written(folder: Path, parts: list[Predictions], ids: list[str] = IDS, **more: Any) -> PredictionsWriter:
    folder.mkdir(exist_ok=True)
    with PredictionsWriter(folder, ids, CLASSES, **{"top_k": 3, "seed": 1} | more) as found:
        for part in parts:
            found.add(part)
    return found


@pytest.mark.parametrize("sizes", [[100], [1, 99], [30, 30, 40], [10] * 10])
@pytest.mark.parametrize("group", [1, 25, 1000])
def test_parts_give_the_files_of_the_whole(
    tmp_path: Path, sizes: list[int], group: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "ROW_GROUP", group)
    whole = made(IDS)
    ends = np.cumsum([0, *sizes])
    parts = [made(IDS[a:b]) for a, b in pairwise(ends.tolist())]
    found = written(tmp_path / "parts", parts)
    predictions_file.write(tmp_path / "p.parquet", whole.cut(3))
    predictions_file.write_probabilities(tmp_path / "p.npz", whole)
    pd.testing.assert_frame_equal(
        pd.read_parquet(tmp_path / "parts" / "predictions.parquet"), pd.read_parquet(tmp_path / "p.parquet")
    )
    for ours, theirs in zip(
        predictions_file.read_probabilities(tmp_path / "parts" / "probabilities.npz"),
        predictions_file.read_probabilities(tmp_path / "p.npz"),
        strict=True,
    ):
        assert (ours == theirs).all()
    assert found.decisions.cell_ids.tolist() == IDS
    assert found.decisions.decisions == pytest.approx(np.log(whole.probabilities))
    assert found.left_out == {}
    assert found.keeps_probabilities
    answers = predictions_file.read_answers(tmp_path / "parts" / "predictions.parquet")
    assert [labels.to_text().tolist() for labels in answers.labels] == whole.cut(3).labels.T.tolist()
    assert answers.confidence.tolist() == whole.confidence.tolist()
    assert answers.cell_ids.to_pylist() == IDS


def test_cells_of_a_part_may_come_in_any_order(tmp_path: Path) -> None:
    written(tmp_path / "a", [made(IDS[:50][::-1]), made(IDS[50:])])
    assert (
        predictions_file.read(tmp_path / "a" / "predictions.parquet").labels.tolist()
        == made(IDS).cut(3).labels.tolist()
    )


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ([(0, 50)], "predictions for 50 cells, expected 100"),
        ([], "predictions for 0 cells, expected 100"),
        ([(50, 100), (0, 50)], r"50 \(cell0, cell1, cell10, ...\) missing"),
        ([(0, 60), (50, 100)], "10 .* not asked for"),
        ([(0, 100), (0, 1)], "predictions for 1 cells, expected 0"),
    ],
)
def test_parts_that_are_not_all_cells_in_order_leave_no_file(
    tmp_path: Path, parts: list[tuple[int, int]], message: str
) -> None:
    with pytest.raises(PredictionError, match=message):
        written(tmp_path / "a", [made(IDS[start:stop]) for start, stop in parts])
    assert list((tmp_path / "a").iterdir()) == []


@pytest.mark.parametrize("name", ["scores", "confidence", "probabilities", "decisions"])
def test_parts_hold_the_same_things(tmp_path: Path, name: str) -> None:
    with pytest.raises(PredictionError, match="parts of the predictions differ"):
        written(tmp_path / "a", [made(IDS[:50]), made(IDS[50:], **{name: None})])
    assert list((tmp_path / "a").iterdir()) == []


def test_confidences_that_are_no_probabilities(tmp_path: Path) -> None:
    high = made(IDS[50:])
    high.confidence = high.confidence + 1
    with pytest.raises(PredictionError, match=r"confidences lie between 0 and 1\.\d+"):
        written(tmp_path / "a", [made(IDS[:50]), high])
    assert not written(tmp_path / "a", [made(IDS[:50]), high], probabilities=False).keeps_probabilities


@pytest.mark.parametrize(
    ("keep", "limit", "kept"), [("auto", 700, True), ("auto", 699, False), (True, 0, True), (False, 10_000, False)]
)
def test_what_is_kept_of_the_probabilities(
    tmp_path: Path, keep: Any, limit: int, kept: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "MATRIX_VALUES", limit)
    found = written(tmp_path / "a", [made(IDS)], keep=keep)
    assert found.keeps_probabilities == kept == (tmp_path / "a" / "probabilities.npz").is_file()
    assert found.has_probabilities
    assert ("probabilities" in found.left_out) == (not kept)
    if keep == "auto" and not kept:
        assert found.left_out["probabilities"].startswith("100 cells x 7 classes are more than the 699 values")


def test_the_manual_states_the_sizes() -> None:
    text = (Path(__file__).parents[3] / "docs" / "config" / "config.md").read_text(encoding="utf-8")
    assert f"test cells times classes are {writer.MATRIX_VALUES // 1_000_000} million at most" in text
    assert (
        f"Of more than {decisions.SAMPLE:,} test or validation cells a sample of {decisions.SAMPLE:,} is kept" in text
    )


def test_a_sample_of_the_cells_has_decision_values(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decisions, "SAMPLE", 12)
    chosen = sample(100, 1)
    assert len(set(chosen.tolist())) == 12
    assert (np.diff(chosen) > 0).all()
    assert (sample(100, 1) == chosen).all()
    assert (sample(100, 2) != chosen).any()
    assert sample(12, 1).tolist() == list(range(12))
    found = written(tmp_path / "a", [made(IDS[i : i + 9]) for i in range(0, 100, 9)])
    assert found.decisions.cell_ids.tolist() == [IDS[i] for i in chosen]
    assert found.decisions.decisions == pytest.approx(np.log(made(IDS).probabilities)[chosen])
    assert found.left_out == {"decisions": "a sample of 12 of 100 test cells"}
    monkeypatch.undo()
    plain = [made(IDS, probabilities=None, decisions=None, classes=())]
    assert written(tmp_path / "b", plain, probabilities=False).decisions is None


def test_memory_is_bounded_by_a_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "ROW_GROUP", 2000)
    monkeypatch.setattr(decisions, "SAMPLE", 100)

    def peak(parts: int) -> float:
        ids = [f"c{i}" for i in range(2000 * parts)]
        shares = np.tile(np.random.default_rng(0).dirichlet(np.ones(7)), (2000, 30))[:, :210] / 30
        names = [f"t{i}" for i in range(210)]
        folder = tmp_path / str(parts)
        folder.mkdir()
        tracemalloc.start()
        with PredictionsWriter(folder, ids, names, top_k=5, keep=True) as found:
            for start in range(0, len(ids), 2000):
                found.add(Predictions.from_probabilities(ids[start : start + 2000], shares, names))
        used = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return used

    assert peak(20) < 1.2 * peak(5)


# second implementations: what these did before, cell by cell


@given(st.integers(0, 2**32 - 1), st.integers(1, 6), st.integers(1, 8), st.booleans())
def test_the_best_classes_are_those_of_a_stable_sort(seed: int, k: int, classes: int, ties: bool) -> None:
    rng = np.random.default_rng(seed)
    values = rng.integers(0, 3, (11, classes)) / 2 if ties else rng.random((11, classes))
    names = [f"n{i}" for i in range(classes)]
    order = np.argsort(-values, axis=1, kind="stable")[:, :k]
    found = Predictions.from_probabilities([f"i{i}" for i in range(11)], values, names, k)
    assert found.labels.tolist() == np.array(names, dtype=object)[order].tolist()
    assert found.scores.tolist() == np.take_along_axis(values, order, axis=1).tolist()


@given(st.lists(st.lists(st.sampled_from(["a", "b", "c", "unknown"]), min_size=3, max_size=3), min_size=1, max_size=8))
def test_a_label_stands_twice_as_a_set_says(rows: list[list[str]]) -> None:
    labels = np.array(rows, dtype=object)
    found = Predictions(np.array(IDS[: len(rows)], dtype=object), labels)
    if any(len(set(row) - {"unknown"}) + row.count("unknown") < len(row) for row in rows):
        with pytest.raises(PredictionError, match="a cell has one label twice"):
            predictions.validate(found, IDS[: len(rows)], ["a", "b", "c"])
    else:
        assert predictions.validate(found, IDS[: len(rows)], ["a", "b", "c"]).labels.tolist() == rows
