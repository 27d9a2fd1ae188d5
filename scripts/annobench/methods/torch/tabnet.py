"""TabNet with one decision step, as scTab and the HCE paper train it (Arik and Pfister, AAAI 2021).

    cells -> batch norm -> splitter -> attention -> entmax-1.5 -> mask
    mask x normalised cells -> step -> ReLU -> head -> logits

With one step, the prior of the attention is one everywhere and the relaxation factor gamma has no effect; both are left
out. Cells come as a dense tensor on any device, or as a sparse Batch on the CPU, which never becomes dense.
"""

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from annobench.methods.torch.entmax import entmax15
from annobench.methods.torch.tabnet_layers import (
    LOG_EPSILON,
    FeatureTransformer,
    GhostBatchNorm,
    Products,
    gated,
    plain,
)

if TYPE_CHECKING:
    from annobench.cells.store.batch import Batch


class TabNet(nn.Module):
    """TabNet with one decision step.

    Parameters
    ----------
    genes, classes
        Columns of the input and of the output.
    decision, attention
        The widths n_d and n_a of the paper.
    shared, own
        Gated linear units that splitter and step share, and that each has of its own.
    ghost
        Rows of a ghost batch.
    momentum
        Of the running statistics of ghost batch norm.
    sparsity
        Factor lambda of the penalty -lambda * mean over the cells of sum M log(M + 1e-15), which makes masks sparser.

    Attributes
    ----------
    penalty
        Scalar, the penalty of the last batch, which the trainer adds to the loss.
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
        """Logits (rows, classes) of a sparse Batch or a dense tensor (rows, genes)."""
        return self.represent(cells) @ self.head.T

    def represent(self, cells: "Batch | Tensor") -> Tensor:
        """What the head sees, (rows, decision), not negative."""
        products = self._products(cells)
        attention = self.splitter(products.first(), self.shared)[:, self.decision :]
        product, entropy = products.masked(attention)
        self.penalty = -self.sparsity * entropy
        return functional.relu(self.step(product, self.shared)[:, : self.decision])

    def _products(self, cells: "Batch | Tensor") -> Products:
        genes = cells.shape[1] if isinstance(cells, Tensor) else cells.genes
        if genes != self.genes:
            raise ValueError(f"the cells have {genes} genes, the network {self.genes}")
        if isinstance(cells, Tensor):
            return DenseProducts(self, cells)
        from annobench.methods.torch.tabnet_sparse import SparseProducts  # numba takes half a second to import

        return SparseProducts(self, cells)


class Representation(nn.Module):
    """A TabNet without its head, which shares its parameters."""

    def __init__(self, network: TabNet) -> None:
        super().__init__()
        self.network = network

    def forward(self, cells: "Batch | Tensor") -> Tensor:
        """See TabNet.represent."""
        return self.network.represent(cells)


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
