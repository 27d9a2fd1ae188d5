"""What is promised: datasets become one by cell, with the genes that all have or without any; nothing is guessed."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pytest
import yaml

from annobench.cells.stored_cells import read_cells
from annobench.config.entities import load_dataset_with_parts, parts_of
from annobench.config.schema import validate
from annobench.core.errors import ConfigError, DataError
from annobench.core.files import read_json, sha256_of, write_json
from annobench.core.parquet import read_columns
from annobench.core.paths import ROOT
from annobench.data.prepare.combined import prepare_combined
from annobench.data.prepare.dataset import prepare_dataset
from annobench.data.prepare.spec import DatasetSpec
from annobench.data.prepare.task import PreparedFiles
from annobench.ontology import Ontology
from helpers import source_h5ad

TEXT = {"label": "d", "summary": "s", "citation": "c", "licence": "l"}
Prepare = Callable[..., dict[str, PreparedFiles]]


@pytest.fixture
def prepare(tmp_path: Path, ontology: Ontology) -> Prepare:
    """Prepare a human and a mouse dataset of six cells whose genes are these; `mouse` has settings of its cells."""

    def prepared(human: list[str], mouse: list[str], storage: str = "memory", **more: Any) -> dict[str, PreparedFiles]:
        parts = {}
        for name, genes in (("human", human), ("mouse", mouse)):
            about = {"who": ["1", "1", "2", "2", None, None], "cl": ["CL:0000236", "CL:0000084"] * 3}
            file = source_h5ad(tmp_path / f"{name}.h5ad", **about)
            data = ad.read_h5ad(file)
            data.var_names = genes
            if name == "mouse":
                data.obsm["spatial"] = np.zeros((6, 2))
            data.write_h5ad(file)
            write_json(tmp_path / "r.json", {"sha256": sha256_of(file), "file": file.name})
            columns = {"organism": "=Homo sapiens"} if name == "human" else {"organism": "=Mus musculus", "day": "who"}
            cells = {"donor": "who", "label_id": "cl", "columns": columns} | (more if name == "mouse" else {})
            source = {"source": {"kind": "local", "path": "x"}, "storage": storage, "cells": cells}
            spec = DatasetSpec.of(validate(TEXT | source, "dataset", "d.yaml"))
            parts[name] = PreparedFiles.within(tmp_path / name)
            prepare_dataset(name, spec, file, tmp_path / "r.json", parts[name], ontology=ontology)
        return parts

    return prepared


def combined(parts: dict[str, PreparedFiles], ontology: Ontology, folder: Path, **more: Any) -> tuple[Any, Any, Any]:
    """Cells, card and observations of the datasets together, and what was said."""
    text = TEXT | {"combined": {"datasets": list(parts), "min_genes": 2} | more}
    spec, outputs, said = DatasetSpec.of(validate(text, "dataset", "c.yaml")), PreparedFiles.within(folder / "c"), []
    prepare_combined("c", spec, parts, outputs, ontology=ontology, report=said.append)
    assert len(said) == 1
    return read_cells(outputs.cells), read_json(outputs.card) | {"said": said[0]}, read_columns(outputs.obs)


@pytest.mark.parametrize("storage", ["memory", "store"])
@pytest.mark.parametrize("genes", ["shared", "none"])
def test_cells_are_named_by_their_dataset_and_keep_their_columns(
    prepare: Prepare, tmp_path: Path, ontology: Ontology, genes: str, storage: str
) -> None:
    parts = prepare(["A", "B", "C", "X"], ["C", "B", "Y", "A"], storage)
    cells, card, obs = combined(parts, ontology, tmp_path, genes=genes)
    ids = [f"{name}:c{i}" for name in ("human", "mouse") for i in range(6)]
    assert list(cells.obs_names) == list(obs["cell_id"]) == ids
    assert list(obs["part"]) == ["human"] * 6 + ["mouse"] * 6
    assert list(obs["organism"]) == ["Homo sapiens"] * 6 + ["Mus musculus"] * 6
    assert list(obs["day"]) == ["unknown"] * 6 + ["1", "1", "2", "2", "unknown", "unknown"]
    assert list(obs["label_id"]) == ["CL:0000236", "CL:0000084"] * 6
    assert "spatial" not in cells.obsm
    assert card["coordinates_left_out"] == ["mouse"]
    assert card["donors_in_several_parts"] == {"1": ["human", "mouse"], "2": ["human", "mouse"]}
    assert "2 donors have one name in several datasets (1, 2)" in card["said"]
    assert card["parts"] == {name: read_json(files.card)["sha256"] for name, files in parts.items()}
    assert card["labels"]["CL:0000236"]["cells"] == 6
    if genes == "none":
        assert (cells.n_vars, card["matrix"]) == (0, "none")
        assert card["genes_left_out"] == {"human": 4, "mouse": 4}
        return
    assert list(cells.var["feature_name"]) == ["A", "B", "C"]  # as the first dataset has them
    human, mouse = (read_cells(files.cells).X.toarray() for files in parts.values())
    assert np.array_equal(cells.X.toarray(), np.vstack([human[:, :3], mouse[:, [3, 1, 0]]]))
    assert card["overlap"]["mouse"] == {"genes": 4, "shared": 3, "share": 0.75}


def test_organisms_without_shared_genes_are_refused_with_the_way_out(
    prepare: Prepare, tmp_path: Path, ontology: Ontology
) -> None:
    genes = [[f"{prefix}0000000000{i}" for i in range(4)] for prefix in ("ENSG0", "ENSMUSG0")]
    parts = prepare(*genes)
    with pytest.raises(DataError, match=r"c: combined: only 0 genes are shared.*set combined.genes to none"):
        combined(parts, ontology, tmp_path)


def loaded(folder: Path, files: dict[str, Any], name: str = "c") -> dict[str, Any]:
    """A dataset with those behind it, as a study in a folder of its own loads them."""
    datasets = folder / "config" / "datasets"
    datasets.mkdir(parents=True)
    for one, text in files.items():
        (datasets / f"{one}.yaml").write_text(yaml.safe_dump(TEXT | text))
    found: dict[str, Any] = {}
    load_dataset_with_parts(name, ROOT, "study.yaml", found, folder)
    return found


PLAIN = {"source": {"kind": "local", "path": "x"}}


def test_the_datasets_behind_it_are_loaded(tmp_path: Path) -> None:
    found = loaded(tmp_path, {"a": PLAIN, "b": PLAIN, "c": {"combined": {"datasets": ["b", "a"]}}})
    assert list(found) == ["c", "b", "a"]
    assert parts_of(found["c"]) == ["b", "a"]
    assert parts_of(found["a"]) == []


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"combined": {"datasets": ["b", "d"]}}, "combined: 'a' is itself combined of others; name plain datasets"),
        ({"pair": {"references": ["b"], "query": "d"}}, "combined: 'a' is itself a pair; name plain datasets"),
        (PLAIN | {"cells": {"label": None}}, r"combined: 'a' declares no labels \(cells.label\)"),
    ],
)
def test_datasets_that_cannot_be_combined(tmp_path: Path, other: dict[str, Any], message: str) -> None:
    files = {"a": other, "b": PLAIN, "d": PLAIN, "c": {"combined": {"datasets": ["a", "b"]}}}
    with pytest.raises(ConfigError, match=message):
        loaded(tmp_path, files)


def test_a_pair_takes_no_combined_dataset(tmp_path: Path) -> None:
    files = {"a": {"combined": {"datasets": ["b", "d"]}}, "b": PLAIN, "d": PLAIN}
    with pytest.raises(ConfigError, match="pair: 'a' is itself combined of others"):
        loaded(tmp_path, files | {"c": {"pair": {"references": ["a"], "query": "b"}}})


def test_one_dataset_is_not_several() -> None:
    with pytest.raises(ConfigError, match=r"combined.datasets: .* is too short"):
        validate(TEXT | {"combined": {"datasets": ["a"]}}, "dataset", "c.yaml")
