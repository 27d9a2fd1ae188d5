"""What is promised: an unlabelled Xenium section is the query of a pair, and a change of its bundle is noticed."""

from pathlib import Path

import numpy as np
import pytest
import yaml

import xenium_bundle as bundle
from annobench.config.schema import load_yaml
from annobench.data.sources.simulate import simulate
from annobench.ontology import Ontology
from repo import Repo

TEXT = {"label": "d", "summary": "s", "citation": "c", "licence": "l"}


def section(repo: Repo, folder: Path, ontology: Ontology) -> Path:
    """A bundle with the genes of simulated_small and cells of its types, declared as the query `to_section`."""
    parameters = load_yaml(repo.folder / "config/datasets/simulated_small.yaml")["source"] | {"seed": 5}
    raw = simulate(**{key: value for key, value in parameters.items() if key != "kind"}, ontology=ontology)
    places = np.random.default_rng(0).uniform(0, 1000, (raw.n_obs, 2))
    made = bundle.content(raw, places, ids=list(raw.var["ensembl_id"]))
    path = bundle.write(folder / "bundle", made, "zarr.zip")
    for name, settings in (
        ("section", {"source": {"kind": "xenium", "path": str(path)}, "cells": {"label": None}}),
        ("to_section", {"pair": {"references": ["simulated_small"], "query": "section"}}),
    ):
        (repo.folder / "config" / "datasets" / f"{name}.yaml").write_text(yaml.safe_dump(TEXT | settings))
    return path


@pytest.mark.slow
def test_an_unlabelled_query_is_predicted_and_not_ranked(repo: Repo, tmp_path: Path, ontology: Ontology) -> None:
    path = section(repo, tmp_path, ontology)
    entries = [{"dataset": "to_section", "regime": "pair"}, {"dataset": "simulated_small", "regime": "holdout"}]
    repo.study("tiny", evaluations=entries, controls=["oracle", "majority"])
    repo.run()
    assert repo.table("failed") == []
    assert {row["dataset"] for row in repo.table("ranking")} == {"simulated_small", "all"}
    scores = [row for row in repo.table("scores") if row["dataset"] == "to_section"]
    assert {row["family"] for row in scores} == {"resources", "status"}  # nothing that needs a truth
    (fit,) = (repo.folder / "results" / "fits" / "to_section").glob("*/logistic_regression/seed1/predictions.parquet")
    assert fit.stat().st_size > 0
    assert repo.jobs() == {}
    (path / "morphology.ome.tif").write_bytes(b"a file that is not read")
    assert repo.jobs() == {}
    (path / "gene_panel.json").write_text((path / "gene_panel.json").read_text() + "\n")
    assert repo.jobs()["fetch_dataset"] == 1
    repo.study("tiny", evaluations=entries[:1])
    assert "Failed, skipped or missing fits: none" in repo.run()  # a study of nothing but that query ends well too
    assert repo.table("ranking") == []
