"""The encoder of scGPT with every projection as a layer of its own, so that adapters can stand on each.

Cui et al., Nature Methods 2024, doi 10.1038/s41592-024-02201-0: vectors of genes and of their values are added, then
encoded by layers of attention that normalise after each step.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import nn
from torch.nn import functional

if TYPE_CHECKING:
    from torch import Tensor

_EPSILON = 1e-5


@dataclass(frozen=True)
class BackboneShape:
    """The shape of an encoder."""

    tokens: int
    width: int
    hidden: int
    layers: int
    heads: int
    dropout: float
    pad: int
    max_value: float = 512


class _Layer(nn.Module):
    def __init__(self, shape: BackboneShape) -> None:
        super().__init__()
        self.heads, self.rate = shape.heads, shape.dropout
        self.q_proj, self.k_proj, self.v_proj, self.out_proj = (nn.Linear(shape.width, shape.width) for _ in range(4))
        self.linear1, self.linear2 = nn.Linear(shape.width, shape.hidden), nn.Linear(shape.hidden, shape.width)
        self.norm1, self.norm2 = (nn.LayerNorm(shape.width, eps=_EPSILON) for _ in range(2))
        self.dropout = nn.Dropout(shape.dropout)

    def forward(self, x: "Tensor", mask: "Tensor") -> "Tensor":
        batch, length, width = x.shape
        q, k, v = (
            project(x).view(batch, length, self.heads, -1).transpose(1, 2)
            for project in (self.q_proj, self.k_proj, self.v_proj)
        )
        rate = self.rate if self.training else 0.0
        found = functional.scaled_dot_product_attention(q, k, v, mask[:, None, None, :], rate)
        x = self.norm1(x + self.dropout(self.out_proj(found.transpose(1, 2).reshape(batch, length, width))))
        return self.norm2(x + self.dropout(self.linear2(self.dropout(functional.relu(self.linear1(x))))))


class Backbone(nn.Module):
    """The encoder."""

    def __init__(self, shape: BackboneShape) -> None:
        super().__init__()
        self.shape = shape
        self.gene_embedding = nn.Embedding(shape.tokens, shape.width, padding_idx=shape.pad)
        self.gene_norm = nn.LayerNorm(shape.width, eps=_EPSILON)
        self.value_linear1, self.value_linear2 = nn.Linear(1, shape.width), nn.Linear(shape.width, shape.width)
        self.value_norm = nn.LayerNorm(shape.width, eps=_EPSILON)
        self.dropout = nn.Dropout(shape.dropout)
        self.layers = nn.ModuleList(_Layer(shape) for _ in range(shape.layers))

    def forward(self, genes: "Tensor", values: "Tensor", mask: "Tensor") -> "Tensor":
        """Outputs (batch, length, width) of tokens and values (batch, length); `mask` is true at real tokens."""
        seen = values.clamp(max=self.shape.max_value)[..., None]
        hidden = self.value_linear2(functional.relu(self.value_linear1(seen)))
        x = self.gene_norm(self.gene_embedding(genes)) + self.dropout(self.value_norm(hidden))
        for layer in self.layers:
            x = layer(x, mask)
        return x

    def embed(self, genes: "Tensor", values: "Tensor", mask: "Tensor") -> "Tensor":
        """Output of the first token, (batch, width)."""
        return self(genes, values, mask)[:, 0]
