"""Deep prompts: vectors before the tokens of every layer, which scDLKit calls prefix tuning."""

from annobench.methods.transformer.adapters.prepended import DeepPrompt
from annobench.methods.transformer.backbone import Encoder

LABEL = "deep prompt"
RATES = (2e-3, 1e-2, 5e-2)


def adapt(backbone: Encoder, *, length: int = 20, deviation: float = 0.02, dropout: float = 0.05) -> None:
    """Train `length` vectors per layer, which begin with standard deviation `deviation`."""
    for block in backbone.blocks:
        block.extra = DeepPrompt(length, backbone.shape.width, deviation, dropout)
