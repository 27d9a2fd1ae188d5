"""DoRA: changes of low rank in the direction of weights, and trained lengths."""

from annobench.methods.transformer.adapters.lowrank import MagnitudeLinear
from annobench.methods.transformer.adapters.places import replace_layers, target_layers
from annobench.methods.transformer.backbone import Encoder

LABEL = "DoRA"
RATES = (1e-3, 4e-3, 1.6e-2)
STARTS_AS_BASE = True
MERGES = True


def adapt(
    backbone: Encoder, *, target: str = "attention", rank: int = 8, alpha: float = 16.0, dropout: float = 0.0
) -> None:
    """Train changes of rank `rank` and scale alpha / rank, and the length of every row."""
    scale = alpha / max(rank, 1)
    replace_layers(backbone, target_layers(target), lambda layer: MagnitudeLinear(layer, rank, scale, dropout))
