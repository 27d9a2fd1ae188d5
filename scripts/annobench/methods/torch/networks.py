"""Networks from log-normalised expression to one logit per class.

Their first layer takes a sparse Batch (on the CPU) or a dense tensor (n, genes); see `annobench.methods.torch.sparse`.
"""

from torch import nn

from annobench.methods.torch.dropout import Dropout
from annobench.methods.torch.sparse import SparseLinear


def linear(genes: int, classes: int) -> nn.Module:
    """One affine map."""
    return SparseLinear(genes, classes)


def mlp(genes: int, classes: int, width: int = 128, blocks: int = 8, dropout: float = 0.1) -> nn.Module:
    """The MLP of the HCE paper: `blocks` times {linear, batch norm, SiLU, dropout} of one width, then an affine map."""
    layers: list[nn.Module] = []
    for block in range(blocks):
        layers += [
            nn.Linear(width, width) if block else SparseLinear(genes, width),
            nn.BatchNorm1d(width),
            nn.SiLU(),
            Dropout(dropout),
        ]
    return nn.Sequential(*layers, nn.Linear(width, classes))


def hidden(network: nn.Module) -> nn.Module:
    """An `mlp` without its last affine map, which shares its parameters."""
    assert isinstance(network, nn.Sequential)
    return network[:-1]
