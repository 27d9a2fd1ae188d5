"""What is promised: simulated cells are the same however many are in memory at once, and come in a file of any size."""

from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from annobench.config.entities import load_dataset
from annobench.config.schema import load_yaml
from annobench.core.errors import ConfigError, DataError
from annobench.core.paths import ROOT
from annobench.data.sources.shared.granularity import Granularity, LeavesBelow, MixedDepth, chosen_types, leaves_of
from annobench.data.sources.simulate import BLOCK, Simulation, Source, simulate, write_simulated
from annobench.ontology import Ontology
from helpers import TYPES

MANY: dict[str, Any] = {
    "types": TYPES,
    "cells": 2 * BLOCK + 300,
    "genes": 40,
    "studies": 4,
    "unlabelled": 0.1,
    "seed": 5,
}
RELEASE: dict[str, Any] = MANY | {"studies": 2, "first_study": 3}
MIXED = {"coarse_studies": 0.5, "coarse_branches": 0.5}


def source(**parameters: Any) -> Source:
    return Source.from_params({"kind": "simulate", **parameters})


def world(part: str, **changes: Any) -> dict[str, Any]:
    """Parameters of a simulated release; `part` such as mixed_may."""
    given = load_yaml(ROOT / f"config/datasets/simulated_{part}.yaml")["source"]
    return {key: value for key, value in given.items() if key != "kind"} | changes


@pytest.mark.parametrize("parameters", [MANY, RELEASE], ids=["mixed", "numbered"])
def test_absent_types_have_no_cells_and_all_others_stay_as_they_are(parameters: Any, ontology: Ontology) -> None:
    absent = [TYPES[0], TYPES[4]]
    whole, found = (simulate(**parameters, absent=one, ontology=ontology) for one in ([], absent))
    kept = ~whole.obs["true_type"].isin(absent).to_numpy()
    assert found.obs["true_type"][kept].tolist() == whole.obs["true_type"][kept].tolist()
    following = dict(zip(TYPES, [TYPES[1], *TYPES[1:4], TYPES[1]], strict=True))
    assert found.obs["true_type"].tolist() == whole.obs["true_type"].map(following).tolist()
    with pytest.raises(DataError, match="source.absent: 'CL:0000001' is not among the types"):
        simulate(**parameters, absent=["CL:0000001"], ontology=ontology)
    with pytest.raises(DataError, match="lists all types"):
        simulate(**parameters, absent=TYPES, ontology=ontology)


def test_times_move_a_fifth_of_the_genes_and_nothing_else(ontology: Ontology) -> None:
    more = MANY | {"cells": 3000, "genes": 200, "dispersion": 0.1}
    still, moving = (simulate(**more, **times, ontology=ontology) for times in ({}, {"times": 2, "time_strength": 1.0}))
    assert "time" not in still.obs
    assert set(moving.obs["time"]) == {0, 1}
    assert (still.obs["true_type"] == moving.obs["true_type"]).all()
    first = (moving.obs["time"] == 0).to_numpy()
    early, late = (np.log(np.asarray(moving.X[rows].mean(axis=0)).ravel() + 0.05) for rows in (first, ~first))
    change = (late - early) - np.median(late - early)  # all genes share the depth
    assert 0.1 < (np.abs(change) > 0.4).mean() < 0.25


@pytest.mark.parametrize("parameters", [MANY, RELEASE], ids=["mixed", "numbered"])
def test_the_file_holds_what_is_drawn_in_memory(parameters: Any, tmp_path: Path, ontology: Ontology) -> None:
    write_simulated(tmp_path / "a.h5ad", source(**parameters), ontology)
    found, expected = ad.read_h5ad(tmp_path / "a.h5ad"), simulate(**parameters, ontology=ontology)
    assert (found.X != expected.X).nnz == 0
    assert found.X.dtype == np.float32
    assert found.obs.astype(str).equals(expected.obs.astype(str))
    assert found.var.equals(expected.var)
    assert found.obs_names.is_unique


@pytest.mark.parametrize(
    ("parameters", "sizes"),
    [(MANY, [BLOCK, BLOCK, 300]), (RELEASE, [BLOCK, 150, BLOCK, 150])],
    ids=["mixed", "numbered"],
)
def test_a_block_depends_on_no_other(parameters: Any, sizes: list[int], ontology: Ontology) -> None:
    blocks = list(Simulation(source(**parameters), ontology).blocks())
    assert [len(obs) for _, obs in blocks] == sizes
    alone = Simulation(source(**parameters), ontology)
    for number in reversed(range(len(sizes))):
        counts, obs = alone.block(number)
        assert (counts != blocks[number][0]).nnz == 0
        assert obs.equals(blocks[number][1])
    size = min(sizes)
    assert len({counts[:size].sum() for counts, _ in blocks}) == len(sizes)  # no stream is used twice


def test_the_truth_is_as_it_was_asked_for(ontology: Ontology) -> None:
    found = simulate(**MANY, ontology=ontology)
    labels = found.obs["cell_type_ontology_term_id"]
    assert set(labels) == {*TYPES, "unknown"}
    assert 0.07 < (labels == "unknown").mean() < 0.13
    known = labels != "unknown"
    assert (labels[known] == found.obs["true_type"][known]).all()
    assert set(found.obs["true_type"]) == set(TYPES)
    assert found.obs["study"].nunique() == 4
    assert (found.obs.groupby("donor_id")["study"].nunique() == 1).all()
    assert found.X.sum(axis=1).mean() == pytest.approx(1500 * np.exp(0.3**2 / 2), rel=0.05)


def test_a_study_is_what_its_number_makes_it(ontology: Ontology) -> None:
    few = MANY | {"cells": 1200, "granularity": MIXED, "types": [*TYPES, "CL:0000542"]}
    older = simulate(**few | {"studies": 4, "first_study": 1}, ontology=ontology)
    newer = simulate(**few | {"studies": 2, "cells": 600, "first_study": 4}, ontology=ontology)
    assert sorted(older.obs["study"].unique()) == ["study1", "study2", "study3", "study4"]
    assert (older.obs["study"].value_counts() == 300).all()
    again = older[(older.obs["study"] == "study4").to_numpy()]
    same = newer[(newer.obs["study"] == "study4").to_numpy()]
    assert (again.X != same.X).nnz == 0
    assert again.obs.equals(same.obs)
    fresh = newer[(newer.obs["study"] == "study5").to_numpy()]
    assert not set(fresh.obs_names) & set(older.obs_names)
    assert (fresh.X != same.X).nnz > 0


def test_releases_share_programs_and_another_seed_is_another_world(ontology: Ontology) -> None:
    def profiles(first: int, seed: int) -> Any:
        cells = simulate(**world("leaves_may", cells=1000, genes=300, first_study=first, seed=seed), ontology=ontology)
        sums = pd.DataFrame(cells.X.toarray()).groupby(cells.obs["true_type"].to_numpy()).sum()
        profile = np.log(sums.to_numpy() + 1)
        return (profile - profile.mean(axis=0)).ravel()  # what tells the types apart

    older = profiles(1, 0)
    assert np.corrcoef(older, profiles(13, 0))[0, 1] > 0.7
    assert abs(np.corrcoef(older, profiles(13, 1))[0, 1]) < 0.1


def test_studies_name_the_same_cells_at_different_depths(ontology: Ontology) -> None:
    mixed, leaves = (simulate(**world(f"{one}_may", genes=10), ontology=ontology) for one in ("mixed", "leaves"))
    assert (mixed.X != leaves.X).nnz == 0
    assert (mixed.obs["true_type"] == leaves.obs["true_type"]).all()
    assert (leaves.obs["cell_type_ontology_term_id"] == leaves.obs["true_type"]).all()
    renamed = mixed.obs["cell_type_ontology_term_id"] != mixed.obs["true_type"]
    coarse = renamed.groupby(mixed.obs["study"]).any()
    assert coarse.sum() == 6  # every second one of twelve
    assert set(coarse.index[coarse]) == {f"study{number}" for number in range(2, 13, 2)}
    named = mixed.obs.groupby(["study", "true_type"])["cell_type_ontology_term_id"].nunique()
    assert (named == 1).all()  # a study is of one mind
    names = mixed.obs.groupby("true_type")["cell_type_ontology_term_id"].nunique()
    assert names["CL:0000895"] > 2  # naive CD4 T cell: that, CD4 T cell, T cell
    assert ontology.label(mixed.obs["cell_type_ontology_term_id"].iloc[0]) == mixed.obs["cell_type"].iloc[0]


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 1000), study=st.integers(1, 50), share=st.floats(0, 1), chance=st.floats(0, 1))
def test_a_name_is_the_type_or_above_it_and_holds_for_the_whole_branch(
    ontology: Ontology, seed: int, study: int, share: float, chance: float
) -> None:
    types = world("mixed_may")["types"]
    found = Granularity(types, MixedDepth(share, chance), ontology, seed)
    names = dict(zip(found.kinds, (found.names[i] for i in found.labels(study)), strict=True))
    for kind, name in names.items():
        assert name == kind or name in ontology.ancestors(kind)
        for other in found.kinds:
            if name in ontology.ancestors(other):
                assert names[other] == name or names[other] in ontology.ancestors(name)
    if not found.is_coarse(study) or chance == 0:
        assert all(name == kind for kind, name in names.items())
    assert sum(map(found.is_coarse, range(1, 101))) == pytest.approx(100 * share, abs=1)


def test_all_studies_are_coarse_where_all_stop_everywhere(ontology: Ontology) -> None:
    types = [*TYPES, "CL:0000542"]  # lymphocyte
    found = Granularity(types, MixedDepth(1, 1), ontology, 0)
    assert found.kinds == leaves_of(types, ontology) == ["CL:0000624", "CL:0000236", "CL:0000623", "CL:0000860"]
    assert [found.names[i] for i in found.labels(1)] == ["CL:0000542"] * 3 + ["CL:0000860"]


def test_a_sub_ontology_is_drawn_below_a_root(ontology: Ontology) -> None:
    types = chosen_types(LeavesBelow("CL:0000738", 12), ontology, 3)
    leaves = leaves_of(types, ontology)
    assert len(leaves) == 12
    assert len(types) == len(set(types)) > 14
    for one in leaves:
        assert "CL:0000738" in ontology.ancestors(one)
        assert not any(child in ontology for child in ontology.descendants(one))
    below = [
        frozenset(leaf for leaf in leaves if one in ontology.ancestors(leaf)) for one in types if one not in leaves
    ]
    assert all(len(has) > 1 for has in below)
    assert max(map(len, below)) == 12
    assert len(set(below)) == len(below)
    assert chosen_types(LeavesBelow("CL:0000738", 12), ontology, 3) == types
    assert chosen_types(LeavesBelow("CL:0000738", 12), ontology, 4) != types
    few = {"genes": 20, "cells": 50, "granularity": MIXED, "first_study": 1}
    found = simulate(types={"root": "CL:0000738", "leaves": 12}, **few, seed=3, ontology=ontology)
    assert set(found.obs["cell_type_ontology_term_id"]) <= set(types)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"types": ["CL:0000084", "CL:9999999"]}, "source.types: 'CL:9999999' is not a live term"),
        ({"types": {"root": "CL:9999999", "leaves": 2}}, "source.types.root: 'CL:9999999' is not a live term"),
        ({"types": {"root": "CL:0000860", "leaves": 500}}, r"source.types.leaves: 500 are asked for, but .* has \d+ "),
        ({"types": ["CL:0000236", "CL:0000860"], "granularity": MIXED}, "source.granularity: no type .* is above"),
    ],
)
def test_what_cannot_be_drawn_is_refused(changes: Any, message: str, ontology: Ontology) -> None:
    with pytest.raises(DataError, match=message):
        simulate(**MANY | changes, ontology=ontology)


def test_the_atlas_is_as_sparse_and_heavy_tailed_as_real_cells(ontology: Ontology) -> None:
    # real: about 10.1 % of 19,331 genes in the cells of the Census; 50 genes hold 0.21 to 0.37 of the counts of blood
    # and lung
    counts = simulate(**world("atlas", cells=60), ontology=ontology).X
    assert counts.shape == (60, 19331)
    assert counts.nnz / 60 == pytest.approx(1950, rel=0.08)
    share = np.sort(np.asarray(counts.sum(axis=0)).ravel())[::-1] / counts.sum()
    assert 0.2 < share[:50].sum() < 0.4


def test_the_simulated_releases_are_of_one_world() -> None:
    parts = {part: world(part) for part in ("mixed_may", "mixed_december", "leaves_may", "leaves_december")}
    differ = {key for key in parts["mixed_may"] if len({str(one[key]) for one in parts.values()}) > 1}
    assert differ == {"cells", "studies", "first_study", "granularity"}
    for age in ("may", "december"):
        mixed, leaves = parts[f"mixed_{age}"], parts[f"leaves_{age}"]
        assert {key for key in mixed if mixed[key] != leaves[key]} == {"granularity"}
    may = parts["mixed_may"]
    assert may["first_study"] + may["studies"] == parts["mixed_december"]["first_study"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"granularity": "leafs"}, "granularity: 'leafs' does not match"),
        ({"granularity": {"coarse_studies": 0.5}}, "key 'coarse_branches' is missing"),
        ({"types": {"root": "CL:0000738", "leafs": 4}}, "unknown key 'leafs'"),
    ],
)
def test_the_schema_knows_the_parameters(changes: Any, message: str, tmp_path: Path) -> None:
    import yaml

    dataset = load_yaml(ROOT / "config/datasets/simulated_mixed_may.yaml")
    dataset["source"] |= changes
    (tmp_path / "config/datasets").mkdir(parents=True)
    (tmp_path / "config/datasets/mine.yaml").write_text(yaml.safe_dump(dataset))
    with pytest.raises(ConfigError, match=message):
        load_dataset("mine", tmp_path, "test")
