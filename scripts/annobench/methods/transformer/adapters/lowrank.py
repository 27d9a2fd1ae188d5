"""LoRA and DoRA: a Linear layer with a trained change of low rank."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from annobench.core.errors import ConfigError
from annobench.methods.torch.dropout import Dropout

_SMALL = 16  # a layer is small where its sides are at most this many times the rank


class LowRankLinear(nn.Module):
    """W x + b + scale B A x, of which A and B are trained; B begins as 0.

    Source: Hu et al., ICLR 2022, arXiv 2106.09685; the scale alpha / sqrt(rank) instead of alpha / rank is that of
    Kalajdzievski 2023, arXiv 2312.03732 (rsLoRA).

    Parameters
    ----------
    base
        The layer, W and b.
    rank
        Rows of A and columns of B.
    scale
        Factor of the change.
    dropout
        Share of the inputs of A that training leaves out.
    """

    def __init__(self, base: nn.Linear, rank: int, scale: float, dropout: float) -> None:
        super().__init__()
        if not 1 <= rank <= min(base.weight.shape):
            raise ConfigError(
                f"parameters.options.rank is {rank}, expected 1 to {min(base.weight.shape)} for a layer of this size"
            )
        self.base, self.scale, self.dropout = base, scale, Dropout(dropout)
        self.lora_a = nn.Parameter(torch.empty(rank, base.in_features))
        self.lora_b = nn.Parameter(torch.zeros(base.out_features, rank))
        nn.init.kaiming_uniform_(self.lora_a, a=math.sqrt(5))  # as a Linear layer begins

    def _changed(self, result: Tensor, values: Tensor) -> Tensor:
        """What the layer gives plus the change, (…, out), added in the same product."""
        low = functional.linear(self.dropout(values), self.lora_a)
        flat = torch.addmm(result.flatten(0, -2), low.flatten(0, -2), self.lora_b.t(), alpha=self.scale)
        return flat.view_as(result)

    def forward(self, values: Tensor) -> Tensor:
        """(…, in) to (…, out)."""
        if self._is_small() and not (self.training and self.dropout.p):
            return functional.linear(values, self._weight(), self.base.bias)
        return self._changed(self.base(values), values)

    def _is_small(self) -> bool:
        """Whether one product with the changed weights costs less than three with the factors, forward and backward."""
        return max(self.base.weight.shape) <= _SMALL * len(self.lora_a)

    def _weight(self) -> Tensor:
        return self.base.weight + self.scale * self.lora_b @ self.lora_a

    def merged(self) -> nn.Linear:
        """One Linear layer that computes the same as this without dropout."""
        return _linear(self._weight(), self.base.bias)


class MagnitudeLinear(LowRankLinear):
    """DoRA: the rows of W + scale B A have a direction and a trained length, which begins as that of the rows of W.

    The lengths by which the rows are divided count as constants in the gradient, as in section 4.3 of the paper.
    Source: Liu et al., ICML 2024, arXiv 2402.09353.
    """

    def __init__(self, base: nn.Linear, rank: int, scale: float, dropout: float) -> None:
        super().__init__(base, rank, scale, dropout)
        self.magnitude = nn.Parameter(torch.linalg.vector_norm(base.weight.detach(), dim=1))

    def _factor(self) -> Tensor:
        return self.magnitude / torch.linalg.vector_norm(self._weight().detach(), dim=1)

    def forward(self, values: Tensor) -> Tensor:
        """(…, in) to (…, out); dropout is before A only."""
        result = self._changed(functional.linear(values, self.base.weight), values) * self._factor()
        return result if self.base.bias is None else result + self.base.bias

    def merged(self) -> nn.Linear:
        """One Linear layer that computes the same as this without dropout."""
        return _linear(self._factor()[:, None] * self._weight(), self.base.bias)


def _linear(weight: Tensor, bias: Tensor | None) -> nn.Linear:
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None, device="meta")
    layer.weight = nn.Parameter(weight.detach().clone(), requires_grad=False)
    if bias is not None:
        layer.bias = nn.Parameter(bias.detach().clone(), requires_grad=False)
    return layer
