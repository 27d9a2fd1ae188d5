"""LoRA: changes of low rank in Linear layers."""

from annobench.methods.transformer.adapters.lowrank import LowRankLinear
from annobench.methods.transformer.adapters.places import replace_layers, target_layers
from annobench.methods.transformer.backbone import Encoder

LABEL = "LoRA"
RATES = (1e-3, 4e-3, 1.6e-2)
STARTS_AS_BASE = True
MERGES = True


def adapt(
    backbone: Encoder, *, target: str = "attention", rank: int = 8, alpha: float = 16.0, dropout: float = 0.0
) -> None:
    """Train changes of rank `rank` and scale alpha / rank in the layers of a target set."""
    scale = alpha / max(rank, 1)
    replace_layers(backbone, target_layers(target), lambda layer: LowRankLinear(layer, rank, scale, dropout))
