"""scVI, trained here on the unlabelled test cells by scvi-tools; an environment of its own brings that."""

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from annobench.core.errors import DataError, MethodSkipped, nearest
from annobench.core.parquet import NOT_GIVEN
from annobench.fit.method import Abilities, Context, Embedding, Method, Needs, Notes, load_state, save_state
from annobench.methods.shared.features import ExpressionFeatures
from annobench.methods.shared.scvi_encoder import encoded, encoder_arrays

if TYPE_CHECKING:
    from anndata import AnnData
    from numpy.typing import NDArray

_PART = 4096  # cells that are encoded together
_BATCH = 128  # cells of a training step, scvi-tools' default
_BATCH_COLUMN = "batch"


class SingleCellVI(Method):
    """A variational autoencoder of counts, which knows the batch of a cell; the embedding is the mean of its posterior.

    Parameters
    ----------
    batch
        Column of obs whose differences the decoder explains; None for none. One with a single value has no effect.
    n_genes
        Variable genes; None for all.
    n_latent, n_layers, n_hidden
        Dimensions of the embedding, layers of encoder and decoder, and their units.
    gene_likelihood
        Distribution of the counts: negative binomial, with inflated zeros, or Poisson.
    max_epochs
        Passes over the cells; None for scvi-tools' rule: 400, and fewer beyond 20,000 cells.
    """

    needs = Needs(counts=True, query=True)
    abilities = Abilities(predictions=False, probabilities=False, embedding=True, gpu=True, trains=False)

    def __init__(
        self,
        *,
        batch: str | None = "batch",
        n_genes: int | None = 2000,
        n_latent: int = 30,
        n_layers: int = 2,
        n_hidden: int = 128,
        gene_likelihood: Literal["nb", "zinb", "poisson"] = "nb",
        max_epochs: int | None = None,
    ) -> None:
        self.batch, self.n_genes, self.max_epochs = batch, n_genes, max_epochs
        self.network = {"n_latent": n_latent, "n_layers": n_layers, "n_hidden": n_hidden}
        self.gene_likelihood = gene_likelihood

    def fit(self, train: "AnnData", context: Context) -> None:
        if find_spec("scvi") is None:
            raise MethodSkipped(
                "scvi-tools is not installed; run `.venv/bin/python -m pip install -r requirements-scvi.txt`, or use "
                "the environment envs/scvi.yaml (--sdm conda)"
            )
        assert context.query is not None
        features = ExpressionFeatures(self.n_genes)
        features.fit(context.query)
        self._genes = features.genes
        cells, self.notes = self._training_cells(context.query)
        self._arrays, self.trainable_parameters = self._trained(cells, context)

    def _training_cells(self, query: "AnnData") -> "tuple[AnnData, Notes]":
        """The cells that have counts, over the chosen genes, with their batch; and what run records say of them."""
        from anndata import AnnData
        from scipy.sparse import csr_matrix

        counts = csr_matrix(query.X)[:, self._genes].astype(np.float32)
        some = np.asarray(counts.sum(axis=1)).ravel() > 0
        if some.sum() < 2:
            raise DataError(
                f"scVI is trained on cells with counts, and of {query.n_obs} test cells {some.sum()} have any"
            )
        cells = AnnData(counts[some], obs=query.obs.loc[some, []].copy())
        batches = 0
        if self.batch is not None:
            if self.batch not in query.obs:
                raise DataError(
                    f"parameters.batch: obs has no column '{self.batch}'{nearest(self.batch, map(str, query.obs))}"
                )
            values = query.obs.loc[some, self.batch].astype(str)
            batches = len(set(values) - {NOT_GIVEN})
            if values.nunique() > 1:
                cells.obs[_BATCH_COLUMN] = values.astype("category")
        return cells, {
            "genes": len(self._genes),
            "trained_on": cells.n_obs,
            "cells_without_counts": int((~some).sum()),
            "batches": batches,
        }

    def _trained(self, cells: "AnnData", context: Context) -> "tuple[dict[str, NDArray[np.float32]], int]":
        """Train; returns the arrays of the encoder, and the number of parameters."""
        import scvi
        import torch

        torch.set_num_threads(context.threads)
        scvi.settings.seed = context.seed
        kind: Any = scvi.model.SCVI
        kind.setup_anndata(cells, batch_key=_BATCH_COLUMN if _BATCH_COLUMN in cells.obs else None)
        model = kind(cells, **self.network, gene_likelihood=self.gene_likelihood)
        model.train(
            max_epochs=self.max_epochs,
            accelerator="gpu" if context.device == "cuda" else "cpu",
            devices=1,
            train_size=1.0,
            batch_size=_batch_size(cells.n_obs),
            enable_progress_bar=False,
            enable_checkpointing=False,
            logger=None,
        )
        state = {name: values.cpu().numpy() for name, values in model.module.z_encoder.state_dict().items()}
        return encoder_arrays(state), sum(values.numel() for values in model.module.parameters())

    def embed(self, query: "AnnData") -> Iterator[Embedding]:
        from scipy.sparse import csr_matrix

        names = query.obs_names.to_numpy()
        for start in range(0, query.n_obs, _PART):
            part = csr_matrix(query.X[start : start + _PART])[:, self._genes]
            yield Embedding(names[start : start + _PART], encoded(part, self._arrays))

    def save(self, folder: Path) -> None:
        save_state(folder, {"genes": self._genes, **self._arrays})

    @classmethod
    def load(cls, folder: Path) -> "SingleCellVI":
        arrays, _ = load_state(folder)
        method = cls()
        method._genes = arrays.pop("genes")
        method._arrays = arrays
        return method


def _batch_size(cells: int) -> int:
    """At most 128, so that the last batch of an epoch does not hold one cell, of which batch norm can make nothing."""
    return next(size for size in range(_BATCH, 1, -1) if cells % size != 1)
