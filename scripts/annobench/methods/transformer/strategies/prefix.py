"""Prefix tuning: keys and values before those of the tokens in every layer."""

from annobench.methods.transformer.adapters.prepended import KeyValuePrefix
from annobench.methods.transformer.backbone import Encoder

LABEL = "prefix tuning"
RATES = (2e-3, 1e-2, 5e-2)


def adapt(backbone: Encoder, *, length: int = 20, deviation: float = 0.02) -> None:
    """Train `length` keys and values per layer, which begin with standard deviation `deviation`."""
    for block in backbone.blocks:
        block.extra = KeyValuePrefix(length, backbone.shape.width, deviation)
