"""What is promised: unrelated cells have the depth, genes and scale of the query, and are of no trained type."""

from pathlib import Path

import anndata as ad
import numpy as np
import pytest
from scipy.sparse import csr_matrix

from annobench.cells.expression import log_normalised
from annobench.cells.panel import MEASURED, restricted
from annobench.fit.decisions import KINDS
from annobench.fit.decisions import UNRELATED as CELLS
from annobench.fit.unrelated_cells import simulated_doublets, unrelated_cells
from annobench.ontology import Ontology
from helpers import cells

BLOOD = ["CL:0000084", "CL:0000236"]  # T cell, B cell
LUNG = ["CL:0000066", "CL:0000057", "CL:0000624"]  # epithelial cell, fibroblast, CD4 T cell


@pytest.fixture
def query(ontology: Ontology) -> ad.AnnData:
    return cells(ontology, types=BLOOD, cells=120, genes=60, seed=2, depth=300)


@pytest.fixture
def other(ontology: Ontology, tmp_path: Path) -> Path:
    """Cells of another tissue, deeper than the query; a third of them are T cells."""
    path = tmp_path / "other.h5ad"
    cells(ontology, types=LUNG, cells=150, genes=60, seed=3, depth=3000).write_h5ad(path)
    return path


def totals(data: ad.AnnData) -> np.ndarray:
    return np.asarray(data.X.sum(axis=1)).ravel()


def marked(path: Path, ontology: Ontology) -> ad.AnnData:
    """The other tissue, each type with counts in a gene of its own, so that it can be told where a cell is from."""
    data = ad.read_h5ad(path)
    matrix = data.X.toarray()
    matrix[:, :3] = 0
    for i, label in enumerate(LUNG):
        matrix[(data.obs["label_id"] == label).to_numpy(), i] = 500
    data.X = csr_matrix(matrix)
    data.write_h5ad(path)
    return data


def test_every_kind_has_the_genes_state_and_columns_of_the_query(
    query: ad.AnnData, other: Path, ontology: Ontology
) -> None:
    found = unrelated_cells(query, other, BLOOD, ontology, 1)
    assert set(found) == set(KINDS)
    for kind, data in found.items():
        assert list(data.var_names) == list(query.var_names)
        assert list(data.obs.columns) == list(query.obs.columns)
        assert data.uns["annobench"] == query.uns["annobench"]
        assert data.X.dtype == np.float32
        assert (data.X.data == data.X.data.round()).all()
        assert data.X.data.min() > 0
        assert data.obs_names.is_unique
        assert not set(data.obs_names) & set(query.obs_names), kind
        assert set(data.obs.to_numpy().ravel()) == {"unknown"}


def test_depths_are_those_of_query_cells(query: ad.AnnData, other: Path, ontology: Ontology) -> None:
    found = unrelated_cells(query, other, BLOOD, ontology, 1)
    assert totals(ad.read_h5ad(other)).min() > totals(query).max()
    for kind, data in found.items():
        assert set(totals(data)) <= set(totals(query)), kind
        assert len(set(totals(data))) > 30, kind  # not of one cell
    assert found["noise"].n_obs == found["shuffled"].n_obs == CELLS


def test_a_cell_that_is_too_empty_is_no_model_for_depth(query: ad.AnnData, ontology: Ontology) -> None:
    matrix = query.X.toarray()
    matrix[:100] = 0
    matrix[:100, 5] = 9
    query.X = csr_matrix(matrix)
    for data in unrelated_cells(query, None, BLOOD, ontology, 1).values():
        assert totals(data).min() >= 10


def test_noise_is_an_average_cell(query: ad.AnnData, ontology: Ontology) -> None:
    noise = unrelated_cells(query, None, BLOOD, ontology, 1)["noise"]
    mean = np.asarray(query.X.sum(axis=0)).ravel() / query.X.sum()
    drawn = np.asarray(noise.X.sum(axis=0)).ravel() / noise.X.sum()
    error = np.sqrt(mean * (1 - mean) / noise.X.sum())
    assert (np.abs(drawn - mean) <= 5 * error + 1e-12).all()
    # and of no type: cells differ from each other as draws do, not as types do
    values = noise.X.toarray()
    expected = totals(noise)[:, None] * mean
    chi2 = ((values - expected) ** 2 / np.maximum(expected, 1e-9))[:, mean > 0].sum() / (CELLS * (mean > 0).sum())
    assert chi2 == pytest.approx(1, abs=0.15)


def test_shuffled_cells_keep_their_values_but_not_their_genes(query: ad.AnnData, ontology: Ontology) -> None:
    shuffled = unrelated_cells(query, None, BLOOD, ontology, 1)["shuffled"].X.toarray()
    profiles = {tuple(np.sort(row)) for row in query.X.toarray()}
    assert all(tuple(np.sort(row)) in profiles for row in shuffled)
    of_query = np.asarray(query.X.mean(axis=0)).ravel()
    # a gene is as high as any other
    assert abs(np.corrcoef(of_query, shuffled.mean(axis=0))[0, 1]) < 0.5
    assert shuffled.mean(axis=0).std() < of_query.std() / 3


def test_noise_in_many_genes_of_which_the_last_is_silent(ontology: Ontology) -> None:
    """Shares of genes in single precision would add up to more than one, which numpy refuses."""
    for seed in range(5):
        data = cells(ontology, types=BLOOD, cells=30, genes=3000, seed=seed, depth=5000)
        matrix = data.X.toarray()
        matrix[:, -1] = 0
        data.X = csr_matrix(matrix)
        assert unrelated_cells(data, None, BLOOD, ontology, seed)["noise"].n_obs == CELLS


@pytest.mark.parametrize(
    ("classes", "left"),
    [
        (BLOOD, [0, 1]),  # CD4 T cells lie below T cells
        (["CL:0000624"], [0, 1]),  # the type itself
        (["CL:0000236"], [0, 1, 2]),
        (["CL:0000236", "CL:0000066"], [1, 2]),
    ],
)
def test_cells_of_a_type_that_was_trained_are_left_out(
    query: ad.AnnData, other: Path, ontology: Ontology, classes: list[str], left: list[int]
) -> None:
    marked(other, ontology)
    found = unrelated_cells(query, other, classes, ontology, 1)["unrelated_tissue"].X.toarray()
    assert [i for i in range(3) if found[:, i].any()] == left


def test_cells_without_a_known_type_are_left_out(query: ad.AnnData, other: Path, ontology: Ontology) -> None:
    data = marked(other, ontology)
    data.obs["label_id"] = np.where(data.obs["label_id"] == LUNG[0], "unknown", data.obs["label_id"].astype(str))
    data.write_h5ad(other)
    found = unrelated_cells(query, other, BLOOD, ontology, 1)["unrelated_tissue"].X.toarray()
    assert [i for i in range(3) if found[:, i].any()] == [1]


def test_where_every_type_is_known_there_is_no_unrelated_tissue(
    query: ad.AnnData, other: Path, ontology: Ontology
) -> None:
    found = unrelated_cells(query, other, ["CL:0000000"], ontology, 1)
    assert set(found) == {"noise", "shuffled"}


def test_genes_are_matched_by_identity_not_by_place(query: ad.AnnData, other: Path, ontology: Ontology) -> None:
    data = marked(other, ontology)
    data[:, ::-1].copy().write_h5ad(other)
    found = unrelated_cells(query, other, BLOOD, ontology, 1)["unrelated_tissue"].X.toarray()
    assert found[:, 0].any()
    assert found[:, 1].any()
    assert not found[:, 2].any()


def test_genes_that_the_other_lacks_are_zero(query: ad.AnnData, other: Path, ontology: Ontology) -> None:
    data = ad.read_h5ad(other)
    data[:, 10:].copy().write_h5ad(other)
    found = unrelated_cells(query, other, BLOOD, ontology, 1)["unrelated_tissue"].X.toarray()
    assert not found[:, :10].any()
    assert found[:, 10:].any()


def test_no_shared_genes_and_no_other_dataset(query: ad.AnnData, other: Path, ontology: Ontology) -> None:
    assert set(unrelated_cells(query, None, BLOOD, ontology, 1)) == {"noise", "shuffled"}
    data = ad.read_h5ad(other)
    data.var["feature_id"] = [f"ENSG8{i:010d}" for i in range(data.n_vars)]
    data.write_h5ad(other)
    assert set(unrelated_cells(query, other, BLOOD, ontology, 1)) == {"noise", "shuffled"}


def test_an_empty_query_has_no_foreign_cells(query: ad.AnnData, other: Path, ontology: Ontology) -> None:
    assert unrelated_cells(query[:0].copy(), other, BLOOD, ontology, 1) == {}
    query.X = csr_matrix(query.shape, dtype=np.float32)
    assert unrelated_cells(query, other, BLOOD, ontology, 1) == {}


def test_only_measured_genes_hold_anything(query: ad.AnnData, other: Path, ontology: Ontology) -> None:
    mask = np.arange(query.n_vars) % 3 > 0
    matrix = query.X.toarray()
    matrix[:, ~mask] = 0
    query.X = csr_matrix(matrix)
    query.var[MEASURED] = mask
    for kind, data in unrelated_cells(query, other, BLOOD, ontology, 1).items():
        assert data.shape[1] == query.n_vars
        assert not data.X.toarray()[:, ~mask].any(), kind
        assert set(totals(data)) <= set(totals(query)), kind


@pytest.mark.parametrize(("state", "scale"), [("log1p_cp10k", 1e4), ("log1p_cpm", 1e6)])
def test_logarithmic_queries_get_logarithmic_cells(
    query: ad.AnnData, other: Path, ontology: Ontology, state: str, scale: float
) -> None:
    counts = query.X.toarray()
    query.X = csr_matrix(np.log1p(counts / counts.sum(axis=1, keepdims=True) * scale).astype(np.float32))
    query.uns["annobench"] = {"matrix": state}
    depths = set(counts.sum(axis=1))
    found = unrelated_cells(query, other, BLOOD, ontology, 1)
    assert set(found) == set(KINDS)
    for kind, data in found.items():
        linear = np.expm1(data.X.toarray().astype(float))
        assert linear.sum(axis=1) == pytest.approx(np.full(data.n_obs, scale), rel=1e-4), kind
        assert data.uns["annobench"]["matrix"] == state
        if kind != "shuffled":  # drawn as counts: the depth can be read off the smallest value, one count
            smallest = np.where(linear > 0, linear, np.inf).min(axis=1)
            assert set((linear.sum(axis=1) / smallest).round()) <= depths, kind
        assert np.isfinite(log_normalised(data).data).all()


def test_the_depth_that_preparing_wrote_down_is_used(query: ad.AnnData, ontology: Ontology) -> None:
    counts = query.X.toarray()
    query.obs["total_counts"] = counts.sum(axis=1)
    counts += 1  # no value of one count is left to read the depth off
    query.X = csr_matrix(np.log1p(counts / counts.sum(axis=1, keepdims=True) * 1e4).astype(np.float32))
    query.uns["annobench"] = {"matrix": "log1p_cp10k"}
    noise = np.expm1(unrelated_cells(query, None, BLOOD, ontology, 1)["noise"].X.toarray().astype(float))
    smallest = np.where(noise > 0, noise, np.inf).min(axis=1)
    assert set((noise.sum(axis=1) / smallest).round()) <= set(query.obs["total_counts"])


def test_the_depth_written_down_is_that_of_the_genes_of_a_panel(query: ad.AnnData, ontology: Ontology) -> None:
    counts = query.X.toarray()
    query.obs["total_counts"] = counts.sum(axis=1)
    query.X = csr_matrix(np.log1p(counts / counts.sum(axis=1, keepdims=True) * 1e4).astype(np.float32))
    query.uns["annobench"] = {"matrix": "log1p_cp10k"}
    mask = np.arange(query.n_vars) < 20
    seen = restricted(query, mask)
    assert seen.obs["total_counts"].to_numpy() == pytest.approx(counts[:, mask].sum(axis=1), abs=0.5)


def test_the_same_seed_gives_the_same_cells(query: ad.AnnData, other: Path, ontology: Ontology) -> None:
    first, again, third = (unrelated_cells(query, other, BLOOD, ontology, seed) for seed in (1, 1, 2))
    for kind in KINDS:
        assert (first[kind].X != again[kind].X).nnz == 0
        assert (first[kind].X != third[kind].X).nnz > 0


# doublets


def test_doublets_are_of_two_types_at_the_depth_of_a_query_cell(query: ad.AnnData, ontology: Ontology) -> None:
    train = query.copy()
    matrix = train.X.toarray()
    matrix[:, :2] = 0
    for i, label in enumerate(BLOOD):  # a gene of its own for each type
        matrix[(train.obs["label_id"] == label).to_numpy(), i] = 150
    train.X = csr_matrix(matrix)
    found = simulated_doublets(train, query, 1)
    assert found is not None
    assert found.n_obs == CELLS
    assert (found.X[:, :2].toarray() > 0).all(axis=1).mean() > 0.99
    assert set(totals(found)) <= set(totals(query))
    assert (found.X.data == found.X.data.round()).all()
    assert list(found.var_names) == list(query.var_names)
    assert set(found.obs.to_numpy().ravel()) == {"unknown"}
    again = simulated_doublets(train, query, 1)
    assert again is not None
    assert (again.X != found.X).nnz == 0
    other = simulated_doublets(train, query, 2)
    assert other is not None
    assert (other.X != found.X).nnz > 0


def test_doublets_of_logarithmic_values(query: ad.AnnData) -> None:
    logged = query.copy()
    logged.X = log_normalised(query)
    logged.uns["annobench"] = {**query.uns["annobench"], "matrix": "log1p_cp10k"}
    found = simulated_doublets(logged, logged, 1)
    assert found is not None
    sums = np.asarray(np.expm1(found.X.toarray()).sum(axis=1)).ravel()
    assert sums == pytest.approx(np.full(CELLS, 1e4), rel=1e-3)


def test_no_doublets_of_one_type(query: ad.AnnData) -> None:
    one = query[(query.obs["label_id"] == BLOOD[0]).to_numpy()].copy()
    assert simulated_doublets(one, query, 1) is None
    unknown = query.copy()
    unknown.obs["label_id"] = np.where(unknown.obs["label_id"] == BLOOD[1], "unknown", BLOOD[0])
    assert simulated_doublets(unknown, query, 1) is None
