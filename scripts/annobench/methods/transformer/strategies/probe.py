"""Frozen probe: a logistic regression on standardised features of the frozen backbone."""

from annobench.methods.transformer.backbone import Encoder

LABEL = "frozen probe"
RATES = ()  # solved, not trained in steps
FROZEN = True
STARTS_AS_BASE = True
MERGES = True


def adapt(backbone: Encoder) -> None:
    """Train nothing of the backbone."""
