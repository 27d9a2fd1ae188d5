"""New cells as a model takes them: its genes in their order, its state of values, whatever the size of a block."""

from dataclasses import replace
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_matrix

from annobench.cells.genes import match_genes
from annobench.cells.matrix import CONVERTED, SCALE
from annobench.fit.annotate_job import STATES, ReadOptions
from annobench.fit.new_cells import NewCells, UnsuitableCellsError, state_of
from annobench.fit.saved_model import ModelFacts, SavedModel, sums_to_scale

COUNTS = np.random.default_rng(0).poisson(1.5, (30, 12)).astype("float32") + np.eye(30, 12, dtype="float32")
FACTS = ModelFacts(
    dataset="d",
    split="s",
    method="m",
    seed=1,
    implementation="majority",
    data_sha256="0",
    code="c",
    matrix="counts",
    sums_to_scale=False,
    ontology="2026-03-26",
    classes=("A",),
    labels={"A": "a"},
    embedding=False,
    calibration=None,
    versions={},
)


def genes(*numbers: int) -> pd.DataFrame:
    ids = [f"ENSG{i:011d}" for i in numbers]
    return pd.DataFrame({"feature_id": ids, "feature_name": [f"G{i}" for i in numbers]}, index=ids)


def model(*numbers: int, matrix: str = "counts", fills: bool = False) -> SavedModel:
    return SavedModel(Path("m"), replace(FACTS, matrix=matrix, sums_to_scale=fills), genes(*numbers))


def logged(counts: np.ndarray, scale: float = 1e4) -> np.ndarray:
    return np.log1p(counts / counts.sum(axis=1, keepdims=True) * scale)


def file(folder: Path, values: np.ndarray) -> Path:
    path = folder / "new.h5ad"
    ad.AnnData(csr_matrix(values.astype("float32")), var=genes(*range(values.shape[1]))).write_h5ad(path)
    return path


def values(path: Path, saved: SavedModel, block: int = 100, **options: str) -> np.ndarray:
    with NewCells(path, saved, ReadOptions(**options)) as cells:
        blocks = list(cells.blocks(block))
    assert all(list(one.cells.var_names) == list(saved.genes.index) for one in blocks)
    assert [name for one in blocks for name in one.names] == [str(i) for i in range(len(COUNTS))]
    return np.vstack([one.cells.X.toarray() for one in blocks])


def test_counts_stay_counts_over_the_genes_of_the_model(tmp_path: Path) -> None:
    found = values(file(tmp_path, COUNTS), model(7, 3, 11))
    assert np.array_equal(found, COUNTS[:, [7, 3, 11]])


def test_counts_are_normalised_over_all_genes_of_the_file(tmp_path: Path) -> None:
    for state, scale in SCALE.items():
        found = values(file(tmp_path, COUNTS), model(7, 3, 11, matrix=state))
        assert np.allclose(found, logged(COUNTS, scale)[:, [7, 3, 11]], atol=1e-5)


def test_one_logarithmic_state_becomes_the_other(tmp_path: Path) -> None:
    path = file(tmp_path, logged(COUNTS, 1e6))
    assert np.allclose(values(path, model(0, 5, matrix="log1p_cp10k")), logged(COUNTS)[:, [0, 5]], atol=1e-4)
    path = file(tmp_path, logged(COUNTS))
    assert np.allclose(values(path, model(0, 5, matrix="log1p_cpm")), logged(COUNTS, 1e6)[:, [0, 5]], atol=1e-4)


def test_values_sum_to_the_scale_where_those_of_the_training_cells_did(tmp_path: Path) -> None:
    path = file(tmp_path, logged(COUNTS))
    found = values(path, model(2, 0, 5, matrix="log1p_cp10k", fills=True))
    full = COUNTS[:, [2, 0, 5]].sum(axis=1) > 0
    assert np.allclose(np.expm1(found).sum(axis=1)[full], 1e4, rtol=1e-4)
    assert np.allclose(found[full], logged(COUNTS[full][:, [2, 0, 5]]), atol=1e-4)


def test_genes_that_are_missing_are_zero_and_said_to_be_unmeasured(tmp_path: Path) -> None:
    with NewCells(file(tmp_path, COUNTS), model(3, 99, 5), ReadOptions()) as cells:
        block = next(cells.blocks())
    assert block.cells.var["measured"].tolist() == [True, False, True]
    assert np.array_equal(block.cells.X.toarray()[:, [0, 2]], COUNTS[:, [3, 5]])
    assert not block.cells.X.toarray()[:, 1].any()
    assert cells.match.missing == ["G99"]


@given(block=st.integers(1, 40))
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_size_of_a_block_does_not_matter(tmp_path: Path, block: int) -> None:
    assert np.array_equal(values(file(tmp_path, COUNTS), model(7, 3, 11), block), COUNTS[:, [7, 3, 11]])


def test_states_show_in_the_values() -> None:
    def state(matrix: np.ndarray) -> str | None:
        return state_of(csr_matrix(matrix))

    assert {"counts", "fractional_counts", *SCALE, *CONVERTED} == set(STATES)
    assert state(COUNTS) == "counts"
    assert state(logged(COUNTS)) == "log1p_cp10k"
    assert state(logged(COUNTS)[:, :4]) == "log1p_cp10k"  # some of the genes
    assert state(logged(COUNTS, 1e6)) == "log1p_cpm"
    assert state(np.log2(COUNTS / COUNTS.sum(axis=1, keepdims=True) * 1e4 + 1)) == "log2"
    assert state(logged(COUNTS, 674.5)) == "log1p"
    assert state(COUNTS / COUNTS.sum(axis=1, keepdims=True) * 1e4) == "normalised"
    assert state(np.log1p(logged(COUNTS))) is None
    assert state(logged(COUNTS) - 1) is None
    assert state(np.full((3, 2), np.nan)) is None


def test_a_state_that_is_given_counts(tmp_path: Path) -> None:
    some = file(tmp_path, logged(COUNTS, 1e6)[:, :2] / 3)
    with pytest.raises(UnsuitableCellsError, match=r"holds log1p_cp10k, but the model was trained on counts"):
        values(some, model(0, 1))
    path = file(tmp_path, logged(COUNTS, 1e6))
    with pytest.raises(UnsuitableCellsError, match="--state says log1p_cp10k, but row"):
        values(path, model(0, 1, matrix="log1p_cp10k"), state="log1p_cp10k")


def test_the_scale_of_training_cells_is_told() -> None:
    cells = ad.AnnData(csr_matrix(logged(COUNTS).astype("float32")))
    cells.uns["annobench"] = {"matrix": "log1p_cp10k"}
    assert sums_to_scale(cells)
    assert not sums_to_scale(cells[:, :6].copy())
    cells.uns["annobench"] = {"matrix": "counts"}
    assert not sums_to_scale(cells)


def test_genes_match_by_id_and_else_by_symbol() -> None:
    mine, theirs = genes(0, 1, 2, 3), genes(9, 2, 1, 0)
    theirs.loc[theirs.index[2], "feature_id"] = ""  # G1 by its symbol
    found = match_genes(mine, theirs)
    assert found.own.tolist() == [0, 1, 2]
    assert found.theirs.tolist() == [3, 2, 1]
    assert found.missing == ["G3"]
    assert found.share == 0.75
    assert found.counts() == {
        **{"model": 4, "found": 3, "found_by_id": 2, "found_by_symbol": 1, "missing": 1},
        **{"cells": 4, "unused": 1},
    }
