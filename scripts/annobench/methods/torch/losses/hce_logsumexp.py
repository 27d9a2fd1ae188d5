"""Hierarchical cross-entropy in log space: -log(p), computed from the logits.

p is the sum of the softmax over the label and its descendants. It has the optimum of the published form (`hce`), needs
no epsilon, and keeps its gradient in confident errors.
"""

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

from annobench.methods.torch.autograd import Saved

LABEL = "HCE, log-sum-exp"
HIERARCHICAL = True
ORDER = 3


class LogSumExpHierarchicalCrossEntropy(nn.Module):
    """Log-sum-exp over all logits minus that over those of the true class and its descendants, as a weighted mean.

    Finite, with its gradient, for any finite logits. Parameters as in HierarchicalCrossEntropy.
    """

    outside: Tensor
    weight: Tensor | None

    def __init__(self, reachability: Tensor, weight: Tensor | None = None) -> None:
        super().__init__()
        # added to the logits of a cell: 0 for its label and the descendants of it, -inf for all other classes
        zero = torch.zeros(reachability.shape, dtype=torch.get_default_dtype(), device=reachability.device)
        self.register_buffer("outside", zero.masked_fill(~reachability.bool(), -torch.inf))
        self.register_buffer("weight", weight)

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Scalar loss of logits (batch, classes) and class numbers, int64 (batch,)."""
        outside = self.outside[targets].to(logits.dtype)
        each: Tensor = _Surprise.apply(logits, outside)  # type: ignore[no-untyped-call]
        if self.weight is None:
            return each.mean()
        weight = self.weight[targets]
        return (each * weight).sum() / weight.sum()


class _Surprise(torch.autograd.Function):
    """logsumexp(logits) - logsumexp(logits + outside) of every row, (n,).

    Its gradient is the difference of two softmaxes, which the forward pass computes anyway: a third of the time of
    autograd's, whose exponentials of -inf are slow on a CPU. A logsumexp is the largest value minus the logarithm of
    its softmax, which only classes near the largest decide: nothing overflows, and differences of large logits stay
    exact.
    """

    @staticmethod
    def forward(ctx: Saved, logits: Tensor, outside: Tensor) -> Tensor:
        inside = outside.add_(logits)  # in place: `outside` is a gathered copy that nothing else uses
        whole, below = functional.softmax(logits, dim=1), functional.softmax(inside, dim=1)
        value = logits.amax(1) - inside.amax(1) + (below.amax(1) / whole.amax(1)).log_()
        ctx.save_for_backward(whole.sub_(below))
        return value

    @staticmethod
    @once_differentiable
    def backward(ctx: Saved, gradient: Tensor) -> tuple[Tensor, None]:
        (difference,) = ctx.saved_tensors
        return difference * gradient[:, None], None


def build(reachability: Tensor, weight: Tensor | None) -> nn.Module:
    """The form without epsilon."""
    return LogSumExpHierarchicalCrossEntropy(reachability, weight)
