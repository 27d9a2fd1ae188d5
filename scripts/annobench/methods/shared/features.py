"""Features shared by methods: log-normalised expression of variable genes, and principal components."""

from typing import TYPE_CHECKING

import numpy as np

from annobench.cells.expression import log_normalised, variable_genes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from anndata import AnnData
    from numpy.typing import NDArray
    from scipy.sparse import csr_matrix


class ExpressionFeatures:
    """Log-normalised expression of variable genes, which are chosen on the training cells.

    Parameters
    ----------
    n_genes
        Number of genes; None for all.
    """

    def __init__(self, n_genes: int | None) -> None:
        self.n_genes = n_genes
        self.genes: NDArray[np.intp] = np.array([], dtype=int)

    def fit(self, train: "AnnData") -> "csr_matrix":
        """Choose the genes; returns the features of the training cells, CSR float32 (cells, genes)."""
        matrix = log_normalised(train)
        self.genes = np.arange(matrix.shape[1]) if self.n_genes is None else variable_genes(matrix, self.n_genes)
        return matrix[:, self.genes]

    def transform(self, query: "AnnData") -> "csr_matrix":
        """Features of other cells, CSR float32 (cells, genes)."""
        return log_normalised(query)[:, self.genes]

    def state(self) -> dict[str, "NDArray[np.intp]"]:
        """Arrays for `restore`."""
        return {"genes": self.genes}

    @classmethod
    def restore(cls, arrays: "Mapping[str, NDArray[np.intp]]") -> "ExpressionFeatures":
        """Features with the genes that were chosen."""
        features = cls(None)
        features.genes = arrays["genes"]
        return features


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
