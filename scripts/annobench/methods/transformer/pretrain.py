"""A small backbone trained here: values of genes are hidden and predicted from what is seen of the cell.

Two heads predict the hidden values, as in scGPT: one from the output of the gene itself, one from the output of the
cell and the vector of the gene, which is what makes the cell's output say something of its genes. Both are left behind
when the training is over. This is no foundation model, and no scGPT.
"""

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from annobench.core.errors import DataError
from annobench.core.progress import Report, silent
from annobench.data.checkpoints.fetch import blank_record, or_failed
from annobench.data.checkpoints.initial import initial_weights
from annobench.data.checkpoints.spec import CheckpointSpec, InputSpec, Pretraining, ScgptShape
from annobench.data.checkpoints.stored import write_checkpoint
from annobench.data.tokens.genes import check_organism
from annobench.data.tokens.stored import StoredTokens
from annobench.data.tokens.tokenise import PreparedCells, all_tokens
from annobench.data.tokens.tokeniser import Tokeniser
from annobench.methods.transformer.backbone import Backbone

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

PAD = "<pad>"
_CLIP = 1.0  # largest norm of the gradient
_WARM_UP = 0.1  # share of the steps in which the learning rate rises
_DECAY = 0.01  # weight decay of AdamW
_POOL = 8  # batches whose cells are sorted by length, so that little is filled up
_REPORTED = 10  # lines of progress


def pretrain_checkpoint(
    name: str, spec: CheckpointSpec, cells: Path, folder: Path, *, threads: int = 1, report: Report = silent
) -> None:
    """Train a backbone and write it as a checkpoint.

    Parameters
    ----------
    name, spec
        Of its file in config/checkpoints, of kind `pretrain`.
    cells
        cells.h5ad of the dataset that it names; labels are not read.
    folder
        Gets weights.safetensors, vocabulary.json and checkpoint.json; the last only, where it cannot be trained.
    threads
        Of PyTorch.
    report
        Says one line of progress.
    """
    source = spec.source
    assert isinstance(source, Pretraining)

    def make() -> None:
        torch.set_num_threads(threads)
        prepared = PreparedCells(cells)
        check_organism(prepared.var, prepared.organisms(), spec.organism, source.dataset)
        vocabulary = _vocabulary(prepared, source, spec.input)
        tokeniser = Tokeniser(
            replace(spec.input, least_known=0.0),
            vocabulary,
            prepared.var,
            organism=spec.organism,
            dataset=source.dataset,
        )
        tokeniser.check_state(prepared.state)
        tokens = StoredTokens(all_tokens(prepared, tokeniser), prepared.ids(), source.dataset)
        shape = ScgptShape(
            tokens=len(vocabulary),
            width=source.width,
            hidden=source.hidden,
            layers=source.layers,
            heads=source.heads,
            dropout=source.dropout,
            pad=vocabulary[PAD],
        )
        largest = float(spec.input.clip if spec.input.values == "counts" else spec.input.bins - 1)
        training = _Training(shape, source, tokens, largest)
        training.run(report)
        record = replace(
            blank_record(name, spec),
            shape=shape,
            pretraining=f"here, on {prepared.n:,} unlabelled cells of {source.dataset}: hidden values, "
            f"{source.steps:,} steps of {source.batch} cells; not scGPT, and no foundation model",
            cells_seen=(source.dataset,),
            notes=training.notes,
        )
        write_checkpoint(folder, record, training.weights(), vocabulary)

    or_failed(name, spec, folder, make, report)


def _vocabulary(cells: PreparedCells, source: Pretraining, given: InputSpec) -> dict[str, int]:
    """Tokens for the genes whose log-normalised values vary most, in the order of the dataset, then special ones."""
    from annobench.cells.expression import to_cp10k

    names = cells.var["feature_name"].astype(str)
    usable = ~names.duplicated(keep=False).to_numpy()
    total, square = np.zeros(len(names)), np.zeros(len(names))
    for _, matrix in cells.parts():
        values = to_cp10k(matrix, cells.state)
        total += np.bincount(values.indices, values.data, len(names))
        square += np.bincount(values.indices, values.data.astype(np.float64) ** 2, len(names))
    if cells.n < 2:
        raise DataError(f"{source.dataset}: has {cells.n} cells; a backbone is trained on more")
    variance = np.where(usable, square / cells.n - (total / cells.n) ** 2, -1.0)
    chosen = np.sort(np.argsort(-variance, kind="stable")[: min(source.genes, int(usable.sum()))])
    assert given.cls is not None
    tokens = [*names.iloc[chosen], PAD, given.cls]
    return {token: number for number, token in enumerate(tokens)}


class _Heads(nn.Module):
    """Predict a value from the output of a gene, and from that of the cell."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.gene = nn.Sequential(nn.Linear(width, width), nn.LeakyReLU(), nn.Linear(width, 1))
        self.query, self.cell = nn.Linear(width, width), nn.Linear(width, width, bias=False)

    def forward(self, outputs: "Tensor", genes: "Tensor") -> "tuple[Tensor, Tensor]":
        """Two predictions (batch, length) from outputs and vectors of genes (batch, length, width)."""
        asked = self.cell(torch.sigmoid(self.query(genes)))
        return self.gene(outputs)[..., 0], (asked * outputs[:, :1]).sum(-1)


class _Training:
    def __init__(self, shape: ScgptShape, source: Pretraining, tokens: StoredTokens, largest: float) -> None:
        self._source, self._tokens, self._largest, self._pad = source, tokens, largest, shape.pad
        torch.manual_seed(source.seed)
        self._rng = np.random.default_rng([source.seed, 1])
        # without dropout: few passes do not overfit, and attention is several times faster on a CPU
        self._backbone = Backbone(replace(shape, dropout=0.0))
        state = {key: torch.from_numpy(value) for key, value in initial_weights(shape, source.seed).items()}
        self._backbone.load_state_dict(state, strict=True)
        self._heads = _Heads(shape.width)
        self.notes: tuple[str, ...] = ()

    def weights(self) -> "dict[str, NDArray[np.float32]]":
        """Weights of the encoder."""
        return {key: value.detach().numpy() for key, value in self._backbone.state_dict().items()}

    def run(self, report: Report) -> None:
        """Train; raises DataError where no cell has two genes of the vocabulary."""
        source, losses = self._source, []
        rows = np.flatnonzero(self._tokens.lengths > 2)  # the cell, a hidden gene and one that is seen
        if len(rows) == 0:
            raise DataError(f"{source.dataset}: no cell has two genes of the vocabulary; there is nothing to learn")
        parameters = [*self._backbone.parameters(), *self._heads.parameters()]
        optimiser = torch.optim.AdamW(parameters, lr=source.learning_rate, weight_decay=_DECAY)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, self._rate)
        self._backbone.train()
        for step, batch in enumerate(self._batches(rows)):
            loss = self._loss(batch)
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(parameters, _CLIP)
            optimiser.step()
            schedule.step()
            losses.append(loss.item())
            if (step + 1) % max(source.steps // _REPORTED, 1) == 0:
                report(f"step {step + 1:,} of {source.steps:,}: error {np.mean(losses[-50:]):.4f}")
        first, last = (float(np.mean(part)) for part in (losses[:20], losses[-20:]))
        if not math.isfinite(last):
            raise DataError(f"{source.dataset}: the training diverged; lower source.learning_rate")
        self.notes = (
            f"mean squared error of the hidden values, both heads: {first:.4f} in the first 20 steps, {last:.4f} in "
            f"the last ({self._largest:g} taken as 1)",
            "heads that predict hidden values: left behind",
        )

    def _rate(self, step: int) -> float:
        """Share of the learning rate: it rises in a line, then falls along a cosine."""
        warm = max(int(_WARM_UP * self._source.steps), 1)
        rest = max(self._source.steps - warm, 1)
        return (step + 1) / warm if step < warm else 0.5 * (1 + math.cos(math.pi * (step - warm) / rest))

    def _batches(self, rows: "NDArray[np.int64]") -> "Iterator[NDArray[np.int64]]":
        """Batches of cells of like length, all cells in an order of their own before any comes again."""
        size, left = self._source.batch, np.empty(0, dtype=np.int64)
        for step in range(0, self._source.steps, _POOL):
            batches = min(_POOL, self._source.steps - step)
            while len(left) < batches * size:
                left = np.concatenate([left, self._rng.permutation(rows)])
            pool, left = left[: batches * size], left[batches * size :]
            pool = pool[np.argsort(self._tokens.lengths[pool], kind="stable")]
            yield from pool.reshape(batches, size)[self._rng.permutation(batches)]

    def _loss(self, rows: "NDArray[np.int64]") -> "Tensor":
        batch = self._tokens.padded(rows, self._pad)
        hidden = batch.mask & (self._rng.random(batch.mask.shape) < self._source.hidden_share)
        hidden[:, 0] = False  # the token of the cell
        hidden[:, 1] |= ~hidden.any(axis=1)
        shown = np.where(hidden, np.float32(self._source.hidden_value), batch.values)
        genes, mask, where = (torch.from_numpy(one) for one in (batch.genes, batch.mask, hidden))
        outputs = self._backbone(genes, torch.from_numpy(shown), mask)
        wanted = torch.from_numpy(batch.values)[where] / self._largest
        vectors = self._backbone.gene_norm(self._backbone.gene_embedding(genes))
        return sum(((one[where] - wanted) ** 2).mean() for one in self._heads(outputs, vectors))
