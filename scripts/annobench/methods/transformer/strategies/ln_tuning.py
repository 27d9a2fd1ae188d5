"""LN tuning: the LayerNorms of the layers are trained."""

from annobench.methods.transformer.backbone import NORMS, Encoder

LABEL = "LN tuning"
RATES = (1e-3, 4e-3, 1.6e-2)
STARTS_AS_BASE = True
MERGES = True


def adapt(backbone: Encoder) -> None:
    """Train weights and biases of both LayerNorms of every layer."""
    for block in backbone.layers:
        for name in NORMS:
            getattr(block, name).requires_grad_(True)
