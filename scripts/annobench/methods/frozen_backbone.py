"""Cells where a backbone places them as it is: nothing is trained."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal

import numpy as np

from annobench.fit.method import Abilities, Context, Embedding, Method, Needs

if TYPE_CHECKING:
    from anndata import AnnData
    from numpy.typing import NDArray

_PART = 4096  # cells that are given together


class FrozenBackbone(Method):
    """What the checkpoint pools of its outputs, in evaluation mode; cells of like length go together.

    Parameters
    ----------
    normalise
        `unit` scales every embedding to length 1, `none` does not; `checkpoint` does as the model's authors do.
    tokens_per_batch
        Most tokens that go through the backbone together, with those that fill shorter cells up; memory is in
        proportion to it.
    """

    needs = Needs(cells="none", tokens=True)
    abilities = Abilities(predictions=False, probabilities=False, embedding=True, gpu=True, trains=False)

    trainable_parameters = 0

    def __init__(
        self,
        *,
        normalise: Literal["checkpoint", "unit", "none"] = "checkpoint",
        tokens_per_batch: int = 16384,
    ) -> None:
        self.normalise, self.tokens_per_batch = normalise, tokens_per_batch

    def fit(self, train: "AnnData", context: Context) -> None:
        import torch

        from annobench.data.checkpoints.stored import StoredCheckpoint
        from annobench.data.tokens.stored import StoredTokens
        from annobench.methods.transformer.weights import load_backbone

        assert context.tokens is not None
        assert context.weights is not None
        torch.set_num_threads(context.threads)
        checkpoint = StoredCheckpoint.open(context.weights)
        self._tokens, self._pad, self._device = StoredTokens.open(context.tokens), checkpoint.shape.pad, context.device
        self._width = checkpoint.shape.width
        self._backbone = load_backbone(checkpoint).to(context.device).requires_grad_(False)
        self._unit = (checkpoint.input.normalise if self.normalise == "checkpoint" else self.normalise) == "unit"
        self.notes = {
            "checkpoint": checkpoint.record.name,
            "pretraining": checkpoint.record.pretraining,
            "parameters": checkpoint.record.parameters,
            "pooling": checkpoint.input.embedding,
            "normalised": "unit length" if self._unit else "no",
        }

    def embed(self, query: "AnnData") -> Iterator[Embedding]:
        names = query.obs_names.to_numpy(dtype=object)
        for start in range(0, len(names), _PART):
            cells = names[start : start + _PART]
            yield Embedding(cells, self._embedded(self._tokens.rows(cells)))

    def _embedded(self, rows: "NDArray[np.int64]") -> "NDArray[np.float32]":
        """(n, width) of cells by their rows among the tokens."""
        import torch

        found = np.empty((len(rows), self._width), dtype=np.float32)
        with torch.inference_mode():
            for some in self._tokens.buckets(rows, self.tokens_per_batch):
                batch = self._tokens.padded(rows[some], self._pad)
                genes, values, mask = (
                    torch.from_numpy(one).to(self._device) for one in (batch.genes, batch.values, batch.mask)
                )
                found[some] = self._backbone.embed(genes, values, mask).float().cpu().numpy()
        if self._unit:
            # a cell without a known gene may be 0
            found /= np.maximum(np.linalg.norm(found, axis=1, keepdims=True), np.finfo(np.float32).tiny)
        return found
