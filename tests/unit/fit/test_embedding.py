"""What is promised: an embedding has every cell once, in finite numbers, and its file can be mapped."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from annobench.core.errors import PredictionError
from annobench.fit.embedding import Embedding, read_embedding, write_embedding

IDS = np.array([f"cell{i}" for i in range(30)], dtype=object)
VALUES = np.random.default_rng(0).normal(size=(30, 4))
ROLES = {"train": IDS[:18], "test": IDS[18:]}


@given(order=st.permutations(range(8)))
def test_cells_come_in_the_order_that_is_asked_for(order: list[int]) -> None:
    found = Embedding(IDS[order], VALUES[order]).in_order(IDS[:8])
    assert found.dtype == np.float32
    assert np.array_equal(found, VALUES[:8].astype(np.float32))


@pytest.mark.parametrize("bounds", [(0, 30), (0, 7, 18, 30), (0, 18, 30)])
def test_parts_give_one_file_whose_matrix_is_mapped(tmp_path: Path, bounds: tuple[int, ...]) -> None:
    path = tmp_path / "embedding.npz"
    write_embedding(path, ROLES, (Embedding(IDS[a:b], VALUES[a:b]) for a, b in pairwise(bounds)))
    found = read_embedding(path)
    assert isinstance(found.values, np.memmap)
    assert np.array_equal(found.values, VALUES.astype(np.float32))
    assert found.cell_ids.tolist() == IDS.tolist()
    assert found.roles.tolist() == ["train"] * 18 + ["test"] * 12
    test = found.of("test")
    assert test.cell_ids.tolist() == IDS[18:].tolist()
    assert np.array_equal(test.values, VALUES[18:].astype(np.float32))
    with np.load(path, allow_pickle=False) as plain:
        assert set(plain.files) == {"embedding", "cell_ids", "roles"}


def changed(row: int, value: float) -> np.ndarray:
    values = VALUES.copy()
    values[row, 1] = value
    return values


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ([(IDS[:20], VALUES[:20])], "an embedding of 20 cells, expected 30"),
        ([(IDS, changed(3, np.nan))], "holds 1 NaN or infinite"),
        ([(IDS, changed(3, 1e39))], "holds 1 NaN or infinite"),  # beyond float32
        ([(IDS, VALUES[:, 0])], r"has shape \(30,\), expected \(30, dimensions\)"),
        ([(IDS, VALUES[:, :0])], r"has shape \(30, 0\)"),
        ([(np.roll(IDS, 1)[:15], VALUES[:15])], r"embedding for 15 cells.*1 \(cell29\) not asked for"),
        ([(np.where(IDS == "cell1", "cell0", IDS), VALUES)], "embedding: 1 cells are listed more than once"),
        ([(IDS[:10], VALUES[:10]), (IDS[10:], VALUES[10:, :3])], "have 4 and 3 dimensions"),
        ([(IDS, np.ones((30, 4)))], "the same for every cell"),
    ],
)
def test_broken_embeddings_leave_no_file(tmp_path: Path, parts: list[tuple[Any, Any]], message: str) -> None:
    with pytest.raises(PredictionError, match=message), np.errstate(over="ignore"):
        write_embedding(tmp_path / "embedding.npz", ROLES, [Embedding(*part) for part in parts])
    assert list(tmp_path.iterdir()) == []
