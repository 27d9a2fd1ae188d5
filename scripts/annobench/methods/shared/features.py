"""Features shared by methods: log-normalised expression of variable genes, and principal components."""

from typing import TYPE_CHECKING

import numpy as np

from annobench.cells.expression import log_normalised, variable_genes
from annobench.core.errors import MethodSkipped

if TYPE_CHECKING:
    from collections.abc import Mapping

    from anndata import AnnData
    from numpy.typing import NDArray
    from scipy.sparse import csr_matrix

CP10K = 1e4  # counts per cell


class ExpressionFeatures:
    """Log-normalised expression of variable genes, which are chosen on the cells that it is fitted on.

    Parameters
    ----------
    n_genes
        Number of genes; None for all.
    total
        Counts to which every cell is scaled before the logarithm; None for the median of the cells that it is fitted
        on, without those that have none: scanpy's default.
    """

    def __init__(self, n_genes: int | None, total: float | None = CP10K) -> None:
        self.n_genes, self.total = n_genes, total
        self.genes: NDArray[np.intp] = np.array([], dtype=int)

    def fit(self, train: "AnnData") -> "csr_matrix":
        """Choose the genes; returns the features of the cells, CSR float32 (cells, genes).

        Raises MethodSkipped where the median is wanted of cells without counts.
        """
        if self.total is None:
            self.total = _median_total(train)
        matrix = self._normalised(train)
        self.genes = np.arange(matrix.shape[1]) if self.n_genes is None else variable_genes(matrix, self.n_genes)
        return matrix[:, self.genes]

    def transform(self, query: "AnnData") -> "csr_matrix":
        """Features of other cells, CSR float32 (cells, genes)."""
        return self._normalised(query)[:, self.genes]

    def _normalised(self, cells: "AnnData") -> "csr_matrix":
        matrix = log_normalised(cells)
        if self.total not in (None, CP10K):
            matrix.data = np.log1p(np.expm1(matrix.data) * np.float32(self.total / CP10K))
        return matrix

    def state(self) -> dict[str, "NDArray[np.generic]"]:
        """Arrays for `restore`."""
        return {"genes": self.genes, "total": np.array(self.total)}

    @classmethod
    def restore(cls, arrays: "Mapping[str, NDArray[np.intp]]") -> "ExpressionFeatures":
        """Features with the genes that were chosen."""
        features = cls(None, float(arrays["total"]) if "total" in arrays else CP10K)
        features.genes = arrays["genes"]
        return features


def _median_total(cells: "AnnData") -> float:
    """Median number of counts of the cells that have any."""
    state = str(cells.uns["annobench"]["matrix"])
    if state != "counts":
        raise MethodSkipped(f"the median number of counts is wanted (total: null), and the dataset holds {state}")
    totals = np.asarray(cells.X.sum(axis=1)).ravel()
    return float(np.median(totals[totals > 0])) if (totals > 0).any() else CP10K


class PrincipalComponents:
    """Principal components of the training features (scikit-learn's PCA; sparse input never becomes dense).

    Parameters
    ----------
    n_components
        Most components; fewer where cells or genes are fewer.
    seed
        Seed of the solver.
    """

    def __init__(self, n_components: int, seed: int = 0) -> None:
        self.n_components, self.seed = n_components, seed
        self.components: NDArray[np.floating] = np.empty((0, 0))
        self.offset: NDArray[np.floating] = np.empty(0)

    def fit(self, features: "csr_matrix") -> "NDArray[np.float32]":
        """Learn the components; returns the scores of the training cells, float32 (cells, components)."""
        from sklearn.decomposition import PCA

        rank = min(self.n_components, min(features.shape) - 1)
        pca = PCA(rank, svd_solver="arpack", random_state=self.seed).fit(features)
        self.components = pca.components_.astype(np.float32)
        self.offset = (pca.mean_ @ pca.components_.T).astype(np.float32)
        return self.transform(features)

    def transform(self, features: "csr_matrix") -> "NDArray[np.float32]":
        """Scores of other cells, float32 (cells, components)."""
        return np.asarray(features @ self.components.T - self.offset, dtype=np.float32)

    def state(self) -> dict[str, "NDArray[np.floating]"]:
        """Arrays for `restore`."""
        return {"components": self.components, "offset": self.offset}

    @classmethod
    def restore(cls, arrays: "Mapping[str, NDArray[np.floating]]") -> "PrincipalComponents":
        """Components as they were learned."""
        pca = cls(len(arrays["components"]))
        pca.components, pca.offset = arrays["components"], arrays["offset"]
        return pca
