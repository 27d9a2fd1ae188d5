"""Hierarchical cross-entropy as published: -log(p + 1e-6).

p is the sum of the softmax over the label and its descendants. Where p is far below the epsilon, in a confident error,
almost nothing is left of the gradient; see `hce_logsumexp`.

Source: Cultrera di Montesano et al., Nature Computational Science 2026, doi 10.1038/s43588-025-00945-z.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

LABEL = "HCE"
HIERARCHICAL = True
ORDER = 2

EPSILON = 1e-6


class HierarchicalCrossEntropy(nn.Module):
    """-log(sum of the softmax over the true class and its descendants + epsilon), as a weighted mean over the batch.

    Parameters
    ----------
    reachability
        bool (classes, classes); [i, j] is true where class j is i or a descendant of i.
    weight
        float (classes,), the weight of every class in the mean; None for equal weights.
    epsilon
        Added to the sum before the logarithm.
    """

    reachability: Tensor
    weight: Tensor | None

    def __init__(self, reachability: Tensor, weight: Tensor | None = None, epsilon: float = EPSILON) -> None:
        super().__init__()
        self.register_buffer("reachability", reachability.to(torch.get_default_dtype()))
        self.register_buffer("weight", weight)
        self.epsilon = epsilon

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Scalar loss of logits (batch, classes) and class numbers, int64 (batch,)."""
        below = functional.softmax(logits, dim=1) @ self.reachability.T
        return functional.nll_loss(torch.log(below + self.epsilon), targets, weight=self.weight)


def build(reachability: Tensor, weight: Tensor | None) -> nn.Module:
    """The published form."""
    return HierarchicalCrossEntropy(reachability, weight)
