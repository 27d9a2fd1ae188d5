"""What is promised: metrics of perturbations are those of worked cases, of a second implementation and of others."""

import json
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist
from scipy.stats import pearsonr, spearmanr

from annobench.core.errors import DataError
from annobench.core.parquet import write_columns
from annobench.fit.expression import Expression, write_expression
from annobench.score.evidence import FitEvidence
from annobench.score.metrics import perturbation, perturbation_published
from annobench.score.perturbation import measures, published
from annobench.score.perturbation.compared import Compared, Condition, targets_of
from annobench.score.perturbation.reading import control_name
from annobench.score.registry import runnable
from annobench.score.score_tables import ScoredView, sums_columns
from annobench.score.statistics import Weights
from annobench.score.truths import read_truths
from helpers import run_record, toy_ontology

GOLDEN = json.loads((Path(__file__).parents[2] / "data" / "cell_eval.json").read_text())
NONE = np.array([], dtype=int)


def golden_cells(kind: int, n: int) -> Any:
    """Cells by a formula, so that no generator of random numbers is part of the comparison."""
    i, g = np.meshgrid(np.arange(n), np.arange(30), indexing="ij")
    moved = np.abs(np.cos(0.37 * g * (kind + 1))) * (0.5 + 0.3 * kind)
    return np.log1p(2 * np.abs(np.sin(1.7 * i + 0.9 * g)) + moved)


def golden() -> Compared:
    conditions = [
        Condition(
            f"G{k - 1}",
            golden_cells(k, 10 + k),
            0.4 * golden_cells(k, 8) + 0.6 * golden_cells(k % 4 + 1, 8),
            np.array([k - 1]),
        )
        for k in range(1, 5)
    ]
    return Compared(np.array([f"G{i}" for i in range(30)], dtype=object), golden_cells(0, 10), conditions)


def compared(truth: Any, predicted: Any, control: Any = None, seed: int = 0) -> Compared:
    """Conditions a, b, ... of (cells, genes) arrays."""
    control = np.random.default_rng(seed).random((12, np.shape(truth[0])[1])) if control is None else control
    conditions = [
        Condition("abcdefgh"[i], np.asarray(t, float), np.asarray(p, float), NONE)
        for i, (t, p) in enumerate(zip(truth, predicted, strict=True))
    ]
    return Compared(np.arange(control.shape[1]).astype(object), control, conditions)


def test_numbers_of_cell_eval() -> None:
    """Made with cell-eval 0.8.2, as the file says."""
    one = golden()
    values = perturbation.values(one)
    assert values["pearson_delta"] == pytest.approx(list(GOLDEN["pearson_delta"].values()), abs=1e-9)
    assert values["mse_expression"] == pytest.approx(list(GOLDEN["mse"].values()), abs=1e-9)
    # its ranks are divided by the number of conditions, and it leaves out the gene of one condition only
    ours = measures.discrimination(*one.effects, [condition.targets for condition in one])
    n = len(one.conditions)
    assert 1 - (1 - ours) * (n - 1) / n == pytest.approx(list(GOLDEN["discrimination_score_l1"].values()))


def test_numbers_of_the_installed_cell_eval() -> None:
    theirs = pytest.importorskip("cell_eval.metrics._anndata")
    pair = pytest.importorskip("cell_eval._types").PerturbationAnndataPair
    one = golden()

    def cells(parts: list[Any]) -> ad.AnnData:
        names = np.repeat(["ctrl", *one.names], [len(part) for part in parts])
        obs = pd.DataFrame({"c": names}, index=[str(i) for i in range(len(names))])
        return ad.AnnData(np.vstack(parts), obs=obs, var=pd.DataFrame(index=one.genes.astype(str)))

    both = (cells([one.control, *([c.truth for c in one])]), cells([one.control, *([c.predicted for c in one])]))
    found = theirs.pearson_delta(pair(*both, "c", "ctrl"))
    assert perturbation.values(one)["pearson_delta"] == pytest.approx(list(found.values()))


def test_a_worked_case() -> None:
    """Two genes rise and one falls; the prediction has one right, one too weak, and one the wrong way."""
    control = np.array([[1.0, 1, 1, 1], [3, 3, 3, 3]])  # mean 2, standard deviation 1
    truth = control + np.array([2, 1, -1, 0])
    predicted = np.array([[4.0, 2.5, 2.5, 2.0]])
    values = perturbation.values(compared([truth], [predicted], control))
    assert values["mse_expression"][0] == pytest.approx((0 + 0.25 + 2.25 + 0) / 4)
    assert values["pearson_delta"][0] == pytest.approx(pearsonr([2, 1, -1, 0], [2, 0.5, 0.5, 0])[0])
    assert values["spearman_difference"][0] == pytest.approx(spearmanr([2, 1, -1, 0], [2, 0.5, 0.5, 0])[0])
    assert values["direction_top20"][0] == pytest.approx(2 / 3)  # the gene that does not move has no direction
    assert values["jaccard_top20"][0] == pytest.approx(2 / 4)  # up 0, up 1 of up 0, up 1, down 2 and up 2
    assert np.isnan(values["discrimination"][0])  # there is nothing to tell it from


def test_top_genes_are_those_with_the_strongest_effect_up_or_down() -> None:
    strength = np.array([0.5, -3.0, 2.0, 0.0, -0.5])
    assert measures.top_genes(strength, 2).tolist() == [1, 2]
    assert measures.top_genes(strength, 2, signed=True).tolist() == [2, 0]
    assert measures.top_genes(strength, 9).tolist() == [1, 2, 0, 4, 3]
    assert measures.directed(strength, 9) == {-2, 2, 0, -5}


def test_what_is_not_defined_is_stated() -> None:
    flat, moving = np.zeros(5), np.arange(5.0)
    assert np.isnan(measures.pearson(flat, moving))
    assert np.isnan(measures.spearman(flat, moving))
    assert measures.pearson(moving, flat) == measures.spearman(moving, flat) == 0
    assert measures.jaccard(set(), set()) == 1
    assert np.isnan(measures.right_direction(flat, moving))
    assert np.isnan(measures.mean_squared_error(np.array([]), np.array([])))
    assert measures.standardised(np.array([1.0, 2.0]), np.array([0.0, 3.0]), np.array([0.0, 5.0])).tolist() == [0, 1]


def test_a_condition_without_any_effect_is_left_out_of_means_and_counted() -> None:
    rng = np.random.default_rng(1)
    control = rng.random((6, 4))
    truth = [rng.random((5, 4)) + np.array([1, 0, 2, 0]), control]
    found = list(perturbation.rows(compared(truth, truth, control)))
    overall = {row.metric: row for row in found if row.level == "overall"}
    assert (overall["pearson_delta"].value, overall["pearson_delta"].n) == (1, 5)
    assert (overall["mse_expression"].value, overall["mse_expression"].n) == (0, 11)
    assert overall["flat_predictions"].value == 0.5
    assert {row.group for row in found if (row.metric, row.level) == ("pearson_delta", "condition")} == {"a"}


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 7), st.integers(1, 7))
def test_energy_distance_is_that_of_all_pairs(seed: int, n: int, m: int) -> None:
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(n, 3)), rng.normal(1, 1, (m, 3))
    expected = 2 * cdist(x, y).mean() - cdist(x, x).mean() - cdist(y, y).mean()
    assert measures.energy_distance(x, y) == pytest.approx(expected, abs=1e-6)
    assert measures.energy_distance(x, x) == pytest.approx(0, abs=1e-6)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 7))
def test_what_knows_nothing_of_the_condition_is_at_chance(seed: int, n: int) -> None:
    """One prediction for all conditions: whatever it is, their mean rank is the middle one."""
    rng = np.random.default_rng(seed)
    truth = rng.normal(size=(n, 6))
    same = np.tile(rng.normal(size=6), (n, 1))
    left_out = [np.array([1, 4])] * n
    assert measures.discrimination(truth, same, left_out).mean() == pytest.approx(0.5)
    assert (measures.discrimination(truth, truth, left_out) == 1).all()


def test_perturbed_genes_give_no_condition_away() -> None:
    truth = np.array([[5.0, 0, 1], [0, 5, 1]])
    found = measures.discrimination(truth, truth, [np.array([0, 1])] * 2)
    assert found.tolist() == [0.5, 0.5]


def test_genes_of_a_condition() -> None:
    symbols = {"KLF1": 3, "GATA1": 7, "ctrl": 9}
    assert targets_of("KLF1+ctrl", "+", ["ctrl"], symbols).tolist() == [3]
    assert targets_of("GATA1+KLF1", "+", [], symbols).tolist() == [7, 3]
    assert targets_of("other", "+", [], symbols).tolist() == []


# as cz-benchmarks computes


def test_wilcoxon_scores_are_those_of_scanpy() -> None:
    scanpy = pytest.importorskip("scanpy")
    rng = np.random.default_rng(3)
    control, cells = (rng.poisson(rate, (n, 12)).astype(float) for rate, n in ((1.0, 30), (1.4, 17)))
    names = ["control"] * 30 + ["one"] * 17
    obs = pd.DataFrame({"g": pd.Categorical(names)}, index=[str(i) for i in range(47)])
    data = ad.AnnData(np.log1p(np.vstack([control, cells])), obs=obs)
    scanpy.tl.rank_genes_groups(data, "g", groups=["one"], reference="control", method="wilcoxon", rankby_abs=False)
    table = scanpy.get.rank_genes_groups_df(data, "one").set_index("names")
    order = [str(i) for i in range(12)]
    scores = published.Wilcoxon(np.log1p(control)).scores(np.log1p(cells))
    assert scores == pytest.approx(table.loc[order, "scores"], abs=1e-4)
    assert published.adjusted(scores) == pytest.approx(table.loc[order, "pvals_adj"], rel=1e-4)
    change = published.log2_fold_changes(np.log1p(cells), np.log1p(control))
    assert change == pytest.approx(table.loc[order, "logfoldchanges"], abs=1e-4)


def test_only_genes_that_rise_count_in_the_published_sets() -> None:
    """A gene that falls by far the most is in our top genes, and not in theirs."""
    rng = np.random.default_rng(2)
    control = rng.normal(5, 1, (40, 130))
    truth = rng.normal(5, 1, (40, 130))
    truth[:, 0] -= 4
    risen = published.risen(published.Wilcoxon(control).scores(truth), 20)
    one = compared([truth], [truth], control)
    assert 0 not in risen
    assert measures.top_genes(one.strengths[0][0], 20)[0] == 0


def test_the_published_spearman_is_over_half_of_the_significant_genes_from_one_stream() -> None:
    p = np.where(np.arange(40) < 30, 1e-5, 1e-3)
    change = np.where(np.arange(40) % 2 == 0, 2.0, -1.0)
    weak = np.where(np.arange(40) < 8, 1.0, 0.5)
    rng = np.random.RandomState(42)
    expected = [rng.choice(30, 15, replace=False), rng.choice(8, 4, replace=False), rng.choice(30, 15, replace=False)]
    found = published.sampled_genes([(p, change), (p, weak), (p, change)])
    assert found[0] is not None
    assert found[2] is not None
    assert found[0].tolist() == expected[0].tolist()
    assert found[1] is None  # fewer than five are left
    assert found[2].tolist() == expected[2].tolist()  # though they were drawn
    assert published.sampled_genes([(np.ones(3), np.ones(3))]) == [None]


def test_published_ratios_fall_back_and_undefined_correlations_are_zero() -> None:
    mean, control = np.array([1.0, 2.0, 4.0]), np.array([2.0, 2.0, 2.0])
    assert published.predicted_changes(mean, control, "ratio") == pytest.approx(np.log([0.5, 1, 2]), abs=1e-7)
    assert published.predicted_changes(mean, control, "difference").tolist() == [-1, 0, 2]
    none = np.array([0.0, 2.0, 4.0])
    assert published.predicted_changes(none, control, "ratio").tolist() == [-2, 0, 2]
    assert published.correlation(np.array([1.0, 2, 3]), np.zeros(3)) == 0
    assert published.correlation(np.array([1.0, 2, 3, 3]), np.array([3.0, 1, 1, 0])) == pytest.approx(
        spearmanr([1, 2, 3, 3], [3, 1, 1, 0])[0]
    )


def test_the_true_cells_score_nearly_one_as_published() -> None:
    rng = np.random.default_rng(0)
    control = np.log1p(rng.poisson(3, (80, 60)).astype(float))
    rate = np.where(np.arange(60) < 30, np.geomspace(0.2, 20, 60), 3)
    truth = np.log1p(rng.poisson(rate, (60, 60)).astype(float))
    values = perturbation_published.values(compared([truth], [truth], control))
    assert values["published_spearman_ratio"][0] > 0.95
    assert values["published_jaccard_top20"][0] == 1


def test_paired_control_cells_are_what_published_changes_start_from() -> None:
    rng = np.random.default_rng(0)
    control = np.log1p(rng.poisson(3, (80, 60)).astype(float))
    truth = np.log1p(rng.poisson(np.where(np.arange(60) < 30, 20, 3), (60, 60)).astype(float))
    one = compared([truth], [rng.random((5, 60)) + 1], control)
    paired = Condition("a", truth, one.conditions[0].predicted, NONE, control[:5] * np.linspace(0.2, 2, 60))
    other = Compared(one.genes, control, [paired])
    metric = "published_spearman_difference"
    assert perturbation_published.values(one)[metric] != perturbation_published.values(other)[metric]


# what a fit left


@pytest.fixture
def fit(tmp_path: Path) -> Path:
    """Cells of three conditions and a control, two conditions tested, and a fit of them."""
    rng = np.random.default_rng(0)
    conditions = np.repeat(np.array(["none", "G0", "G1", "G2"], dtype=object), 6)
    ids = np.array([f"c{i}" for i in range(24)], dtype=object)
    counts = rng.poisson(5, (24, 8)).astype(np.float32)
    obs = pd.DataFrame({"condition": conditions, "label_id": "A"}, index=ids)
    var = pd.DataFrame(
        {"feature_id": "", "feature_name": [f"G{i}" for i in range(8)]}, index=[f"E{i}" for i in range(8)]
    )
    cells = ad.AnnData(counts, obs=obs, var=var)
    cells.uns["annobench"] = {"matrix": "counts", "control": "none", "separator": "+", "no_gene": []}
    cells.write_h5ad(tmp_path / "cells.h5ad")
    text = np.full(24, "s", dtype=object)
    columns = {"cell_id": ids, "label_id": np.full(24, "A", dtype=object), "study": text, "donor": text}
    write_columns(tmp_path / "obs.parquet", columns | {"condition": conditions})
    role = np.where(np.isin(conditions, ["G1", "G2"]), "test", "train").astype(object)
    write_columns(tmp_path / "roles.parquet", {"cell_id": ids, "role": role})
    trained = role == "train"
    write_columns(tmp_path / "train.parquet", {"cell_id": ids[trained], "label_id": columns["label_id"][trained]})
    test = np.flatnonzero(role == "test")[::-1]  # a method may answer in any order
    given = Expression(ids[test], conditions[test], counts[test][:, ::-1])
    write_expression(tmp_path / "expression.h5ad", given, list(ids[test]), var.iloc[::-1], "counts")
    run_record(tmp_path / "run.json", outputs=("expression",))
    return tmp_path


def evidence(folder: Path, cells: bool = True) -> FitEvidence:
    from annobench.fit.run_record import RunRecord

    files = (folder / "obs.parquet", folder / "roles.parquet", folder / "train.parquet")
    truths = read_truths(*files, toy_ontology())
    run = RunRecord.read(folder / "run.json")
    where = folder / "cells.h5ad" if cells else None
    return FitEvidence(folder, run, truths, toy_ontology(), bins=5, min_units=2, obs=files[0], cells=where)


def test_a_perfect_prediction_is_found_so_whatever_the_order_of_cells_and_genes(fit: Path) -> None:
    found = evidence(fit)
    assert control_name(fit / "cells.h5ad") == "none"
    assert found.perturbations.names == ["G1", "G2"]
    assert [one.targets.tolist() for one in found.perturbations] == [[6], [5]]  # genes come as they are predicted
    overall = {row.metric: row.value for row in perturbation.compute(found) if row.level == "overall"}
    assert overall["mse_expression"] == pytest.approx(0, abs=1e-9)
    assert overall["pearson_delta"] == pytest.approx(1)
    assert overall["discrimination"] == 1
    assert overall["energy_distance"] == pytest.approx(0, abs=1e-6)


def test_families_run_where_the_dataset_declares_perturbations(fit: Path) -> None:
    names = {family.name for family in runnable(evidence(fit))}
    assert {"perturbation", "perturbation_published"} <= names
    assert not {"perturbation", "perturbation_published"} & {f.name for f in runnable(evidence(fit, cells=False))}


def test_intervals_resample_conditions(fit: Path) -> None:
    found = evidence(fit)
    columns = sums_columns(ScoredView("d", "s", "m", 1), found, [perturbation.FAMILY])
    table = pd.DataFrame({name: getattr(values, "to_text", lambda v=values: v)() for name, values in columns.items()})
    assert set(table["unit_kind"]) == {"condition"}
    assert set(table["unit"]) == {"G1", "G2"}
    mine = table[(table["metric"] == "discrimination")].pivot(index="unit", columns="part", values="value")
    metric = next(one for one in perturbation.FAMILY.metrics if one.name == "discrimination")
    assert metric.from_sums is not None
    drawn = Weights(50).of(["unit:d/G1", "unit:d/G2"])
    assert metric.from_sums({part: drawn @ mine[part].to_numpy() for part in mine}) == pytest.approx(np.ones(50))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("cells", "6 test cells are not predicted"),
        ("condition", "'c12' is predicted for 'G2', but its condition is 'G1'; 6 of 12 cells are"),
        ("genes", "1 of 8 genes that are predicted are not in the data .such as X0"),
        ("control", "no cell has the condition 'nobody', from which effects are measured"),
    ],
)
def test_predictions_of_other_cells_conditions_or_genes_are_refused(fit: Path, change: str, message: str) -> None:
    given = ad.read_h5ad(fit / "expression.h5ad")
    given.obs["condition"] = given.obs["condition"].astype(str)
    if change == "cells":
        given = given[given.obs["condition"] == "G2"].copy()
    if change == "condition":
        given.obs["condition"] = "G2"
    if change == "genes":
        given.var_names = ["X0", *given.var_names[1:]]
    if change == "control":
        cells = ad.read_h5ad(fit / "cells.h5ad")
        cells.uns["annobench"]["control"] = "nobody"
        cells.write_h5ad(fit / "cells.h5ad")
    given.write_h5ad(fit / "expression.h5ad")
    with pytest.raises(DataError, match=message):
        _ = evidence(fit).perturbations
