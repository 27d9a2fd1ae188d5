"""Cross-entropy with labels that the network itself makes finer.

A branch of scTab that was never used (Fischer et al., Nature Communications 2024, doi 10.1038/s41467-024-51059-5).
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

LABEL = "label updating"
HIERARCHICAL = True
ORDER = 4


class LabelUpdating(nn.Module):
    """Cross-entropy with every label replaced by the network's own prediction where that is a descendant of it.

    A cell labelled `T cell` that the network takes for one of its subtypes is trained as that subtype. The prediction
    is the largest logit, the first on a tie; no gradient passes through the choice, and nothing is remembered from one
    batch to the next.

    Parameters
    ----------
    reachability
        bool (classes, classes); [i, j] is true where class j is i or a descendant of i.
    balanced
        Whether classes are weighted. Weights made for the labels as given no longer fit, so that they come from the
        updated labels of each batch: n / (classes in the batch * cells of the class). Every class in a batch counts as
        much as any other.

    Attributes
    ----------
    weight
        None: among batches, a batch counts with its number of cells.
    """

    reachability: Tensor
    weight = None

    def __init__(self, reachability: Tensor, *, balanced: bool = False) -> None:
        super().__init__()
        self.register_buffer("reachability", reachability.bool())
        self.balanced = balanced

    def updated(self, logits: Tensor, targets: Tensor) -> Tensor:
        """The labels that are trained, int64 (batch,)."""
        with torch.no_grad():
            best = logits.argmax(dim=1)
            return torch.where(self.reachability[targets, best], best, targets)

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Scalar loss of logits (batch, classes) and class numbers, int64 (batch,)."""
        targets = self.updated(logits, targets)
        if not self.balanced:
            return functional.cross_entropy(logits, targets)
        counts = logits.new_zeros(logits.shape[1]).index_add_(0, targets, logits.new_ones(len(targets)))
        # the mean divides by the sum of the weights, so that their scale does not matter
        return functional.cross_entropy(logits, targets, weight=counts.clamp_min(1).reciprocal())


def build(reachability: Tensor, weight: Tensor | None) -> nn.Module:
    """Label updating, balanced where there are class weights."""
    return LabelUpdating(reachability, balanced=weight is not None)
