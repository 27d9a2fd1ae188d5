"""What is promised: features are log1p CP10k, genes are chosen as scanpy does, on training cells only."""

import anndata as ad
import numpy as np
import pytest
import scanpy as sc
from scipy.sparse import csr_matrix
from sklearn.decomposition import PCA

from annobench.cells import expression
from annobench.cells.expression import log_normalised, moments, variable_genes
from annobench.cells.store.loader import Loader
from annobench.cells.store.rows import PackedRows
from annobench.core.errors import MethodSkipped
from annobench.methods.shared.features import ExpressionFeatures, PrincipalComponents
from annobench.ontology import Ontology
from helpers import cells


@pytest.fixture
def data(ontology: Ontology) -> ad.AnnData:
    return cells(ontology, cells=300, genes=400)


def test_log_normalisation_equals_scanpy(data: ad.AnnData) -> None:
    reference = data.copy()
    sc.pp.normalize_total(reference, target_sum=1e4)
    sc.pp.log1p(reference)
    assert np.allclose(log_normalised(data).toarray(), reference.X.toarray(), atol=1e-5)
    assert data.X.data.max() == np.rint(data.X.data.max())  # the input is not changed


def test_all_states_of_the_matrix_give_the_same(data: ad.AnnData) -> None:
    expected = log_normalised(data).toarray()
    for state, scale in (("log1p_cp10k", 1e4), ("log1p_cpm", 1e6)):
        other = data.copy()
        dense = data.X.toarray()
        other.X = csr_matrix(np.log1p(dense / dense.sum(axis=1, keepdims=True) * scale).astype("float32"))
        other.uns["annobench"] = {"matrix": state}
        assert np.allclose(log_normalised(other).toarray(), expected, atol=1e-4)
    other.uns["annobench"] = {"matrix": "scaled"}
    with pytest.raises(MethodSkipped, match="'scaled'"):
        log_normalised(other)


def test_a_cell_without_counts_stays_zero(data: ad.AnnData) -> None:
    data.X = csr_matrix(data.X.toarray() * (np.arange(300) > 0)[:, None])
    assert log_normalised(data)[0].nnz == 0


@pytest.mark.parametrize("n", [50, 200])
def test_variable_genes_equal_scanpy(data: ad.AnnData, n: int) -> None:
    reference = data.copy()
    sc.pp.normalize_total(reference, target_sum=1e4)
    sc.pp.log1p(reference)
    sc.pp.highly_variable_genes(reference, n_top_genes=n, flavor="seurat")
    theirs = set(np.flatnonzero(reference.var["highly_variable"]))
    ours = variable_genes(log_normalised(data), n)
    assert set(ours) == theirs


def test_moments_of_a_stream_are_those_of_the_matrix(data: ad.AnnData, monkeypatch: pytest.MonkeyPatch) -> None:
    matrix = log_normalised(data)
    before = matrix.copy()
    linear = np.expm1(matrix.toarray().astype(np.float64))
    loader = Loader(PackedRows(data.X), batch_size=7, shuffle=False)
    for cells_, tolerance in ((matrix, 1e-10), (loader, 1e-5)):  # values of the loader are rounded to float32 again
        mean, variance = moments(cells_)
        assert np.allclose(mean, linear.mean(0), rtol=tolerance)
        assert np.allclose(variance, linear.var(0, ddof=1), rtol=tolerance)
    assert (variable_genes(loader, 50) == variable_genes(matrix, 50)).all()
    assert (variable_genes(loader, 1000) == np.arange(400)).all()
    monkeypatch.setattr(expression, "_STRETCH", 100)
    assert all(np.allclose(a, b, rtol=1e-12) for a, b in zip(moments(matrix), moments(before), strict=True))
    assert (matrix != before).nnz == 0


def test_no_more_genes_than_there_are(data: ad.AnnData) -> None:
    assert (variable_genes(log_normalised(data), 1000) == np.arange(400)).all()


def test_restored_features_are_the_same(data: ad.AnnData) -> None:
    features = ExpressionFeatures(100)
    assert features.fit(data[:200]).shape == (200, 100)
    again = ExpressionFeatures.restore(features.state())
    assert (again.transform(data[200:]) != features.transform(data[200:])).nnz == 0


def test_principal_components_equal_scikit_learn(data: ad.AnnData) -> None:
    matrix = log_normalised(data)
    ours = PrincipalComponents(10)
    scores = ours.fit(matrix)
    theirs = PCA(10, svd_solver="full").fit(matrix.toarray()).transform(matrix.toarray())
    assert np.allclose(np.abs(scores[:, :5]), np.abs(theirs[:, :5]), atol=1e-2)
    assert PrincipalComponents(500).fit(matrix[:20]).shape == (20, 19)
