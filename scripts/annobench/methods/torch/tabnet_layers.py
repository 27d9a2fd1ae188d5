"""Layers of TabNet."""

from math import sqrt
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

EPSILON = 1e-5  # of all batch norms
LOG_EPSILON = 1e-15  # added to a mask before its logarithm


def pieces(rows: int, size: int) -> list[int]:
    """Rows of each ghost batch: rows // size pieces, cut like torch.chunk, all equal but the last.

    A last piece of one row, which has no variance, is joined to the piece before it.
    """
    each = -(-rows // max(1, rows // size))
    lengths = [min(each, rows - start) for start in range(0, rows, each)]
    if len(lengths) > 1 and lengths[-1] == 1:
        lengths[-2:] = [each + 1]
    return lengths


class GhostBatchNorm(nn.Module):
    """Batch norm over pieces of a batch, of `size` rows or a little more; size None takes the batch as one piece.

    The running statistics advance once per piece. The state is that of nn.BatchNorm1d, without the number of batches.
    """

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, features: int, size: int | None, momentum: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(features))
        self.bias = nn.Parameter(torch.zeros(features))
        self.register_buffer("running_mean", torch.zeros(features))
        self.register_buffer("running_var", torch.ones(features))
        self.size, self.momentum = size, momentum

    def pieces(self, rows: int) -> list[int]:
        """Rows of each piece of a batch."""
        if self.training and rows < 2:
            raise ValueError(f"batch norm needs two rows or more in training, got {rows}")
        return [rows] if self.size is None else pieces(rows, self.size)

    def advance(self, mean: Tensor, variance: Tensor) -> None:
        """Advance the running statistics by the mean and unbiased variance of pieces, (pieces, features), in order."""
        keep = 1 - self.momentum
        later = torch.arange(len(mean) - 1, -1, -1, device=mean.device, dtype=mean.dtype)
        shares = (self.momentum * keep**later)[:, None]
        for running, statistics in ((self.running_mean, mean), (self.running_var, variance)):
            # not a matrix product, which autocast would round
            running.mul_(keep ** len(mean)).add_((shares * statistics).sum(0))

    def forward(self, x: Tensor) -> Tensor:
        """Normalised x, (rows, features)."""
        if not self.training:
            return functional.batch_norm(
                x, self.running_mean, self.running_var, self.weight, self.bias, False, 0.0, EPSILON
            )
        lengths = self.pieces(len(x))
        if lengths[0] == lengths[-1]:
            return self._normalise(x, len(lengths))
        whole = sum(lengths[:-1])
        return torch.cat([self._normalise(x[:whole], len(lengths) - 1), self._normalise(x[whole:], 1)])

    def _normalise(self, x: Tensor, count: int) -> Tensor:
        """Normalise `count` pieces of equal size at once, side by side as features of one batch norm."""
        rows, features = len(x) // count, x.shape[1]
        mean, variance = (torch.zeros(count * features, dtype=self.weight.dtype, device=x.device) for _ in range(2))
        side_by_side = x.view(count, rows, features).transpose(0, 1).reshape(rows, -1)
        weight, bias = self.weight.repeat(count), self.bias.repeat(count)
        # with a momentum of one, the running statistics of this call are those of the pieces
        y = functional.batch_norm(side_by_side, mean, variance, weight, bias, True, 1.0, EPSILON)
        with torch.no_grad():
            self.advance(mean.view(count, -1), variance.view(count, -1))
        return y.view(rows, count, features).transpose(0, 1).reshape(x.shape)


def xavier(inputs: int, outputs: int, gain: float) -> Tensor:
    """Xavier-normal weights (outputs, inputs)."""
    return nn.init.xavier_normal_(torch.empty(outputs, inputs), gain)


def gated(inputs: int, outputs: int) -> Tensor:
    """Initial weights (outputs, inputs) of the affine map of a gated linear unit."""
    return xavier(inputs, outputs, sqrt((inputs + outputs) / sqrt(inputs)))


def plain(inputs: int, outputs: int) -> Tensor:
    """Initial weights (outputs, inputs) of attention and head."""
    return xavier(inputs, outputs, sqrt((inputs + outputs) / sqrt(4 * inputs)))


class Products(Protocol):
    """The two products of the network that involve all genes."""

    def first(self) -> Tensor:
        """Product of the normalised cells and the first weights, (rows, 2 width)."""

    def masked(self, attention: Tensor) -> tuple[Tensor, Tensor]:
        """Product of the masked cells and the first weights, and the mean over the cells of sum M log M.

        `attention` is (rows, n_a).
        """


class FeatureTransformer(nn.Module):
    """Gated linear units after the first product: shared ones, whose weights the caller owns, then own ones."""

    def __init__(self, width: int, shared: int, own: int, size: int, momentum: float) -> None:
        super().__init__()
        self.norms = nn.ModuleList(GhostBatchNorm(2 * width, size, momentum) for _ in range(shared + own))
        self.weights = nn.ParameterList(gated(width, 2 * width) for _ in range(own))

    def forward(self, product: Tensor, shared: nn.ParameterList) -> Tensor:
        """Features (rows, width).

        product: (rows, 2 width), cells times the first weights. shared: weights of the shared units after the first.
        """
        first, *norms = self.norms
        x = functional.glu(first(product), dim=1)
        for norm, weight in zip(norms, [*shared, *self.weights], strict=True):
            x = (x + functional.glu(norm(x @ weight.T), dim=1)) * sqrt(0.5)
        return x
