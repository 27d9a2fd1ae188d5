"""Full fine-tuning: every weight of the backbone is trained."""

from annobench.methods.transformer.backbone import Encoder

LABEL = "full fine-tuning"
RATES = (1e-4, 5e-4, 2e-3)
STARTS_AS_BASE = True
MERGES = True


def adapt(backbone: Encoder) -> None:
    """Train everything."""
    backbone.requires_grad_(True)
