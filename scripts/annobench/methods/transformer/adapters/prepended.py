"""Deep prompts and key-value prefixes: what every token attends to besides the tokens of the cell."""

import torch
from torch import Tensor, nn

from annobench.methods.torch.dropout import Dropout
from annobench.methods.transformer.backbone import EncoderLayer, KeysValues


class DeepPrompt(nn.Module):
    """Trained vectors before the tokens of one layer, which are cut off again after it.

    As nobody reads what the layer makes of them, only their keys and values are computed.

    Parameters
    ----------
    length
        Number of vectors.
    width
        Numbers per token.
    deviation
        Standard deviation with which they begin.
    dropout
        Share of their numbers that training leaves out.
    """

    def __init__(self, length: int, width: int, deviation: float, dropout: float) -> None:
        super().__init__()
        self.vectors = nn.Parameter(torch.randn(length, width) * deviation)
        self.dropout = Dropout(dropout)

    def forward(self, layer: EncoderLayer) -> KeysValues:
        """Keys and values, (heads, length, width / heads) each."""
        vectors = self.dropout(self.vectors)
        return layer.split(layer.k_proj(vectors)), layer.split(layer.v_proj(vectors))


class KeyValuePrefix(nn.Module):
    """Trained keys and values of one layer.

    Source: Li and Liang, ACL 2021, arXiv 2101.00190, without the network that makes them.

    Parameters
    ----------
    length
        Number of keys.
    width
        Numbers per token.
    deviation
        Standard deviation with which they begin.
    """

    def __init__(self, length: int, width: int, deviation: float) -> None:
        super().__init__()
        self.keys: Tensor = nn.Parameter(torch.randn(length, width) * deviation)
        self.values: Tensor = nn.Parameter(torch.randn(length, width) * deviation)

    def forward(self, layer: EncoderLayer) -> KeysValues:
        """Keys and values, (heads, length, width / heads) each."""
        return layer.split(self.keys), layer.split(self.values)
