"""What is promised: a fit is given the same cells from a store as from memory, and says so where it cannot be."""

import json
import shutil
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_matrix

from annobench.cells.expression import rows_of
from annobench.cells.panel import MEASURED
from annobench.cells.store.loader import Loader
from annobench.cells.stored_cells import StoredCells
from annobench.core.errors import DataError, MethodSkipped
from annobench.core.parquet import read_columns, write_columns
from annobench.fit import inputs
from annobench.fit.child import main
from annobench.fit.decisions import KINDS
from annobench.fit.inputs import FitCells, load_cells
from annobench.fit.unrelated_cells import unrelated_cells
from annobench.ontology import Ontology
from helpers import fit_job


def loaded(files: dict[str, str], *, streams: bool = False, cells: str = "matrix", **changes: Any) -> FitCells:
    """Cells of a fit of a control that sees the truth."""
    needs, abilities = {"truth": True, "cells": cells}, {"streams": streams}
    return load_cells(fit_job(files, "majority", needs=needs, abilities=abilities, **changes))


def panel(jobs: dict[str, dict[str, str]]) -> str:
    return str(Path(jobs["store"]["split"]).with_name("panel.csv"))


def same(found: Any, expected: ad.AnnData) -> None:
    assert isinstance(found, ad.AnnData)
    assert (found.X != expected.X).nnz == 0
    pd.testing.assert_frame_equal(found.obs.astype(str), expected.obs.astype(str))
    pd.testing.assert_frame_equal(found.var.astype(str), expected.var.astype(str))
    assert found.uns["annobench"] == expected.uns["annobench"]


@pytest.mark.parametrize("training", ["panel", "all"])
@pytest.mark.parametrize("with_panel", [False, True])
def test_a_method_that_reads_all_cells_does_not_notice(
    jobs: dict[str, dict[str, str]], training: str, with_panel: bool
) -> None:
    more = {"training": training, "panel": panel(jobs) if with_panel else None}
    found, expected = (loaded(jobs[storage], **more) for storage in ("store", "memory"))
    for name in ("train", "validation", "query", "calibration"):
        same(getattr(found, name), getattr(expected, name))
    assert found.truth == expected.truth
    assert "label_id" not in found.query.obs
    assert "label_id" not in found.calibration.obs
    assert (MEASURED in found.query.var) == (with_panel and training == "all")


@pytest.mark.parametrize("with_panel", [False, True])
def test_a_method_that_streams_is_given_rows_of_the_store(jobs: dict[str, dict[str, str]], with_panel: bool) -> None:
    more = {"panel": panel(jobs) if with_panel else None}
    found = loaded(jobs["store"], streams=True, **more)
    expected = loaded(jobs["memory"], **more)
    for name in ("train", "validation", "query", "calibration"):
        cells, wanted = getattr(found, name), getattr(expected, name)
        assert isinstance(cells, StoredCells)
        assert (np.diff(cells.positions) > 0).all()
        pd.testing.assert_frame_equal(cells.obs.astype(str), wanted.obs.astype(str))
        batches = [next(Loader(rows_of(one), batch_size=1000, shuffle=False).epoch()).csr() for one in (cells, wanted)]
        assert abs(batches[0] - batches[1]).max() < 1e-6
    assert "label_id" not in found.query.obs
    assert "label_id" not in found.calibration.obs
    assert found.truth == expected.truth


def test_genes_that_a_panel_hides_are_hidden_from_a_method_that_streams(jobs: dict[str, dict[str, str]]) -> None:
    more = {"panel": panel(jobs), "training": "all"}
    found, expected = loaded(jobs["store"], streams=True, **more), loaded(jobs["memory"], **more)
    assert isinstance(found.train, StoredCells)
    assert isinstance(found.validation, StoredCells)
    same(found.query, expected.query)
    same(found.calibration, expected.calibration)


def test_cells_that_do_not_fit_are_a_reason_to_skip(jobs: dict[str, dict[str, str]]) -> None:
    small = {"limits": {"memory_mb": 0.02, "seconds": 60}}
    with pytest.raises(MethodSkipped, match="reads its cells into memory.*MB that it may use.*a method that streams"):
        loaded(jobs["store"], **small)
    loaded(jobs["store"], streams=True, **small)
    loaded(jobs["memory"], **small)


@pytest.mark.parametrize("storage", ["memory", "store"])
def test_a_split_of_other_cells_is_refused(jobs: dict[str, dict[str, str]], tmp_path: Path, storage: str) -> None:
    roles = read_columns(jobs[storage]["split"])
    roles["cell_id"][7], roles["role"][7] = "c", "test"
    write_columns(tmp_path / "s.parquet", roles)
    with pytest.raises(DataError, match="s.parquet: .*split the data again"):
        loaded(jobs[storage], split=str(tmp_path / "s.parquet"))


def test_training_cells_of_another_split_are_refused(jobs: dict[str, dict[str, str]], tmp_path: Path) -> None:
    chosen = read_columns(jobs["store"]["train"])
    write_columns(tmp_path / "t.parquet", {key: values[::-1] for key, values in chosen.items()})
    with pytest.raises(DataError, match="t.parquet: its cells are not training cells of .* in their order"):
        loaded(jobs["store"], train=str(tmp_path / "t.parquet"))


@given(st.lists(st.booleans(), max_size=40), st.integers(1, 9))
def test_cells_in_the_same_order_are_found_part_by_part(kept: list[bool], group: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(inputs, "ROW_GROUP", group)
        names = [f"c{i}" for i in range(len(kept))]
        wanted = [name for name, keep in zip(names, kept, strict=True) if keep]

        def found(texts: list[str]) -> Any:
            return inputs._rows_in_order(pa.array(texts, pa.string()), pa.array(names, pa.string()))

        assert list(found(wanted)) == list(np.flatnonzero(kept))
        assert found([*wanted, "other"]) is None
        if len(wanted) > 1:
            assert found(wanted[1:] + wanted[:1]) is None


def test_damaged_input_is_not_a_failure_of_the_method(
    jobs: dict[str, dict[str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Path(jobs["store"]["cells"]).parent
    copy = tmp_path / "data"
    shutil.copytree(folder, copy)
    data = bytearray((copy / "store" / "00000.records").read_bytes())
    data[50] ^= 4
    (copy / "store" / "00000.records").write_bytes(data)
    job = fit_job(jobs["store"], "majority", cells=str(copy / "cells.h5ad"))
    (tmp_path / "job.json").write_text(json.dumps(job.to_params()))
    monkeypatch.setattr("annobench.fit.child.die_with_parent", lambda: None)
    main(tmp_path / "job.json")
    result = json.loads((tmp_path / "result.json").read_text())
    assert result["status"] == "broken_input"
    assert "00000.records" in result["reason"]


def test_foreign_cells_of_a_stored_query_and_of_a_stored_tissue(
    jobs: dict[str, dict[str, str]], ontology: Ontology
) -> None:
    found: FitCells = loaded(jobs["store"], streams=True)
    path = Path(jobs["store"]["cells"])
    drawn = unrelated_cells(found.query, path, ["CL:0000066"], ontology, 1)
    assert set(drawn) == set(KINDS)
    for cells in drawn.values():
        assert isinstance(cells.X, csr_matrix)
        assert cells.n_vars == found.query.n_vars
        assert list(cells.obs.columns) == list(found.query.obs.columns)
