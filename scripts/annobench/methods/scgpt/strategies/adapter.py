"""Adapter: a bottleneck after attention and one after the feed-forward part of every layer."""

from annobench.methods.scgpt.adapters.bottleneck import Bottleneck
from annobench.methods.scgpt.backbone import Backbone

LABEL = "adapter"
RATES = (5e-4, 2e-3, 8e-3)
STARTS_AS_BASE = True


def adapt(backbone: Backbone, *, units: int = 64, dropout: float = 0.05) -> None:
    """Train two bottlenecks of `units` per layer."""
    for block in backbone.blocks:
        block.after_attention = Bottleneck(backbone.shape.width, units, dropout)
        block.after_feed_forward = Bottleneck(backbone.shape.width, units, dropout)
