"""Adapter: a bottleneck after attention and one after the feed-forward part of every layer."""

from annobench.methods.transformer.adapters.bottleneck import Bottleneck
from annobench.methods.transformer.backbone import Encoder

LABEL = "adapter"
RATES = (1e-3, 4e-3, 1.6e-2)
STARTS_AS_BASE = True


def adapt(backbone: Encoder, *, units: int = 64, dropout: float = 0.05) -> None:
    """Train two bottlenecks of `units` per layer."""
    for block in backbone.blocks:
        block.after_attention = Bottleneck(backbone.shape.width, units, dropout)
        block.after_feed_forward = Bottleneck(backbone.shape.width, units, dropout)
