"""Bottleneck adapters: a narrow network beside what a part of a layer gives."""

from torch import Tensor, nn
from torch.nn import functional

from annobench.methods.torch.dropout import Dropout


class Bottleneck(nn.Module):
    """f + up(GELU(down(f))); `up` begins as 0, so that nothing changes before training.

    Source: Houlsby et al., ICML 2019, arXiv 1902.00751.

    Parameters
    ----------
    width
        Numbers per token.
    units
        Numbers between `down` and `up`.
    dropout
        Share of these that training leaves out.
    """

    def __init__(self, width: int, units: int, dropout: float) -> None:
        super().__init__()
        self.down, self.up, self.dropout = nn.Linear(width, units), nn.Linear(units, width), Dropout(dropout)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    def forward(self, values: Tensor) -> Tensor:
        """(…, width) to (…, width)."""
        result: Tensor = values + self.up(self.dropout(functional.gelu(self.down(values))))
        return result
