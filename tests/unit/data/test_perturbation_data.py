"""What is promised: prepared cells say what was done to them, and what cannot be is refused by name."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pytest

from annobench.config.entities import available, load_dataset
from annobench.config.schema import validate
from annobench.core.errors import ConfigError, DataError
from annobench.core.files import read_json, sha256_of, write_json
from annobench.core.parquet import read_columns
from annobench.core.paths import ROOT
from annobench.data.prepare.dataset import prepare_dataset
from annobench.data.prepare.spec import DatasetSpec
from annobench.data.prepare.task import PreparedFiles
from annobench.data.sources.simulate_perturbation import CONTROL, Source, World, simulated
from annobench.fit.inputs import read_without_matrix
from annobench.ontology import Ontology
from helpers import source_h5ad

GUIDES = ["none", "G0", "none", "G1", "G1", None]
PAIRS = {"G0": {"c1": "c0"}, "G1": {"c3": "c2"}}


@pytest.fixture
def prepare(tmp_path: Path, ontology: Ontology) -> Callable[..., tuple[ad.AnnData, dict[str, Any], Path]]:
    def prepared(file: Path, storage: str = "memory", **perturbation: Any) -> tuple[ad.AnnData, dict[str, Any], Path]:
        text = {"label": "d", "summary": "s", "citation": "c", "licence": "l", "source": {"kind": "local", "path": "x"}}
        text |= {"cells": {"label": "=line", "label_id": "=CL:0000236"}, "storage": storage}
        text["perturbation"] = {"condition": "guide", "control": "none"} | perturbation
        record = tmp_path / "source.json"
        write_json(record, {"sha256": sha256_of(file), "file": file.name})
        outputs = PreparedFiles.within(tmp_path / "out")
        spec = DatasetSpec.of(validate(text, "dataset", "d.yaml"))
        prepare_dataset("d", spec, file, record, outputs, ontology=ontology)
        return ad.read_h5ad(outputs.cells), read_json(outputs.card), outputs.obs

    return prepared


def with_uns(path: Path, **uns: Any) -> Path:
    file = source_h5ad(path, guide=GUIDES)
    cells = ad.read_h5ad(file)
    cells.uns |= uns
    cells.write_h5ad(file)
    return file


@pytest.mark.parametrize("storage", ["memory", "store"])
def test_conditions_and_the_control_reach_methods_however_cells_are_stored(
    prepare: Any, tmp_path: Path, storage: str
) -> None:
    cells, card, obs = prepare(source_h5ad(tmp_path / "a.h5ad", guide=GUIDES), storage, no_gene=["ctrl"])
    assert list(read_columns(obs)["condition"]) == ["none", "G0", "none", "G1", "G1", "unknown"]
    assert set(read_columns(obs)["label_id"]) == {"CL:0000236"}
    for uns in (cells.uns["annobench"], read_without_matrix(obs.parent / "cells.h5ad").uns["annobench"]):
        assert (uns["control"], uns["separator"], list(uns["no_gene"])) == ("none", "+", ["ctrl"])
    assert card["perturbation"] == {
        "control": "none",
        "control_cells": 2,
        "conditions": {"G0": 1, "G1": 2},
        "cells_without_condition": 1,
    }


def test_pairs_of_uns_and_of_a_column_are_the_same(prepare: Any, tmp_path: Path) -> None:
    _, card, obs = prepare(with_uns(tmp_path / "a.h5ad", control_cells_map=PAIRS), pairs="uns/control_cells_map")
    expected = ["unknown", "c0", "unknown", "c2", "unknown", "unknown"]
    assert list(read_columns(obs)["control_cell"]) == expected
    assert (card["perturbation"]["cells_paired"], card["perturbation"]["cells_without_pair"]) == (2, 1)
    file = source_h5ad(tmp_path / "b.h5ad", guide=GUIDES, partner=["c1", "c0", None, "c2", None, None])
    assert list(read_columns(prepare(file, pairs="partner")[2])["control_cell"]) == expected


@pytest.mark.parametrize(
    ("perturbation", "message"),
    [
        ({"control": "nome"}, r"perturbation.control: no cell has 'nome' in the column 'guide'; did you mean 'none'"),
        ({"condition": "guid"}, r"perturbation.condition: there is no column 'guid'; did you mean 'guide'"),
        ({"pairs": "partner"}, "perturbation.pairs: there is no column 'partner'"),
        ({"pairs": "uns/control_cell_map"}, r"no 'uns/control_cell_map'; did you mean 'uns/control_cells_map'"),
        ({"pairs": "uns/wrong"}, "'c1' is paired with 'c3', which is no control cell; 1 of 1 pairs are wrong"),
        ({"pairs": "uns/flat"}, "uns/flat/c1 is str, expected a mapping"),
        ({"pairs": "uns/others"}, "no perturbed cell is in a pair"),
    ],
)
def test_what_cannot_be_is_refused(prepare: Any, tmp_path: Path, perturbation: dict[str, Any], message: str) -> None:
    more: dict[str, Any] = {"control_cells_map": PAIRS, "wrong": {"G0": {"c1": "c3"}}}
    more |= {"flat": {"c1": "c0"}, "others": {"G": {"x": "c0"}}}
    with pytest.raises(DataError, match=message):
        prepare(with_uns(tmp_path / "a.h5ad", **more), **perturbation)


def test_cells_that_are_all_controls_are_refused(prepare: Any, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="every cell has 'none' .* expected perturbed cells"):
        prepare(source_h5ad(tmp_path / "a.h5ad", guide=["none"] * 6))


def test_a_pair_of_datasets_has_no_conditions(tmp_path: Path) -> None:
    folder = tmp_path / "config" / "datasets"
    folder.mkdir(parents=True)
    head = "label: a\nsummary: a\ncitation: a\nlicence: a\n"
    done = "perturbation: {condition: x, control: y}\n"
    (folder / "a.yaml").write_text(head + "pair: {references: [b], query: c}\n" + done)
    with pytest.raises(ConfigError, match="a.yaml: perturbation: a pair of datasets has none"):
        load_dataset("a", tmp_path, "study")
    source = "source: {kind: local, path: x}\ncells: {columns: {condition: x}}\n"
    (folder / "b.yaml").write_text(head + source + done)
    with pytest.raises(ConfigError, match="'condition' is the column that `perturbation` makes"):
        load_dataset("b", tmp_path, "study")


def test_simulated_effects_are_those_that_are_stated() -> None:
    """Log ratios of mean counts follow the known effects, where there are counts enough."""
    source = Source("simulate_perturbation", conditions=4, cells_per_condition=300, control_cells=600, genes=60)
    cells, world = simulated(source), World.of(source)
    assert (cells.varm["effects"] == world.effects.T).all()
    counts, conditions = cells.X.toarray(), cells.obs["condition"].to_numpy()
    control = counts[conditions == CONTROL].mean(axis=0)
    for name, effect, target in zip(cells.uns["conditions"], world.effects, world.targets, strict=True):
        assert name == cells.var_names[target]
        assert effect[target] == np.log(source.knockdown)
        many = control > 5
        change = np.log(counts[conditions == name].mean(axis=0)[many] / control[many])
        assert np.corrcoef(change, effect[many])[0, 1] > 0.95
        assert np.abs(change - effect[many]).max() < 0.5
    again = simulated(source)
    assert (again.X != cells.X).nnz == 0


def test_a_simulation_needs_a_gene_for_every_condition() -> None:
    with pytest.raises(DataError, match="30 conditions of 20 genes"):
        World.of(Source("simulate_perturbation", conditions=30, genes=20))


def test_declared_sets_name_their_control_and_where_they_lie() -> None:
    declared = [name for name in available("datasets", ROOT) if "perturbation" in load_dataset(name, ROOT, "s")]
    assert {"vcc_h1", "simulated_perturbation", "gears_norman", "replogle_k562_essential"} <= set(declared)
    for name in declared:
        dataset = load_dataset(name, ROOT, "s")
        lines = (ROOT / "config" / "datasets" / f"{name}.yaml").read_text().splitlines()
        if dataset["source"]["kind"] == "url":
            assert not dataset["run_here"]
            assert dataset["source"]["urls"][0].startswith("https://")
            assert name == "gears_norman" or len(lines) < 10
