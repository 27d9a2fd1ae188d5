"""Head: the head alone is trained, on features of the frozen backbone."""

from annobench.methods.transformer.backbone import Encoder

LABEL = "head"
RATES = (1e-3, 5e-3, 2e-2)
FROZEN = True
STARTS_AS_BASE = True
MERGES = True


def adapt(backbone: Encoder) -> None:
    """Train nothing of the backbone."""
