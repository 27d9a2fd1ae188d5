"""Networks: log-normalised expression in, one logit per class out."""

from torch import nn


def linear(genes: int, classes: int) -> nn.Module:
    """One affine map."""
    return nn.Linear(genes, classes)


def mlp(genes: int, classes: int, width: int = 128, blocks: int = 8, dropout: float = 0.1) -> nn.Module:
    """`blocks` times {linear, batch norm, SiLU, dropout} of one width, then an affine map: the HCE paper's MLP."""
    layers: list[nn.Module] = []
    for block in range(blocks):
        layers += [
            nn.Linear(genes if block == 0 else width, width),
            nn.BatchNorm1d(width),
            nn.SiLU(),
            nn.Dropout(dropout),
        ]
    return nn.Sequential(*layers, nn.Linear(width, classes))
