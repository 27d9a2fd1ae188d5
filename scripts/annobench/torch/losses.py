"""Cross-entropy and hierarchical cross-entropy.

Hierarchical cross-entropy (Cultrera di Montesano et al., Nat. Comput. Sci. 2026, doi 10.1038/s43588-025-00945-z): the
probability of a class is the sum of the softmax over the class and its descendants, so that a cell labelled `T cell`
is not punished for a prediction of one of its subtypes. For a class without descendants both losses are the same.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

EPSILON = 1e-6  # of the published form


class HierarchicalCrossEntropy(nn.Module):
    """-log(sum of softmax over the true class and its descendants + epsilon), as a weighted mean over the batch.

    reachability: bool (classes, classes), [i, j] true where j is i or below i. weight: (classes,) or None.
    Logits are (batch, classes), targets (batch,) int64.
    """

    reachability: Tensor
    weight: Tensor | None

    def __init__(self, reachability: Tensor, weight: Tensor | None = None, epsilon: float = EPSILON) -> None:
        super().__init__()
        if (
            reachability.ndim != 2
            or reachability.shape[0] != reachability.shape[1]
            or not reachability.diagonal().all()
        ):
            raise ValueError(f"reachability must be square with a true diagonal, got shape {tuple(reachability.shape)}")
        self.register_buffer("reachability", reachability.to(torch.get_default_dtype()))
        self.register_buffer("weight", weight)
        self.epsilon = epsilon

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        """The loss of a batch, a scalar."""
        below = functional.softmax(logits, dim=1) @ self.reachability.T
        return functional.nll_loss(torch.log(below + self.epsilon), targets, weight=self.weight)


def build_loss(name: str, reachability: Tensor, weight: Tensor | None) -> nn.Module:
    """`ce` or `hce`, with optional class weights."""
    if name == "ce":
        return nn.CrossEntropyLoss(weight=weight)
    if name == "hce":
        return HierarchicalCrossEntropy(reachability, weight)
    raise ValueError(f"loss is '{name}', expected ce or hce")
