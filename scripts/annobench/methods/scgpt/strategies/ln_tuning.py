"""LN tuning: the LayerNorms of the layers are trained."""

from annobench.methods.scgpt.backbone import NORMS, Backbone

LABEL = "LN tuning"
RATES = (5e-4, 2e-3, 8e-3)
STARTS_AS_BASE = True
MERGES = True


def adapt(backbone: Backbone) -> None:
    """Train weights and biases of both LayerNorms of every layer."""
    for block in backbone.layers:
        for name in NORMS:
            getattr(block, name).requires_grad_(True)
