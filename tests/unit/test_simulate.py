"""What is promised: simulated cells are the same however many are in memory at once, and come in a file of any size."""

from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pytest

from annobench.errors import DataError
from annobench.ontology import Ontology
from annobench.sources.simulate import BLOCK, Simulation, simulate, write_simulated
from helpers import TYPES

MANY: dict[str, Any] = {
    "types": TYPES,
    "cells": 2 * BLOCK + 300,
    "genes": 40,
    "studies": 4,
    "unlabelled": 0.1,
    "seed": 5,
}


def test_the_file_holds_what_is_drawn_in_memory(tmp_path: Path, ontology: Ontology) -> None:
    write_simulated(tmp_path / "a.h5ad", **MANY, ontology=ontology)
    found, expected = ad.read_h5ad(tmp_path / "a.h5ad"), simulate(**MANY, ontology=ontology)
    assert (found.X != expected.X).nnz == 0
    assert found.X.dtype == np.float32
    assert found.obs.astype(str).equals(expected.obs.astype(str))
    assert found.var.equals(expected.var)
    assert found.obs_names.is_unique


def test_a_block_depends_on_no_other(ontology: Ontology) -> None:
    blocks = list(Simulation(**MANY, ontology=ontology).blocks())
    assert [len(obs) for _, obs in blocks] == [BLOCK, BLOCK, 300]
    alone = Simulation(**MANY, ontology=ontology)
    for number in (2, 0, 1):  # in any order
        start = number * BLOCK
        counts, obs = alone._block(slice(start, min(start + BLOCK, alone.cells)))
        assert (counts != blocks[number][0]).nnz == 0
        assert obs.equals(blocks[number][1])
    assert (blocks[0][0][:300] != blocks[2][0]).nnz > 0


def test_the_truth_is_as_it_was_asked_for(ontology: Ontology) -> None:
    found = simulate(**MANY, ontology=ontology)
    labels = found.obs["cell_type_ontology_term_id"]
    assert set(labels) == {*TYPES, "unknown"}
    assert 0.07 < (labels == "unknown").mean() < 0.13
    assert found.obs["study"].nunique() == 4
    assert (found.obs.groupby("donor_id")["study"].nunique() == 1).all()
    assert found.X.sum(axis=1).mean() == pytest.approx(1500 * np.exp(0.3**2 / 2), rel=0.05)


def test_an_unknown_type_is_refused(ontology: Ontology) -> None:
    with pytest.raises(DataError, match="source.types: 'CL:9999999' is not a live term"):
        simulate(**MANY | {"types": ["CL:0000084", "CL:9999999"]}, ontology=ontology)
