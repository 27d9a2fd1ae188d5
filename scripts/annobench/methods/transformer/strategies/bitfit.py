"""BitFit: the biases of the layers are trained."""

from annobench.methods.transformer.backbone import NORMS, PROJECTIONS, Encoder

LABEL = "BitFit"
RATES = (1e-3, 4e-3, 1.6e-2)
STARTS_AS_BASE = True
MERGES = True


def adapt(backbone: Encoder) -> None:
    """Train every bias of every layer; that of the keys, which changes nothing, is excepted for all strategies."""
    for block in backbone.layers:
        for name in (*PROJECTIONS, *NORMS):
            getattr(block, name).bias.requires_grad_(True)
