"""Cross-entropy, and losses that know that a label may be coarser than the cell.

Hierarchical cross-entropy (Cultrera di Montesano et al., Nat. Comput. Sci. 2026, doi 10.1038/s43588-025-00945-z): the
probability of a class is the sum of the softmax over the class and its descendants, so that a cell labelled `T cell`
is not punished for a prediction of one of its subtypes. For a class without descendants both losses are the same.

- `ce`: cross-entropy.
- `hce`: as published, -log(sum + 1e-6). Where the sum is far below the epsilon, in a confident error, nothing is left
  of its gradient.
- `hce_logsumexp`: -log(sum) from the logits, without epsilon: the same optimum, and the gradient stays.
- `label_updating`: cross-entropy with labels that the network itself makes finer.

All are means over the batch, weighted by the class of the label where there are class weights, as PyTorch's are.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

EPSILON = 1e-6  # of the published form
LOSSES = ("ce", "hce", "hce_logsumexp", "label_updating")


class HierarchicalCrossEntropy(nn.Module):
    """-log(sum of softmax over the true class and its descendants + epsilon), as a weighted mean over the batch.

    reachability: bool (classes, classes), [i, j] true where j is i or below i. weight: (classes,) or None.
    Logits are (batch, classes), targets (batch,) int64.
    """

    reachability: Tensor
    weight: Tensor | None

    def __init__(self, reachability: Tensor, weight: Tensor | None = None, epsilon: float = EPSILON) -> None:
        super().__init__()
        _check_reachability(reachability)
        self.register_buffer("reachability", reachability.to(torch.get_default_dtype()))
        self.register_buffer("weight", weight)
        self.epsilon = epsilon

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        """The loss of a batch, a scalar."""
        below = functional.softmax(logits, dim=1) @ self.reachability.T
        return functional.nll_loss(torch.log(below + self.epsilon), targets, weight=self.weight)


class LogSumExpHierarchicalCrossEntropy(nn.Module):
    """Log-sum-exp over all logits minus that over those of the true class and its descendants, as a weighted mean.

    Finite, with its gradient, for any finite logits. Arguments and shapes as in HierarchicalCrossEntropy.
    """

    outside: Tensor
    weight: Tensor | None

    def __init__(self, reachability: Tensor, weight: Tensor | None = None) -> None:
        super().__init__()
        _check_reachability(reachability)
        # what is added to the logits of a cell: 0 for its label and what is below it, -inf for the rest
        zero = torch.zeros(reachability.shape, dtype=torch.get_default_dtype(), device=reachability.device)
        self.register_buffer("outside", zero.masked_fill(~reachability.bool(), -torch.inf))
        self.register_buffer("weight", weight)

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        """The loss of a batch, a scalar."""
        outside = self.outside[targets].to(logits.dtype)
        each: Tensor = _Surprise.apply(logits, outside)  # type: ignore[no-untyped-call]
        if self.weight is None:
            return each.mean()
        weight = self.weight[targets]
        return (each * weight).sum() / weight.sum()


class _Surprise(torch.autograd.Function):
    """logsumexp(logits) - logsumexp(logits + outside) of every row, (n,).

    Its gradient is the difference of two softmaxes, which is made on the way: a third of the time of autograd's, whose
    exponentials of -inf are slow on a CPU. A logsumexp is the largest value minus the logarithm of its softmax, which
    no class but those near the largest decide: nothing overflows, and differences of large logits stay exact.
    """

    @staticmethod
    def forward(ctx: Any, logits: Tensor, outside: Tensor) -> Tensor:
        inside = outside.add_(logits)  # a gathered copy, which nobody else needs
        whole, below = functional.softmax(logits, dim=1), functional.softmax(inside, dim=1)
        value = logits.amax(1) - inside.amax(1) + (below.amax(1) / whole.amax(1)).log_()
        ctx.save_for_backward(whole.sub_(below))
        return value

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (difference,) = ctx.saved_tensors
        return difference * gradient[:, None], None


class LabelUpdating(nn.Module):
    """Cross-entropy with every label replaced by the network's own prediction where that is a descendant of it.

    A branch of scTab that was never used (Fischer et al., Nat. Commun. 2024, doi 10.1038/s41467-024-51059-5): a cell
    labelled `T cell` that the network takes for one of its subtypes is trained as that. The prediction is the largest
    logit, the first on a tie; no gradient passes through the choice. Weights of classes that were made for the labels
    as given no longer fit: with `balanced` they come from the updated labels of the batch, n / (classes in the batch *
    cells of the class), so that every class that is there counts as much as any other, and they add up to n. Nothing is
    remembered from one batch to the next.

    weight is None: what a batch weighs among others is its number of cells. Shapes as in HierarchicalCrossEntropy.
    """

    reachability: Tensor
    weight = None

    def __init__(self, reachability: Tensor, *, balanced: bool = False) -> None:
        super().__init__()
        _check_reachability(reachability)
        self.register_buffer("reachability", reachability.bool())
        self.balanced = balanced

    def updated(self, logits: Tensor, targets: Tensor) -> Tensor:
        """The labels that are trained, int64 (batch,)."""
        with torch.no_grad():
            best = logits.argmax(dim=1)
            return torch.where(self.reachability[targets, best], best, targets)

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        """The loss of a batch, a scalar."""
        targets = self.updated(logits, targets)
        if not self.balanced:
            return functional.cross_entropy(logits, targets)
        counts = logits.new_zeros(logits.shape[1]).index_add_(0, targets, logits.new_ones(len(targets)))
        # the mean divides by the sum of the weights, so that their scale does not matter
        return functional.cross_entropy(logits, targets, weight=counts.clamp_min(1).reciprocal())


def _check_reachability(reachability: Tensor) -> None:
    if reachability.ndim != 2 or reachability.shape[0] != reachability.shape[1] or not reachability.diagonal().all():
        raise ValueError(f"reachability must be square with a true diagonal, got shape {tuple(reachability.shape)}")


def build_loss(name: str, reachability: Tensor, weight: Tensor | None) -> nn.Module:
    """A loss by its name, with optional class weights (classes,); reachability as in HierarchicalCrossEntropy."""
    if name == "ce":
        return nn.CrossEntropyLoss(weight=weight)
    if name == "hce":
        return HierarchicalCrossEntropy(reachability, weight)
    if name == "hce_logsumexp":
        return LogSumExpHierarchicalCrossEntropy(reachability, weight)
    if name == "label_updating":
        return LabelUpdating(reachability, balanced=weight is not None)
    raise ValueError(f"loss is '{name}', expected {', '.join(LOSSES)}")
