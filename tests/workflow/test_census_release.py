"""What is promised: releases are built, cells selected, fetched in chunks; what a change touches is done again."""

import json

import pandas as pd
import pytest
import yaml

from repo import Repo

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("census")]
CARD = "results/data/toy/card.json"


@pytest.fixture(scope="module")
def fetched(tmp_path_factory: pytest.TempPathFactory) -> Repo:
    """A clone in which what a newer release adds has been prepared."""
    repo = Repo(tmp_path_factory.mktemp("census"))
    config = repo.folder / "config"
    dataset = yaml.safe_load((config / "datasets" / "simulated_small.yaml").read_text())
    other = dataset | {"source": dataset["source"] | {"cells": 200, "seed": 8}, "label": "Others"}
    (config / "datasets" / "simulated_other.yaml").write_text(yaml.safe_dump(other))
    releases = {"2023-05-15": ["simulated_small"], "2023-12-15": ["simulated_small", "simulated_other"]}
    (config / "releases" / "toy.yaml").write_text(yaml.safe_dump({"label": "Toy", "releases": releases}))
    source = {"kind": "census", "release": "2023-12-15", "built": "toy", "new_since": "2023-05-15", "chunks": 2}
    source["filters"] = {"cell_type_ontology_term_id": {"file": "config/classes/toy.csv", "column": "label_id"}}
    (config / "classes" / "toy.csv").write_text("label_id\nCL:0000236\nCL:0000860\n")
    cells = {"label": "cell_type", "label_id": "cell_type_ontology_term_id", "study": "dataset_id"}
    cells |= {"donor": "tech_sample", "republished": "republished"}
    (config / "datasets" / "toy.yaml").write_text(
        yaml.safe_dump(other | {"source": source, "cells": cells, "unrelated": None, "families": {}})
    )
    repo.study("tiny", evaluations=[{"dataset": "toy", "regime": "holdout"}])
    repo.snakemake(CARD)
    return repo


def jobs(output: str) -> dict[str, int]:
    words = [line.split() for line in output.splitlines()]
    return {w[0]: int(w[1]) for w in words if len(w) == 2 and w[1].isdigit() and w[0] != "total"}


def test_the_cells_that_a_release_adds_are_prepared(fetched: Repo) -> None:
    data = fetched.folder / "results" / "data" / "toy"
    obs = pd.read_parquet(data / "obs.parquet")
    assert set(obs["label_id"]) == {"CL:0000236", "CL:0000860"}
    assert set(obs["study"]) == {"simulated_other_study1", "simulated_other_study2", "simulated_other_study3"}
    assert set(obs["republished"]) == {"false"}
    source = json.loads((data / "card.json").read_text())["source"]
    assert source["steps"][0]["release"] == "2023-12-15"
    assert source["steps"][0]["cells"] == len(obs)


def test_what_a_changed_table_touches_is_done_again(fetched: Repo) -> None:
    assert "Nothing to be done" in fetched.snakemake("--dry-run", CARD)
    table = fetched.folder / "config" / "classes" / "toy.csv"
    text = table.read_text()
    table.write_text(text + "CL:0000451\n")
    again = jobs(fetched.snakemake("--dry-run", CARD))
    assert again["select_census_cells"] == 1
    assert again["fetch_census_chunk"] == 2
    assert "build_release" not in again
