"""Networks from log-normalised expression to one logit per class.

Their first layer takes a sparse Batch (on the CPU) or a dense tensor (n, genes); see `annobench.methods.torch.sparse`.
"""

from torch import Tensor, nn

from annobench.methods.torch.dropout import Dropout
from annobench.methods.torch.sparse import SparseLinear

SCALE = 10.0  # places are unit vectors: without it, the vector of a cell had to grow for long to be sure of a type


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


def bilinear(genes: int, places: Tensor, width: int = 200, dropout: float = 0.1) -> nn.Module:
    """One hidden layer, an affine map into the space of some types, and dot products with their places, (types, d)."""
    return nn.Sequential(
        SparseLinear(genes, width),
        nn.BatchNorm1d(width),
        nn.ReLU(),
        Dropout(dropout),
        nn.Linear(width, places.shape[1]),
        Places(places),
    )


class Places(nn.Module):
    """Dot products with the places of types, which are not trained, times `SCALE`.

    Parameters
    ----------
    places
        (types, dimensions).
    """

    places: Tensor

    def __init__(self, places: Tensor) -> None:
        super().__init__()
        self.register_buffer("places", places.clone())

    def forward(self, cells: Tensor) -> Tensor:
        """(n, dimensions) to (n, types)."""
        return SCALE * (cells @ self.places.to(cells.dtype).T)


def hidden(network: nn.Module) -> nn.Module:
    """An `mlp` without its last affine map, or a `bilinear` without its types; it shares the parameters."""
    assert isinstance(network, nn.Sequential)
    return network[:-1]
