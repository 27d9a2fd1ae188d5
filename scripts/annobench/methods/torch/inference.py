"""Batches, and what a network makes of them: logits, and the validation score."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from annobench.core.counts import macro_f1

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from annobench.cells.store.batch import Batch


class Feed(Protocol):
    """Batches in the form a network takes, cut and ordered as by a Loader."""

    cells: int  # per epoch

    def __len__(self) -> int:
        """Batches per epoch."""

    def epoch(self, number: int = 0, start: int = 0) -> "Iterator[tuple[Batch | Tensor, Tensor]]":
        """Batches of epoch `number`, from batch `start` on.

        Each is (cells, codes): cells as a sparse Batch on a CPU, or as a dense tensor (n, genes) on the device; codes
        are class numbers, int64 (n,).
        """


def uses_bf16(name: str, device: str) -> bool:
    """Whether a precision means bf16 on a device; raises ValueError for an unknown one."""
    if name not in ("auto", "float32", "bf16"):
        raise ValueError(f"precision is '{name}', expected auto, float32 or bf16")
    if torch.device(device).type != "cuda" or name == "float32":
        return False
    return name == "bf16" or torch.cuda.is_bf16_supported(including_emulation=False)


def precision(name: str, device: str) -> torch.autocast:
    """Autocast context for the forward pass of a network."""
    return torch.autocast(torch.device(device).type, torch.bfloat16, enabled=uses_bf16(name, device))


@torch.inference_mode()
def score(
    network: nn.Module, loss: nn.Module, feed: Feed, kind: str = "auto", below: Tensor | None = None
) -> tuple[float, float]:
    """Validation score of a network.

    Parameters
    ----------
    network, loss
        The loss is without class weights.
    feed
        Validation cells.
    kind
        Precision, as in Recipe.
    below
        bool (classes, classes), [i, j] true where class j is i or a descendant of i. If given, a prediction below the
        label counts as the label, and the mean is over the classes that are labelled or predicted: the validation score
        of the HCE paper's code. Otherwise the mean is over the true classes.

    Returns
    -------
    macro F1, negative mean loss
        The loss decides between equal F1: few validation cells are soon all right. Counts stay on the device, and only
        one batch of logits is held at a time.
    """
    counts, losses = torch.zeros(0), torch.zeros(0)
    for scores, codes in outputs(network, feed, kind):
        if not len(counts):
            counts = scores.new_zeros((3, scores.shape[1]), dtype=torch.int64)
            losses = scores.new_zeros((), dtype=torch.float64)
        best = scores.argmax(1)
        if below is not None:
            best = torch.where(below[codes, best], codes, best)
        hits, ones = (best == codes).long(), torch.ones_like(codes)
        for row, places, amounts in ((0, codes, hits), (1, codes, ones), (2, best, ones)):
            counts[row].scatter_add_(0, places, amounts)
        losses += loss(scores, codes).double() * len(codes)
    hit, true, predicted = counts.cpu().numpy()
    mean = float(losses) / feed.cells
    members = true > 0 if below is None else true + predicted > 0
    return float(macro_f1(hit, true, predicted, members)), -mean if np.isfinite(mean) else -np.inf


@torch.inference_mode()
def outputs(network: nn.Module, feed: Feed, kind: str = "auto") -> Iterator[tuple[Tensor, Tensor]]:
    """Logits batch by batch, float32 (n, classes) on the device, with the class numbers of the cells."""
    network.eval()
    device = next(network.parameters()).device.type
    for cells, codes in feed.epoch():
        with precision(kind, device):
            scores = network(cells)
        yield scores.float(), codes


def logits(network: nn.Module, feed: Feed, kind: str = "auto") -> "NDArray[np.float32]":
    """Logits of all cells of a feed, float32 (cells, classes)."""
    values: NDArray[np.float32] = torch.cat([scores.cpu() for scores, _ in outputs(network, feed, kind)]).numpy()
    return values
