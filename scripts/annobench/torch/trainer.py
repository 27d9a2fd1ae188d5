"""The training loop: AdamW, step schedule, clipping, early stopping on the macro F1 of the validation cells."""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.adamw import adamw

from annobench.metrics.counts import macro_f1_of_codes

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix


@dataclass
class Recipe:
    """Hyperparameters of training; the defaults are those of the HCE paper, but for the size of a batch.

    `epochs` is raised until `min_steps` are reached, so that tiny training sets get enough of them.
    """

    learning_rate: float
    weight_decay: float
    batch_size: int
    epochs: int
    min_steps: int
    patience: int
    decay: float = 0.9
    clip: float = 1.0


class AdamW:
    """PyTorch's fused AdamW with its default betas, through the functional form.

    The class torch.optim.AdamW imports the compiler with its first call: 0.7 s of every short fit.
    """

    def __init__(self, network: nn.Module, weight_decay: float) -> None:
        self.parameters: list[Tensor] = [p for p in network.parameters() if p.requires_grad]
        self.weight_decay = weight_decay
        self.mean = [torch.zeros_like(p) for p in self.parameters]
        self.square = [torch.zeros_like(p) for p in self.parameters]
        self.steps = [torch.zeros((), device=p.device) for p in self.parameters]

    @torch.no_grad()
    def step(self, learning_rate: float) -> None:
        """One step with the gradients that are there."""
        gradients = [p.grad for p in self.parameters if p.grad is not None]
        if len(gradients) != len(self.parameters):
            raise ValueError("every trainable parameter needs a gradient")
        adamw(
            self.parameters,
            gradients,
            self.mean,
            self.square,
            [],
            self.steps,
            fused=True,
            amsgrad=False,
            beta1=0.9,
            beta2=0.999,
            lr=learning_rate,
            weight_decay=self.weight_decay,
            eps=1e-8,
            maximize=False,
        )


def train(
    network: nn.Module,
    loss: nn.Module,
    cells: "csr_matrix",
    codes: "np.ndarray",
    validation: "tuple[csr_matrix, np.ndarray] | None",
    recipe: Recipe,
    seed: int,
    device: str,
    progress: Callable[[float, str], None],
) -> int:
    """Train in place; returns the epoch (from 1) whose weights are kept.

    cells: (n, genes) CSR, codes: (n,) class numbers. Batches are made dense one at a time. Without validation cells the
    last epoch is kept. A batch of one cell is joined to the one before it, because batch norm needs two.
    """
    network.to(device)
    loss.to(device)
    rng = np.random.default_rng(seed)
    starts = list(range(0, len(codes), recipe.batch_size))
    if len(starts) > 1 and len(codes) - starts[-1] < 2:
        starts.pop()
    epochs = max(recipe.epochs, -(-recipe.min_steps // len(starts)))
    optimiser = AdamW(network, recipe.weight_decay)
    # the schedule is per epoch in the paper; stretched where epochs are many and short
    decay = recipe.decay ** (recipe.epochs / epochs)
    patience = recipe.patience * epochs // recipe.epochs
    best, best_epoch, best_state = (-1.0, 0.0), epochs, None
    for epoch in range(1, epochs + 1):
        network.train()
        order = rng.permutation(len(codes))
        for number, start in enumerate(starts):
            rows = order[start : starts[number + 1] if number + 1 < len(starts) else None]
            network.zero_grad(set_to_none=True)
            value = loss(network(_dense(cells, rows, device)), torch.as_tensor(codes[rows], device=device))
            if not torch.isfinite(value):
                raise FloatingPointError(f"the loss became {value.item()} in epoch {epoch}; lower the learning rate")
            value.backward()
            nn.utils.clip_grad_norm_(network.parameters(), recipe.clip)
            optimiser.step(recipe.learning_rate * decay ** (epoch - 1))
        if validation is not None:
            score = _validate(network, loss, validation, device)
            if score > best:
                best, best_epoch, best_state = score, epoch, copy.deepcopy(network.state_dict())
            elif epoch - best_epoch >= patience:
                break
        progress(epoch / epochs, f"epoch {epoch} of at most {epochs}, best validation macro F1 {best[0]:.3f}")
    if best_state is not None:
        network.load_state_dict(best_state)
    return best_epoch


def _validate(
    network: nn.Module, loss: nn.Module, validation: "tuple[csr_matrix, np.ndarray]", device: str
) -> tuple[float, float]:
    """Macro F1, and the negative loss that decides between equals: a few validation cells soon are all right."""
    values = logits(network, validation[0], device)
    with torch.inference_mode():
        value = loss(torch.from_numpy(values).to(device), torch.as_tensor(validation[1], device=device))
    return macro_f1_of_codes(validation[1], values.argmax(axis=1)), -float(value)


def logits(network: nn.Module, cells: "csr_matrix", device: str, batch_size: int = 4096) -> "np.ndarray":
    """Logits of cells, float32 (cells, classes)."""
    network.eval()
    with torch.inference_mode():
        parts = [
            network(_dense(cells, slice(start, start + batch_size), device)).cpu()
            for start in range(0, cells.shape[0], batch_size)
        ]
    return torch.cat(parts).numpy()


def _dense(cells: "csr_matrix", rows: "np.ndarray | slice", device: str) -> Tensor:
    return torch.from_numpy(cells[rows].toarray()).to(device)
