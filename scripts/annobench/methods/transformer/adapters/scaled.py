"""IA3: a Linear layer with a trained factor for each of its outputs, or of its inputs."""

from typing import Literal

import torch
from torch import Tensor, nn


class ScaledLinear(nn.Module):
    """l * (W x + b), or W (l * x) + b; l is trained and begins as 1.

    Source: Liu et al., NeurIPS 2022, arXiv 2205.05638.

    Parameters
    ----------
    base
        The layer, W and b.
    side
        What is scaled.
    """

    def __init__(self, base: nn.Linear, side: Literal["input", "output"]) -> None:
        super().__init__()
        self.base, self.side = base, side
        self.factor = nn.Parameter(torch.ones(base.in_features if side == "input" else base.out_features))

    def forward(self, values: Tensor) -> Tensor:
        """(…, in) to (…, out)."""
        result: Tensor = self.base(values * self.factor) if self.side == "input" else self.base(values) * self.factor
        return result

    def merged(self) -> nn.Linear:
        """One Linear layer that computes the same."""
        base, factor = self.base, self.factor.detach()
        layer = nn.Linear(base.in_features, base.out_features, bias=base.bias is not None, device="meta")
        weight = base.weight * (factor if self.side == "input" else factor[:, None])
        layer.weight = nn.Parameter(weight.detach().clone(), requires_grad=False)
        if base.bias is not None:
            bias = base.bias if self.side == "input" else base.bias * factor
            layer.bias = nn.Parameter(bias.detach().clone(), requires_grad=False)
        return layer
