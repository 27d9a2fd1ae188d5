"""The encoder of Geneformer: a BERT over genes ranked by their expression.

Theodoris et al., Nature 2023, doi 10.1038/s41586-023-06139-9; Devlin et al. 2019, arXiv 1810.04805.
"""

import torch
from torch import Tensor, nn

from annobench.data.checkpoints.spec import BertShape
from annobench.methods.torch.dropout import Dropout
from annobench.methods.transformer.backbone import Encoder, EncoderLayer, vectors


class Bert(Encoder):
    """A BERT with ReLU and one segment.

    The vector of a token is that of its gene plus that of its place, normalised; the value of a token is its place in
    the cell, from 0. Layers are those of scGPT's encoder, without dropout inside the feed-forward part.

    Parameters
    ----------
    shape
        Its sizes.
    """

    def __init__(self, shape: BertShape) -> None:
        super().__init__(shape)
        self.gene_embedding = vectors(shape.tokens, shape.width, shape.pad)
        self.place_embedding = vectors(shape.positions, shape.width)
        self.segment = nn.Parameter(torch.zeros(shape.width))
        self.norm = nn.LayerNorm(shape.width, shape.epsilon)
        self.dropout = Dropout(shape.dropout)
        self.layers = nn.ModuleList(
            EncoderLayer(shape, epsilon=shape.epsilon, inner_dropout=False) for _ in range(shape.layers)
        )

    def entrance(self, genes: Tensor, values: Tensor) -> Tensor:
        """See Encoder."""
        tokens = self.gene_embedding(genes) + self.place_embedding(values.long()) + self.segment
        result: Tensor = self.dropout(self.norm(tokens))
        return result
