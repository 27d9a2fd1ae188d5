"""What is promised: one fit is scored on two releases and by several decodings; a hierarchical loss helps where it can.

Simulated studies, of which half name some branches by their common class: a network trained with cross-entropy learns
to name what it should tell apart, one trained with hierarchical cross-entropy does not. Where all studies name leaves
both losses are the same, up to epsilon.
"""

import pandas as pd
import pytest

from repo import Repo

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("released")]
METHODS = ["linear_ce", "linear_hce", "linear_ce.leaf", "linear_hce.leaf", "mlp_ce", "mlp_hce"]


@pytest.fixture(scope="module")
def released(tmp_path_factory: pytest.TempPathFactory) -> Repo:
    repo = Repo(tmp_path_factory.mktemp("released"))
    entry = {"regime": "release", "split_seed": 1, "name": "release"}
    repo.study(
        "released",
        seeds=[0, 1, 2, 3],
        methods=METHODS,
        evaluations=[entry | {"dataset": f"simulated_{name}"} for name in ("mixed", "leaves")],
        contrasts=[
            {"name": "linear", "base": "linear_ce", "method": "linear_hce"},
            {"name": "mlp", "base": "mlp_ce", "method": "mlp_hce"},
            {"name": "decoded", "base": "linear_ce.leaf", "method": "linear_hce.leaf"},
        ],
        scoring={"primary": "ontology_macro_f1", "markers": None},
        statistics={"replicates": 1000},
        keep={"model": False, "decisions": False},
        figures=["ranking", "release_scores", "loss_contrast", "class_graph", "decoders"],
    )
    repo.run("released")
    return repo


def contrast(repo: Repo, name: str, dataset: str) -> dict[str, float]:
    """Difference with its interval, out of distribution."""
    rows = pd.DataFrame(repo.table("contrasts", "released"))
    asked = {"contrast": name, "dataset": dataset, "level": "overall", "metric": "ontology_macro_f1"}
    found = rows[(rows[list(asked)] == pd.Series(asked)).all(axis=1) & rows["evaluation"].str.endswith("_ood")]
    found = found[found["label_set"] == "truth"]
    assert len(found) == 1
    return {key: float(found.iloc[0][key]) for key in ("difference", "low", "high", "n_runs")}


@pytest.mark.parametrize("network", ["linear", "mlp"])
def test_hierarchical_loss_wins_out_of_distribution_when_studies_label_at_different_granularity(
    released: Repo, network: str
) -> None:
    found = contrast(released, network, "simulated_mixed")
    assert found["n_runs"] == 4
    assert found["difference"] > 0.02
    assert found["low"] > 0


@pytest.mark.parametrize("network", ["linear", "mlp"])
def test_the_losses_are_equal_when_all_studies_label_leaves(released: Repo, network: str) -> None:
    found = contrast(released, network, "simulated_leaves")
    assert abs(found["difference"]) < 0.01
    assert found["low"] <= 0 <= found["high"]


def test_every_fit_is_trained_once_and_scored_as_all_its_views(released: Repo) -> None:
    runs = list((released.folder / "results" / "fits").glob("*/*/*/*/run.json"))
    assert {path.parts[-3] for path in runs} == {"linear_ce", "linear_hce", "mlp_ce", "mlp_hce", "majority"}
    assert {path.parts[-4] for path in runs} == {"release"}
    assert len(runs) == 2 * 5 * 4
    scores = pd.DataFrame(released.table("scores", "released"))
    assert set(scores["split"]) == {"release_id", "release_ood"}
    assert set(scores["method"]) == {*METHODS, "majority"}
    assert released.table("failed", "released") == []
    assert released.jobs("released") == {}


def test_figures_of_releases_are_drawn(released: Repo) -> None:
    folder = released.folder / "results" / "figures" / "released"
    for name in ("release_scores", "loss_contrast", "class_graph", "decoders"):
        assert (folder / f"{name}.png").stat().st_size > 10_000
        assert (folder / f"{name}.pdf").stat().st_size > 5_000
