"""Cross-entropy."""

from torch import Tensor, nn

LABEL = "CE"
HIERARCHICAL = False
ORDER = 1


def build(reachability: Tensor, weight: Tensor | None) -> nn.Module:
    """PyTorch's cross-entropy, which does not look at the hierarchy."""
    return nn.CrossEntropyLoss(weight=weight)
