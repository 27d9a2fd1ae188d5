"""TabNet with one decision step, as scTab and the HCE paper train it (Arik and Pfister, AAAI 2021).

    cells -> batch norm -> splitter -> attention -> entmax-1.5 -> mask
    mask x normalised cells -> step -> ReLU -> head -> logits

With one step the prior of the attention is one everywhere and the relaxation factor gamma has no effect; neither is
here. Cells come as a dense tensor, on any device, or as a sparse Batch on the CPU, which never becomes dense.
"""

from math import sqrt
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

from annobench.torch.entmax import entmax15

if TYPE_CHECKING:
    from annobench.store.batch import Batch

EPSILON = 1e-5  # of all batch norms
LOG_EPSILON = 1e-15


def pieces(rows: int, size: int) -> list[int]:
    """Rows of each ghost batch: rows // size pieces, equal but for the last, as torch.chunk cuts them.

    A last piece of one row, which has no variance, is joined to the one before it.
    """
    each = -(-rows // max(1, rows // size))
    lengths = [min(each, rows - start) for start in range(0, rows, each)]
    if len(lengths) > 1 and lengths[-1] == 1:
        lengths[-2:] = [each + 1]
    return lengths


class GhostBatchNorm(nn.Module):
    """Batch norm over pieces of a batch, `size` rows or a little more; size None takes the batch as one piece.

    The running statistics advance once per piece. State is that of nn.BatchNorm1d, without the count of batches.
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
        """Move the running statistics through pieces in their order: mean and unbiased variance, (pieces, features)."""
        keep = 1 - self.momentum
        later = torch.arange(len(mean) - 1, -1, -1, device=mean.device, dtype=mean.dtype)
        shares = (self.momentum * keep**later)[:, None]
        for running, statistics in ((self.running_mean, mean), (self.running_var, variance)):
            # no matrix product, which autocast would round
            running.mul_(keep ** len(mean)).add_((shares * statistics).sum(0))

    def forward(self, x: Tensor) -> Tensor:
        """x: (rows, features)."""
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
        """`count` pieces of equal size at once, laid side by side as features of one batch norm."""
        rows, features = len(x) // count, x.shape[1]
        mean, variance = (torch.zeros(count * features, dtype=self.weight.dtype, device=x.device) for _ in range(2))
        side_by_side = x.view(count, rows, features).transpose(0, 1).reshape(rows, -1)
        weight, bias = self.weight.repeat(count), self.bias.repeat(count)
        # with a momentum of one the running statistics of this call are those of the pieces
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
    """The two places where the network touches all genes."""

    def first(self) -> Tensor:
        """Normalised cells times the first weights, (rows, 2 width)."""

    def masked(self, attention: Tensor) -> tuple[Tensor, Tensor]:
        """Masked cells times the first weights, and the mean over the cells of sum M log M; attention: (rows, n_a)."""


class FeatureTransformer(nn.Module):
    """Gated linear units behind the first product: shared ones, whose weights the caller owns, then own ones."""

    def __init__(self, width: int, shared: int, own: int, size: int, momentum: float) -> None:
        super().__init__()
        self.norms = nn.ModuleList(GhostBatchNorm(2 * width, size, momentum) for _ in range(shared + own))
        self.weights = nn.ParameterList(gated(width, 2 * width) for _ in range(own))

    def forward(self, product: Tensor, shared: nn.ParameterList) -> Tensor:
        """product: (rows, 2 width), cells times the first weights; shared: the weights of the units after it."""
        first, *norms = self.norms
        x = functional.glu(first(product), dim=1)
        for norm, weight in zip(norms, [*shared, *self.weights], strict=True):
            x = (x + functional.glu(norm(x @ weight.T), dim=1)) * sqrt(0.5)
        return x


class TabNet(nn.Module):
    """Logits (rows, classes) of cells; `penalty` holds the extra term of the loss of the last batch.

    decision, attention: the widths n_d and n_a. shared, own: numbers of gated linear units that splitter and step share
    and do not. ghost: rows of a ghost batch. sparsity: the factor lambda of the penalty -lambda * mean of
    sum M log(M + 1e-15), which makes masks sparser.
    """

    penalty: Tensor

    def __init__(
        self,
        genes: int,
        classes: int,
        *,
        decision: int = 128,
        attention: int = 64,
        shared: int = 3,
        own: int = 5,
        ghost: int = 256,
        momentum: float = 0.02,
        sparsity: float = 1e-5,
    ) -> None:
        super().__init__()
        width = decision + attention
        self.genes, self.decision, self.sparsity = genes, decision, sparsity
        self.input_norm = GhostBatchNorm(genes, None, 0.01)
        self.first = nn.Parameter(gated(genes, 2 * width).T.contiguous())  # gene-major, as the sparse products need it
        self.shared = nn.ParameterList(gated(width, 2 * width) for _ in range(shared - 1))
        self.splitter = FeatureTransformer(width, shared, own, ghost, momentum)
        self.attention = nn.Parameter(plain(attention, genes))
        self.attention_norm = GhostBatchNorm(genes, ghost, momentum)
        self.step = FeatureTransformer(width, shared, own, ghost, momentum)
        self.head = nn.Parameter(plain(decision, classes))

    def forward(self, cells: "Batch | Tensor") -> Tensor:
        """Cells: a Batch, or a dense tensor (rows, genes)."""
        products = self._products(cells)
        attention = self.splitter(products.first(), self.shared)[:, self.decision :]
        product, entropy = products.masked(attention)
        self.penalty = -self.sparsity * entropy
        return functional.relu(self.step(product, self.shared)[:, : self.decision]) @ self.head.T

    def _products(self, cells: "Batch | Tensor") -> Products:
        genes = cells.shape[1] if isinstance(cells, Tensor) else cells.genes
        if genes != self.genes:
            raise ValueError(f"the cells have {genes} genes, the network {self.genes}")
        if isinstance(cells, Tensor):
            return DenseProducts(self, cells)
        from annobench.torch.tabnet_sparse import SparseProducts  # numba takes half a second to import

        return SparseProducts(self, cells)


class DenseProducts:
    """The wide products of a dense tensor, in plain PyTorch."""

    def __init__(self, network: TabNet, cells: Tensor) -> None:
        self.network = network
        self.x = network.input_norm(cells)

    def first(self) -> Tensor:
        """See Products."""
        return self.x @ self.network.first

    def masked(self, attention: Tensor) -> tuple[Tensor, Tensor]:
        """See Products."""
        mask = entmax15(self.network.attention_norm(attention @ self.network.attention.T))
        entropy = (mask * torch.log(mask + LOG_EPSILON)).sum(1).mean()
        return (mask * self.x) @ self.network.first, entropy
