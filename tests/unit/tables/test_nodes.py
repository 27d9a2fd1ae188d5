"""What is promised: nodes and edges are those of the ontology over the training classes, and cells are counted."""

import csv
from pathlib import Path

import numpy as np
import pytest

from annobench.core.parquet import write_columns
from annobench.data.ontology import from_json, from_obo
from annobench.tables.nodes import COLUMNS, edges, nodes
from annobench.tables.shared.classes import node_classes
from annobench.tables.shared.spec import ScoredSplit
from helpers import toy_ontology
from study_files import Context, split, study

RELEASES = {
    "2022-09-15": (from_obo, "cl-simple-v2022-09-15.obo"),
    "2024-01-04": (from_json, "CL-ontology-v2024-01-04.json.gz"),
}


@pytest.mark.parametrize("release", RELEASES)
def test_the_164_classes_of_hce(real_data: Path, release: str) -> None:
    folder = real_data / "hce"
    read, file = RELEASES[release]
    ontology = read(folder / file, release)
    with open(folder / "cell_types_164.csv", newline="") as handle:
        rows = {row["index"]: row for row in csv.DictReader(handle)}
    classes = [row["cl_id"] for row in rows.values()]
    found = node_classes(classes, ontology)
    names = {"internal": "internal", "connected_leaf": "leaf_connected", "isolated_leaf": "leaf_isolated"}
    assert found == {row["cl_id"]: names[row["node_class"]] for row in rows.values()}
    assert [list(found.values()).count(name) for name in names.values()] == [46, 78, 40]
    with open(folder / "dag_edges_reduced.csv", newline="") as handle:
        edges = [(rows[row["parent_index"]], rows[row["child_index"]]) for row in csv.DictReader(handle)]
    assert len(edges) == 124
    assert set(ontology.reduced_edges(classes)) == {(parent["cl_id"], child["cl_id"]) for parent, child in edges}


def test_an_unknown_label_is_not_a_node() -> None:
    assert node_classes(["A", "A2x", "A1", "unknown", "A1"], toy_ontology()) == {
        "A": "internal",
        "A1": "leaf_connected",
        "A2x": "leaf_connected",
    }
    assert node_classes(["A1", "B"], toy_ontology()) == {"A1": "leaf_isolated", "B": "leaf_isolated"}


def release(**more: object) -> list[ScoredSplit]:
    settings = {"regime": "release", "fitted": "release", "seeds": (1, 2)} | more
    return [split(f"release{end}", part=part, **settings) for end, part in (("_id", "reference"), ("_ood", "query"))]


def test_cells_of_a_node_are_counted_by_role(tmp_path: Path) -> None:
    labels = np.array(["A", "A", "A", "B", "A2x", "A", "A", "B", "GONE"], dtype=object)
    obs = {"label_id": labels, "study": list("ststsssst"), "donor": ["d1", "d2", "d2", "unknown", *"dddde"]}
    obs["tissue"] = ["lung"] * 9
    roles = ["train", "train", "train", "train", "train", "val", "test", "unused", "unused"]
    later = [*roles[:6], "unused", "test", "test"]
    for folder in ("data/d", "splits/d/release_id", "splits/d/release_ood", "train/d/release"):
        (tmp_path / folder).mkdir(parents=True)
    write_columns(tmp_path / "data/d/obs.parquet", obs)
    write_columns(tmp_path / "splits/d/release_id/seed2.parquet", {"role": roles})
    write_columns(tmp_path / "splits/d/release_ood/seed2.parquet", {"role": later})
    write_columns(tmp_path / "train/d/release/seed2.parquet", {"label_id": ["A", "A", "B", "A2x"]})
    context = Context(study(*release()), folder=tmp_path)
    table = nodes(context)
    assert tuple(table) == COLUMNS["nodes"]
    rows = table.set_index("label_id").to_dict("index")
    assert sorted(rows) == ["A", "A2x", "B"]
    assert rows["A"] == {
        **{"dataset": "d", "split": "release", "label": "a", "node_class": "internal"},
        **{"n_ancestors": 0, "n_descendants": 1, "train_cells": 2},  # a balanced selection
        **{"train_studies": 2, "train_donors": 2, "train_tissues": 1, "train_assays": 0},
        **{"id_cells": 1, "ood_cells": 0},
    }
    assert (rows["B"]["train_donors"], rows["B"]["ood_cells"]) == (0, 1)
    assert (rows["A2x"]["node_class"], rows["A2x"]["n_ancestors"]) == ("leaf_connected", 2)
    assert edges(context).to_numpy().tolist() == [["d", "release", "A", "A2x"], ["d", "release", "B", "A2x"]]


def test_without_a_release_or_its_files_there_are_columns_and_no_rows() -> None:
    for splits in ([], release(dataset="nowhere"), release(regime="pair")):
        context = Context(study(*splits))
        assert (tuple(nodes(context)), len(nodes(context))) == (COLUMNS["nodes"], 0)
        assert (tuple(edges(context)), len(edges(context))) == (COLUMNS["edges"], 0)
