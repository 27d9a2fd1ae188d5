"""What is promised: every method of an evaluation is resampled over the same units."""

import zlib

import numpy as np
import pytest

from annobench.core.parquet import Categorical, to_arrow
from annobench.score.score_tables import count_confusion
from annobench.score.truths import Truths
from annobench.score.units import Units, resampling_units


def truths(donors: list[str], studies: list[str], places: np.ndarray | None = None, total: int = 0) -> Truths:
    places = np.arange(len(donors)) if places is None else places
    ids = to_arrow([f"c{place}" for place in places])
    columns = {"donor": Categorical.of(donors), "study": Categorical.of(studies)}
    known = np.ones(len(donors), dtype=bool)
    return Truths(
        ids, columns["donor"], known, columns, places, total or len(donors), (ids, Categorical.of([])), [], {}
    )


def test_units_are_donors_else_studies_else_cells() -> None:
    every = truths(["d1", "d2", "d3", "d4"] * 2, ["s1", "s2"] * 4)
    assert resampling_units(every, 4).kind == "donor"
    assert resampling_units(every.of(np.arange(3)), 4).kind == "cell"
    assert resampling_units(every.of(np.arange(3)), 2).kind == "donor"
    unknown = truths(["unknown"] * 8, ["s1", "s2"] * 4)
    units = resampling_units(unknown, 2)
    assert (units.kind, len(units.names)) == ("study", 2)
    units = resampling_units(unknown, 4)
    assert (units.kind, len(units.names)) == ("cell", 8)


def test_cells_of_large_data_share_blocks_that_every_method_agrees_on() -> None:
    n = 5000
    whole = resampling_units(truths(["unknown"] * n, ["one"] * n), 4).of_cells.to_text()
    part = truths(["unknown"] * 100, ["one"] * 100, np.arange(100, 200), n)
    assert len(set(whole)) <= 2000
    assert (resampling_units(part, 4).of_cells.to_text() == whole[100:200]).all()
    assert whole[:50].tolist() == [str(zlib.crc32(f"c{i}".encode()) % 2000) for i in range(50)]


def test_count_confusion() -> None:
    u, t, p = (np.array(list(text), dtype=object) for text in ("xxyy", "aaba", "abba"))
    found = count_confusion(u, t, p)
    rows = list(zip(*(found[key].to_text() for key in ("unit", "true", "predicted")), found["n"], strict=True))
    assert rows == [("x", "a", "a", 1), ("x", "a", "b", 1), ("y", "a", "a", 1), ("y", "b", "b", 1)]


def test_sums_over_units_are_those_of_a_loop() -> None:
    rng = np.random.default_rng(0)
    names, values, column = rng.choice(list("cab"), 50), rng.normal(size=50), rng.integers(0, 4, 50)
    units = Units("cell", Categorical.of(names.astype(object)))
    assert units.names == ["a", "b", "c"]
    assert units.cells.tolist() == [(names == name).sum() for name in "abc"]
    assert units.sum(values) == pytest.approx([values[names == name].sum() for name in "abc"])
    table = units.sum_by(column, 4, values)
    assert table[1, 2] == pytest.approx(values[(names == "b") & (column == 2)].sum())
    assert Units.one(3).cells.tolist() == [3]
