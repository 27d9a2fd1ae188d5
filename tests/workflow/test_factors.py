"""What is promised: the factors of the spatial study run on any data, from configuration to effects and audit."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from annobench.config.schema import load_yaml
from annobench.data.sources.simulate import simulate
from annobench.ontology import Ontology
from repo import Repo

pytestmark = pytest.mark.xdist_group("factors")
TEXT = {"label": "d", "summary": "s", "citation": "c", "licence": "l"}
LYMPHOCYTE, MYELOID = "CL:0000542", "CL:0000738"


def declare(repo: Repo, folder: Path, ontology: Ontology) -> None:
    """A query with 150 of the genes and coordinates, a pair with it, a panel of 60 genes, and two roll-ups."""
    settings = load_yaml(repo.folder / "config/datasets/simulated_small.yaml")["source"] | {"cells": 240}
    raw = simulate(**{key: value for key, value in settings.items() if key != "kind"}, ontology=ontology)
    query = raw[:, :150].copy()
    query.obsm["spatial"] = np.random.default_rng(0).uniform(0, 1000, (raw.n_obs, 2))
    query.write_h5ad(folder / "section.h5ad")
    cells = {"label": "cell_type", "label_id": "cell_type_ontology_term_id", "donor": "donor_id"}
    pair = {"references": ["simulated_small"], "query": "section", "genes": "reference", "values": "log1p_cp10k"}
    for name, block in (
        ("section", {"source": {"kind": "local", "path": str(folder / "section.h5ad")}, "cells": cells}),
        ("to_section", {"pair": pair, "unrelated": "simulated_unrelated"}),
    ):
        (repo.folder / "config" / "datasets" / f"{name}.yaml").write_text(yaml.safe_dump(TEXT | block))
    panel = pd.DataFrame({"gene": raw.var_names[:60], "id": raw.var["ensembl_id"].iloc[:60]})
    panel.to_csv(folder / "panel.csv", index=False)
    block = {"label": "p", "citation": "c", "licence": "l", "columns": {"id": "id"}}
    block["source"] = {"kind": "local", "path": str(folder / "panel.csv")}
    (repo.folder / "config" / "panels" / "small.yaml").write_text(yaml.safe_dump(block))
    other = block | {"columns": {"name": "gene"}, "source": {"kind": "local", "path": str(folder / "other.csv")}}
    (folder / "other.csv").write_text("gene\nNOT_A_GENE\n")
    (repo.folder / "config" / "panels" / "elsewhere.yaml").write_text(yaml.safe_dump(other))
    rollup = {"label": "r", "targets": {LYMPHOCYTE: [LYMPHOCYTE], MYELOID: [MYELOID]}}
    (repo.folder / "config" / "rollups" / "two.yaml").write_text(yaml.safe_dump(rollup))


@pytest.fixture(scope="module")
def factorial(tmp_path_factory: pytest.TempPathFactory, ontology: Ontology) -> Repo:
    folder = tmp_path_factory.mktemp("factors")
    repo = Repo(folder)
    declare(repo, folder, ontology)
    base = {"dataset": "to_section", "regime": "pair"}
    cap = {"policy": "cap", "max_cells": 20}
    entries = [
        base | {"name": "panel_none"},
        base | {"name": "panel_cap", "balance": cap},
        base | {"name": "all_none", "genes": {"training": "all"}},
        base | {"name": "all_cap", "balance": cap, "genes": {"training": "all"}},
        base | {"name": "small", "genes": {"panel": "small"}, "rollup": "two"},
        base | {"name": "elsewhere", "genes": {"panel": "elsewhere"}, "methods": ["nearest_centroid"]},
    ]
    repo.study("factors", evaluations=entries, scoring={"merge": "t_cells"}, figures=["ranking"])
    repo.run("factors")
    return repo


def table(repo: Repo, name: str) -> pd.DataFrame:
    return pd.read_csv(
        repo.folder / "results" / "tables" / "factors" / f"{name}.csv", keep_default_na=False, na_values=[""]
    )


def test_every_factor_has_its_effect(factorial: Repo) -> None:
    factors = table(factorial, "factors")
    assert set(factors["training"]) == {"panel", "all"}
    assert set(factors["balance"]) == {"none", "proportional 20"}
    assert set(factors["merging"]) == {"none", "merged"}
    effects = table(factorial, "effects")
    assert {"training", "balance", "merging", "confidence rule"} == set(effects["factor"])
    assert (effects["low"] <= effects["difference"]).all()
    assert (effects["difference"] <= effects["high"]).all()
    # an effect is the mean of the differences that the factorial table shows
    plain = factors[(factors["merging"] == "none") & (factors["metric"] == "macro_f1") & (factors["panel"] == "-")]
    wide = plain.pivot_table(index=["balance", "method"], columns="training", values="value")
    one = effects[(effects["factor"] == "training") & (effects["method"] == "all") & (effects["metric"] == "macro_f1")]
    assert one["difference"].iloc[0] == pytest.approx((wide["panel"] - wide["all"]).mean(), abs=1e-5)


def test_a_panel_that_shares_nothing_is_a_recorded_skip_with_the_overlap(factorial: Repo) -> None:
    failed = table(factorial, "failed")
    assert set(failed["status"]) == {"skipped"}
    assert set(failed["split"]) == {"elsewhere"}
    assert failed["reason"].str.contains("0 of its 1 genes are among the 300 of the dataset").all()


def test_rolled_up_labels_are_scored(factorial: Repo) -> None:
    confusion = table(factorial, "confusion")
    assert set(confusion[confusion["evaluation"] == "small"]["true"]) == {LYMPHOCYTE, MYELOID}
    assert len(set(confusion[confusion["evaluation"] == "panel_none"]["true"])) > 4


def test_the_genes_of_a_fit_are_those_of_its_switches(factorial: Repo) -> None:
    import json

    fits = factorial.folder / "results" / "fits" / "to_section"
    genes = {
        split: json.loads((fits / split / "logistic_regression" / "seed1" / "run.json").read_text())["genes"]
        for split in ("panel_none", "all_none", "small")
    }
    assert genes["panel_none"] == {"train": 150, "test": 150}
    assert genes["all_none"] == {"train": 300, "test": 150}
    assert genes["small"] == {"train": 60, "test": 60}


def test_the_audit_stands_beside_the_numbers(factorial: Repo) -> None:
    audit = table(factorial, "audit")
    f1 = audit[(audit["metric"] == "macro_f1") & (audit["variant"] == "truth")]
    assert set(f1["verdict"]) == {"informative"}
    overlap = audit[audit["metric"] == "gene_overlap"]
    assert set(overlap["verdict"]) == {"not evidence"}  # whoever trains on the panel has all of it
    for name in ("summary", "ranking", "tests"):
        assert set(table(factorial, name)["verdict"].dropna()) <= {"informative", "not evidence"}
    scores = table(factorial, "scores")
    assert set(scores.loc[scores["metric"] == "fit_seconds", "verdict"]) == {"cost"}
    page = (factorial.folder / "results" / "report" / "factors" / "index.html").read_text()
    assert "which metric is evidence" in page


def test_unknown_cells_stand_beside_what_is_accepted(factorial: Repo) -> None:
    rules = table(factorial, "rules")
    here = rules[(rules["evaluation"] == "panel_none") & (rules["method"] == "logistic_regression")]
    for rule in ("raw", "softmax", "zscore", "calibrated"):
        metrics = set(here.loc[(here["rule"] == rule) & (here["variant"] == "fair"), "metric"])
        assert metrics == {"unknown_rate", "accepted_noise", "accepted_shuffled", "accepted_unrelated_tissue"}


def test_nothing_is_left_to_do_and_a_merged_study_refits_nothing(factorial: Repo) -> None:
    assert factorial.jobs("factors") == {}
    factorial.edit("config/rollups/t_cells.yaml", "others: keep", "others: unknown")
    again = factorial.jobs("factors")
    factorial.edit("config/rollups/t_cells.yaml", "others: unknown", "others: keep")
    assert "fit_method" not in again
    assert again["audit_evaluation"] == 6
