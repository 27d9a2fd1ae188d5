"""Networks: log-normalised expression in, one logit per class out.

Their first layer takes a Batch (sparse, on the CPU) or a dense Tensor (n, genes); see `annobench.methods.torch.sparse`.
"""

from torch import nn

from annobench.methods.torch.dropout import Dropout
from annobench.methods.torch.sparse import SparseLinear


def linear(genes: int, classes: int) -> nn.Module:
    """One affine map."""
    return SparseLinear(genes, classes)


def mlp(genes: int, classes: int, width: int = 128, blocks: int = 8, dropout: float = 0.1) -> nn.Module:
    """`blocks` times {linear, batch norm, SiLU, dropout} of one width, then an affine map: the HCE paper's MLP."""
    layers: list[nn.Module] = []
    for block in range(blocks):
        layers += [
            nn.Linear(width, width) if block else SparseLinear(genes, width),
            nn.BatchNorm1d(width),
            nn.SiLU(),
            Dropout(dropout),
        ]
    return nn.Sequential(*layers, nn.Linear(width, classes))
