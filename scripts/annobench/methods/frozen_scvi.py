"""A trained scVI model as it is: the encoder alone, without scvi-tools, on the genes that it knows."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from annobench.cells.genes import match_genes, strip_version
from annobench.cells.matrix import placed
from annobench.cells.panel import only_measured
from annobench.core.errors import DataError, MethodSkipped
from annobench.core.files import expanded
from annobench.fit.method import Abilities, Context, Embedding, Method, Needs, load_state, save_state
from annobench.methods.shared.scvi_encoder import encoded
from annobench.methods.shared.scvi_model import read_scvi_model

if TYPE_CHECKING:
    from anndata import AnnData
    from numpy.typing import NDArray

_PART = 4096  # cells that are encoded together


class FrozenScvi(Method):
    """Mean of the posterior; nothing is trained, and the batch of a cell does not enter it.

    Genes are matched by Ensembl id and symbol; one that the cells lack counts as zero, as in scvi-tools.

    Parameters
    ----------
    model
        `model.pt` of a saved model; ~ and variables such as $ANNOBENCH_DATA are expanded. A fit is skipped where it is
        missing.
    least_known
        Share of the genes of the model that the cells must have; with fewer a fit is skipped.
    """

    needs = Needs(counts=True)
    abilities = Abilities(predictions=False, probabilities=False, embedding=True, trains=False)
    files = ("{model}",)

    trainable_parameters = 0

    def __init__(self, *, model: str, least_known: float = 0.5) -> None:
        self.model, self.least_known = model, least_known

    def fit(self, train: "AnnData", context: Context) -> None:
        path = expanded(self.model)
        if not path.is_file():
            raise MethodSkipped(f"parameters.model: there is no file '{path}' (from '{self.model}')")
        model = read_scvi_model(path)
        self._genes, self._arrays = model.genes.astype(str), model.arrays
        self.notes = {"weights_left_out": model.left}

    def embed(self, query: "AnnData") -> Iterator[Embedding]:
        from scipy.sparse import csr_matrix

        cells = only_measured(query)
        columns = self._columns(cells)
        names = cells.obs_names.to_numpy()
        for start in range(0, cells.n_obs, _PART):
            part = placed(csr_matrix(cells.X[start : start + _PART]), columns, len(self._genes))
            yield Embedding(names[start : start + _PART], encoded(csr_matrix(part), self._arrays))

    def _columns(self, cells: "AnnData") -> "tuple[NDArray[np.intp], NDArray[np.intp]]":
        """Columns of the cells that the model knows, and their places in it, which rise."""
        import pandas as pd

        own = pd.DataFrame({"feature_id": [strip_version(name) for name in self._genes], "feature_name": self._genes})
        match = match_genes(own, cells.var)
        self.gene_overlap = {"model": match.wanted, "shared": len(match.own)}
        if len(match.own) == 0 or match.share < self.least_known:
            raise MethodSkipped(
                f"the cells have {len(match.own):,} of the {match.wanted:,} genes of the model, {match.share:.1%}; "
                f"expected at least {self.least_known:.1%} (parameters.least_known)"
            )
        order = np.argsort(match.own)
        return match.theirs[order], match.own[order]

    def save(self, folder: Path) -> None:
        save_state(folder, self._arrays, genes=self._genes.tolist(), least_known=self.least_known)

    @classmethod
    def load(cls, folder: Path) -> "FrozenScvi":
        arrays, state = load_state(folder)
        if not isinstance(state.get("genes"), list):
            raise DataError(f"{folder}: holds no model of scVI")
        method = cls(model="", least_known=state["least_known"])
        method._genes, method._arrays = np.array(state["genes"]), arrays
        return method
